//! Purges and deletions whose node ends, in rooms that nobody opens, and rooms in which all is complete.

use std::sync::Arc;
use std::time::Duration;

use chat_core::{Act, Change, Limits, NewAct, NewChange, Role, Room, Store};
use tokio::time::sleep;

use super::quiet::{node, open, run, send};
use super::schedule::user;
use super::world::Model;

/// The messages of a room.
const MESSAGES: u64 = 40;

/// The time after which another node has completed what was left.
const COMPLETED: Duration = Duration::from_secs(60);

async fn fill(room: &Arc<dyn Room>) {
    for number in 1..=MESSAGES {
        assert_eq!(send(room, &format!("secret {number}")).await.seq, number);
    }
}

fn purge() -> NewAct {
    NewAct::new(user(2), Act::Purge { user: user(1) }).by_host()
}

/// Returns the number of messages of the stream with a text.
fn texts(model: &Model) -> usize {
    model.act(|world| {
        let has_text = |payload: &[u8]| payload.windows(7).any(|part| part == b"secret ");
        world.servers[0].copy.messages.values().filter(|stored| has_text(&stored.payload)).count()
    })
}

/// Ends the first node as soon as a room has more than some entries.
async fn end_after(model: &Model, room: &Arc<dyn Room>, head: u64) {
    while room.known_bounds().is_none_or(|bounds| bounds.head <= head) {
        sleep(Duration::from_millis(1)).await;
    }
    model.act(|world| world.end_client(0));
}

#[test]
fn another_node_completes_a_purge_in_a_room_that_nobody_opens() {
    run(|model| async move {
        let limits = Limits::default();
        let store = node(&model, 0, &limits).await;
        let lobby = open(&store, "lobby", &limits).await;
        fill(&lobby).await;
        let purging = Arc::clone(&lobby);
        let _interrupted = tokio::spawn(async move { purging.purge(purge()).await });
        end_after(&model, &lobby, MESSAGES + 2).await;
        let other = node(&model, 0, &limits).await;
        let _hall = open(&other, "hall", &limits).await;
        assert!(texts(&model) > 5, "the purge was complete");
        sleep(COMPLETED).await;
        assert_eq!(texts(&model), 0);
    });
}

#[test]
fn another_node_completes_a_deletion_in_a_room_that_nobody_opens() {
    run(|model| async move {
        let limits = Limits::default();
        let store = node(&model, 0, &limits).await;
        let lobby = open(&store, "lobby", &limits).await;
        fill(&lobby).await;
        let deleting = Arc::clone(&lobby);
        let deletion = NewChange::new(user(2), 7, Change::Delete { reason: None }).with_role(Role::Moderator);
        let _interrupted = tokio::spawn(async move { deleting.change(deletion).await });
        end_after(&model, &lobby, MESSAGES).await;
        let other = node(&model, 0, &limits).await;
        let _hall = open(&other, "hall", &limits).await;
        let left = texts(&model);
        assert_eq!(left as u64, MESSAGES, "the deletion was complete");
        sleep(COMPLETED).await;
        assert_eq!(texts(&model), left - 1);
    });
}

#[test]
fn a_room_after_a_purge_is_not_erased_again() {
    run(|model| async move {
        let limits = Limits::default();
        let store = node(&model, 0, &limits).await;
        let lobby = open(&store, "lobby", &limits).await;
        fill(&lobby).await;
        lobby.purge(purge()).await.expect("a receipt");
        assert_eq!(texts(&model), 0);
        store.close().await.expect("a store that can be closed");
        for _ in 0..2 {
            let store = node(&model, 0, &limits).await;
            let before = store.stats().requests;
            let lobby = open(&store, "lobby", &limits).await;
            sleep(Duration::from_secs(4)).await;
            let requests = store.stats().requests - before;
            assert!(requests <= 5, "{requests}: the end, the mark, and some of the node itself");
            assert_eq!(lobby.bounds().await.expect("bounds").head, MESSAGES + MESSAGES / 2);
            store.close().await.expect("a store that can be closed");
        }
    });
}

/// A node of an earlier version, or one whose mark was lost, has left none.
#[test]
fn a_room_without_a_mark_is_erased_again_once() {
    run(|model| async move {
        let limits = Limits::default();
        let store = node(&model, 0, &limits).await;
        let lobby = open(&store, "lobby", &limits).await;
        fill(&lobby).await;
        let deletion = NewChange::new(user(2), 7, Change::Delete { reason: None }).with_role(Role::Moderator);
        lobby.change(deletion).await.expect("a receipt");
        store.close().await.expect("a store that can be closed");
        let mut requests = Vec::new();
        for _ in 0..3 {
            let store = node(&model, 0, &limits).await;
            let before = store.stats().requests;
            let _lobby = open(&store, "lobby", &limits).await;
            sleep(Duration::from_secs(4)).await;
            requests.push(store.stats().requests - before);
            store.close().await.expect("a store that can be closed");
        }
        assert!(requests[0] > 7 && requests[1] <= 5 && requests[2] <= 5, "{requests:?}");
    });
}
