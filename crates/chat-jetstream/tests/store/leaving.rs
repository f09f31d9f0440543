use std::sync::Arc;

use chat_core::{Limits, Store};
use futures_util::future::join_all;

use crate::servers::Servers;
use crate::support::{Opened, node};

/// The rooms in which the other node writes all the time. About half of them are written by the node that leaves.
const ROOMS: usize = 32;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_leaves_answers_the_appends_that_it_was_asked_for() {
    let servers = Servers::start(1);
    servers.ready().await;
    let limits = Arc::new(Limits::default());
    let (stays, leaves) = (node(&servers, |_| {}).await, node(&servers, |_| {}).await);
    let names: Vec<_> = (0..ROOMS).map(|room| format!("room-{room}")).collect();
    let _others = join_all(names.iter().map(|name| Opened::open(&leaves, name, &limits))).await;
    let rooms = join_all(names.iter().map(|name| Opened::open(&stays, name, &limits))).await;
    let writers = rooms.iter().map(|room| async {
        for _ in 0..60 {
            room.append("hi", None).await.expect("an append while the other node leaves");
        }
    });
    let leave = async {
        for _ in 0..20 {
            rooms[0].append("hi", None).await.expect("an append");
        }
        assert!(stays.stats().routed > 0, "the other node writes no room");
        leaves.close().await.expect("a store that can be closed");
    };
    tokio::join!(join_all(writers), leave);
}
