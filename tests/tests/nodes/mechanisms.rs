use chat_conformance::{InProcess, Mechanism, Mounted, Nodes, TUNGSTENITE_DEVIATIONS};
use chat_core::Limits;
use chat_core::UpgradeMode::{Framework, Hijack};
use chat_tests::Adapter;

use Adapter::{Actix, Axum, Tungstenite, Warp};

use crate::repeated::Repeated;
use crate::shared::share;

/// The adapters of the nodes. Each adapter in each mode is there, and most cases have connections to two nodes.
const NODES: [(&str, &[Adapter]); 3] = [
    ("tungstenite_and_frameworks", &[Tungstenite, Actix(Framework), Warp(Framework)]),
    ("hijackers", &[Axum(Hijack), Warp(Hijack), Actix(Hijack)]),
    ("axum_framework", &[Axum(Framework), Tungstenite]),
];

/// The cases that several nodes fail, whatever adapters they have: see docs/cluster.md.
const DEVIATIONS: [(&str, &str); 7] = [
    ("direct::a_direct_room_is_opened_once", NOT_TOLD),
    ("direct::a_connected_user_learns_of_the_room", NOT_TOLD),
    ("direct::direct_rooms_take_no_place_of_others", NOT_TOLD),
    ("direct::opening_too_many_direct_rooms_is_refused", NOT_TOLD),
    ("roles::a_role_is_an_entry_of_the_log", NO_NAME),
    ("purges::a_purged_body_is_gone_everywhere", NO_NAME),
    (
        "roles::a_hello_changes_the_role_of_its_user",
        "a node knows the roles that tokens give to those users that are connected to it",
    ),
];

const NO_NAME: &str = "a node knows the names of those users that are connected to it";
const NOT_TOLD: &str = "a node does not tell a user of another node that a direct room was opened";

/// The group of those cases that also fail on a single node with the WebSocket of a framework.
const OF_FRAMEWORKS: &str = "close::";

/// Returns a mechanism for each of [`NODES`].
pub(crate) fn all(nats: &str) -> Vec<Repeated> {
    let [mixed, hijackers, axum] = NODES.map(|(name, adapters)| mechanism(name, adapters, nats));
    let of_frameworks =
        TUNGSTENITE_DEVIATIONS.into_iter().filter(|(path, _)| path.starts_with(OF_FRAMEWORKS));
    let mechanisms = [
        mixed.deviation(
            "close::replies_arrive_after_a_half_close",
            "warp's codec ends both directions when the peer ends one",
        ),
        hijackers,
        axum.deviations(of_frameworks).deviation(
            "close::a_client_that_sends_after_its_close_can_read_the_echo",
            "after a close axum reads no more, so what the peer still sends causes a reset",
        ),
    ];
    mechanisms.into_iter().map(Repeated).collect()
}

fn mechanism(name: &str, adapters: &'static [Adapter], nats: &str) -> Mechanism {
    let nats = nats.to_owned();
    let share = move |limits: Limits| {
        let nats = nats.clone();
        async move { share(&nats, adapters.len(), &limits, |bus| bus).await }
    };
    Mechanism::new(Nodes::new(name, adapters.iter().copied().map(served), share)).deviations(DEVIATIONS)
}

/// Returns the server of one node.
pub(crate) fn served(adapter: Adapter) -> InProcess {
    InProcess::new(adapter.name(), move |server: Mounted| async move {
        // A server that cannot start serves no case.
        let _ended = adapter.serve(server.listener, server.endpoint, server.stop).await;
    })
}
