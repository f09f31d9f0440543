//! The epochs of a stream that has lost its end.

use std::collections::BTreeSet;
use std::time::Duration;

use chat_core::{Limits, NewMessage};
use tokio::runtime::Builder;
use tokio::time::sleep;

use super::copy::Op;
use super::quiet::{node, open, send};
use super::schedule::{body, user};
use super::world::Model;
use super::{begin, end};

/// The nodes of a chat, and the runs.
const NODES: usize = 4;
const RUNS: u64 = 8;

/// The time in which all nodes have begun the new epoch.
const RENEWED: Duration = Duration::from_secs(10);

/// All nodes notice the loss at the same time, by the record that another one stores.
#[test]
fn nodes_that_notice_a_loss_together_begin_few_epochs() {
    let mut epochs = 0;
    for seed in 0..RUNS {
        let runtime =
            Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        epochs += runtime.block_on(async {
            begin(seed);
            let (model, limits) = (Model::start(seed, 1), Limits::default());
            let (mut stores, mut rooms) = (Vec::new(), Vec::new());
            for _ in 0..NODES {
                let store = node(&model, 0, &limits).await;
                rooms.push(open(&store, "lobby", &limits).await);
                stores.push(store);
            }
            send(&rooms[0], "first").await;
            send(&rooms[0], "lost").await;
            sleep(RENEWED).await;
            model.act(|world| world.forget(1));
            // The second record after the loss contradicts what the others know.
            let fresh = node(&model, 0, &limits).await;
            let lobby = open(&fresh, "lobby", &limits).await;
            for text in ["other", "more"] {
                send(&lobby, text).await;
            }
            sleep(RENEWED).await;
            let mut known = BTreeSet::new();
            for room in &rooms {
                let sent = room.append(NewMessage::new(user(1), body("next"))).await.expect("a receipt");
                known.insert(sent.epoch);
            }
            assert_eq!(known.len(), 1, "all nodes have the same epoch");
            let is_update = |op: &&Op| matches!(op, Op::Update(_));
            model.act(|world| world.group.log.iter().filter(is_update).count())
        });
        end();
    }
    assert!(epochs >= 8, "{epochs}");
    assert!(epochs < 12, "{epochs} epochs after {RUNS} losses");
}
