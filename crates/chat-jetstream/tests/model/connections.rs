//! Connections that are lost, and nodes that leave.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Event;
use chat_core::{Limits, Store};
use tokio::time::{sleep, timeout};

use super::quiet::{node, open, run};
use super::world::World;
use crate::{JetStreamStore, Options};

/// The time in which a store opens, or says why it cannot.
const OPENED: Duration = Duration::from_secs(60);

/// Ends the connection of a node, which gets no other one.
fn lose(world: &mut World, client: usize) {
    world.reset(client);
    world.clients[client].is_cut = true;
}

#[test]
fn a_store_opens_or_fails_if_its_connection_is_lost_meanwhile() {
    let opened = &Cell::new(0);
    for millis in 0..30 {
        run(|model| async move {
            // The stream is there.
            let _first = node(&model, 0, &Limits::default()).await;
            let (client, connection) = model.connect();
            let number = client.number();
            let lost = model.clone();
            tokio::spawn(async move {
                sleep(Duration::from_millis(millis)).await;
                lost.act(|world| lose(world, number));
            });
            let options = Options::default().with(|options| options.replicas = 1);
            // A task of its own, so that the loss comes first if both are due.
            let open = tokio::spawn(JetStreamStore::open_on((client, connection), "the model", options));
            let is_open = timeout(OPENED, open).await.expect("an end").expect("no panic").is_ok();
            opened.set(opened.get() + usize::from(is_open));
        });
    }
    assert!(opened.get() > 0, "no store is open before the connection is lost");
}

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

#[test]
fn questions_that_are_repeated_without_an_answer_leave_nothing_in_the_client() {
    run(|model| async move {
        let limits = Limits::default();
        let store = node(&model, 0, &limits).await;
        let _lobby = open(&store, "lobby", &limits).await;
        model.act(|world| world.cut(0, true));
        sleep(Duration::from_secs(60)).await;
        let waiting = model.act(|world| world.clients[0].waiting.len());
        assert!(waiting < 5, "{waiting} requests");
    });
}
