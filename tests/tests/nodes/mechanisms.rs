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
    Mechanism::new(Nodes::new(name, adapters.iter().copied().map(served), share))
}

/// Returns the server of one node.
pub(crate) fn served(adapter: Adapter) -> InProcess {
    InProcess::new(adapter.name(), move |server: Mounted| async move {
        // A server that cannot start serves no case.
        let _ended = adapter.serve(server.listener, server.endpoint, server.stop).await;
    })
}
