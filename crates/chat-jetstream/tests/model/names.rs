//! Nodes that have one name.

use std::time::Duration;

use chat_core::{Health, Store};
use tokio::time::sleep;

use super::ages::named_node;
use super::quiet::run;
use crate::{JetStreamStore, OpenError, Options};

/// The time after which a node has noticed that it has no connection.
const CUT: Duration = Duration::from_secs(20);

/// The time for a node to claim its name again, after a connection or a pause.
const CLAIM: Duration = Duration::from_secs(10);

/// It has not lost its connection, and hears of the claim of the other node when that has the name.
#[test]
fn a_node_whose_name_was_taken_while_it_stood_still_is_not_ready() {
    run(|model| async move {
        let first = named_node(&model, Some("a"), None).await;
        model.act(|world| world.cut(0, true));
        let second = named_node(&model, Some("a"), None).await;
        model.act(|world| world.cut(0, false));
        sleep(CLAIM).await;
        let taken = "another server of the chat has the name of this one";
        assert_eq!(first.health(), Health::Unreachable(taken.to_owned()));
        assert_eq!(second.health(), Health::Ready);
    });
}

#[test]
fn a_node_whose_name_was_taken_meanwhile_is_not_ready_until_the_name_is_free() {
    run(|model| async move {
        let first = named_node(&model, Some("a"), None).await;
        let other = named_node(&model, Some("b"), None).await;
        model.act(|world| world.cut(0, true));
        sleep(CUT).await;
        let second = named_node(&model, Some("a"), None).await;
        model.act(|world| world.cut(0, false));
        sleep(CLAIM).await;
        let taken = "another server of the chat has the name of this one";
        assert_eq!(first.health(), Health::Unreachable(taken.to_owned()));
        // The others keep their names, also after a loss of their own.
        for client in [1, 2] {
            model.act(|world| world.reset(client));
        }
        sleep(CLAIM).await;
        assert_eq!(first.health(), Health::Unreachable(taken.to_owned()));
        assert_eq!((other.health(), second.health()), (Health::Ready, Health::Ready));
        // If the server of all has ended, one of both has the name again.
        for client in [0, 1, 2] {
            model.act(|world| world.reset(client));
        }
        sleep(2 * CLAIM).await;
        let ready = [&first, &second].map(|node| node.health() == Health::Ready);
        assert!(ready[0] != ready[1], "{ready:?}");

        second.close().await.expect("a store that can be closed");
        sleep(CLAIM).await;
        assert_eq!(first.health(), Health::Ready);
        let (client, connection) = model.connect();
        let options = Options::default().with(|options| {
            (options.replicas, options.node) = (1, "a".parse().ok());
        });
        let third = JetStreamStore::open_on((client, connection), "the model", options).await;
        assert!(matches!(third, Err(OpenError::NameInUse(_))), "{third:?}");
    });
}
