//! Connections that are lost, and nodes that leave.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Event;
use chat_core::{Limits, Store};
use tokio::time::sleep;

use super::quiet::{node, open, run};
use crate::JetStreamStore;

#[test]
fn a_node_that_leaves_gives_no_sign_of_life_any_more() {
    run(|model| async move {
        let limits = Limits::default();
        let (stays, leaves) = (node(&model, 0, &limits).await, node(&model, 0, &limits).await);
        let _rooms = (open(&stays, "lobby", &limits).await, open(&leaves, "lobby", &limits).await);
        let node_of = |store: &JetStreamStore| {
            Arc::clone(&store.room(&"lobby".parse().expect("a name"), &Arc::new(limits.clone())).node)
        };
        let (node, left) = (node_of(&stays), node_of(&leaves).peers.name().to_owned());
        sleep(Duration::from_secs(3)).await;
        assert!(node.peers.is_there(&left));
        for millis in [0, 1, 5, 20, 40] {
            // Events of the connection let a node give a sign at once.
            model.act(|world| world.after(millis, |world| world.tell(1, &Event::SlowConsumer(1))));
        }
        leaves.close().await.expect("a store that can be closed");
        sleep(Duration::from_secs(1)).await;
        assert!(!node.peers.is_there(&left), "it would be asked");
    });
}
