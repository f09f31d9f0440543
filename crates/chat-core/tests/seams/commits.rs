use std::time::Duration;

use chat_core::{Chat, Limits, LogBounds, Range};
use chat_testkit::{
    Cluster, Frame, Mode, Peer, Store, connect, lobby, member, pass, seconds_until, seqs, settle, types,
};
use serde_json::json;

use crate::{post, stored};

/// The time for which a room waits for the report of a committed entry.
const REPAIR_DELAY: f64 = 0.2;

fn send_all(store: &Store, seqs: &[u64]) {
    let (sink, epoch) = (store.sink(), store.epoch());
    for seq in seqs {
        sink.publish(&epoch, &stored(&lobby(), *seq));
    }
}

async fn room_of_a_store() -> (Store, Chat, Peer) {
    let (store, chat) = Store::with_chat(Limits::default());
    let ann = member(&chat, "ann").await;
    settle().await;
    (store, chat, ann)
}

#[tokio::test(start_paused = true)]
async fn entries_that_are_reported_in_any_order_and_again_are_delivered_once_in_order() {
    let (store, _chat, mut ann) = room_of_a_store().await;
    send_all(&store, &[2, 2, 4, 1, 1, 4, 3, 2, 6, 5]);
    assert_eq!(seqs(&ann.events().await), [1, 2, 3, 4, 5, 6]);
}

#[tokio::test(start_paused = true)]
async fn entries_can_be_reported_from_a_thread_without_a_runtime() {
    let (store, _chat, mut ann) = room_of_a_store().await;
    std::thread::spawn(move || send_all(&store, &[1, 3])).join().expect("no panic");
    assert_eq!(seqs(&ann.events().await), [1]);
    // The hole is repaired by a task of the runtime; the log knows none of these entries.
    pass(REPAIR_DELAY).await;
    let events = ann.events().await;
    assert_eq!((types(&events), seqs(&events)), (vec!["gap", "message"], vec![3]));
    assert_eq!((&events[0]["from"], &events[0]["to"]), (&json!(2), &json!(2)));
}

#[tokio::test(start_paused = true)]
async fn an_entry_whose_report_is_lost_is_read_from_the_log() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.node("a"), cluster.node("b"));
    let mut ann = member(&b, "ann").await;
    settle().await;
    post(&a, 2).await;
    assert_eq!(seqs(&ann.events().await), [1, 2]);
    cluster.store().pause_reports(&lobby(), true);
    post(&a, 2).await;
    cluster.store().pause_reports(&lobby(), false);
    assert_eq!(seqs(&ann.events().await), [0_u64; 0]);
    post(&a, 1).await;
    let waited = seconds_until(async { assert_eq!(ann.event().await["seq"], 3) }).await;
    assert!((REPAIR_DELAY - 0.01..REPAIR_DELAY + 0.01).contains(&waited), "{waited}");
    assert_eq!(seqs(&ann.events().await), [4, 5]);
}

#[tokio::test(start_paused = true)]
async fn the_last_entry_is_repaired_by_the_head_of_the_log() {
    let (store, chat) = Store::with_chat(Limits::default());
    let mut ann = member(&chat, "ann").await;
    settle().await;
    post(&chat, 2).await;
    assert_eq!(seqs(&ann.events().await), [1, 2]);
    // The log does not have these entries: the gap shows that the members read the log.
    store.sink().advance(&store.epoch(), 4);
    let events = ann.events().await;
    assert_eq!((types(&events), &events[0]["to"]), (vec!["gap"], &json!(4)));
    store.sink().advance(&store.epoch(), 3);
    assert_eq!(ann.events().await.len(), 0, "the head never goes back");
}

#[tokio::test(start_paused = true)]
async fn an_append_whose_report_is_lost_reaches_its_own_room() {
    let cluster = Cluster::new();
    let chat = cluster.node("a");
    let mut ann = member(&chat, "ann").await;
    ann.events().await;
    cluster.store().pause_reports(&lobby(), true);
    ann.say("hi");
    assert_eq!(types(&ann.events().await), ["sent"]);
    pass(REPAIR_DELAY).await;
    assert_eq!(seqs(&ann.events().await), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_join_repairs_the_loss_of_the_last_report() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.node("a"), cluster.node("b"));
    let mut ann = member(&b, "ann").await;
    post(&a, 1).await;
    ann.events().await;
    cluster.store().pause_reports(&lobby(), true);
    post(&a, 1).await;
    pass(10.0).await;
    assert_eq!(seqs(&ann.events().await), [0_u64; 0]);
    let mut bob = connect(&b, "bob").await;
    let joined = bob.ask(json!({"type": "join", "room": "lobby", "last": 1})).await;
    assert_eq!(joined["seq"], 2);
    pass(REPAIR_DELAY).await;
    assert_eq!(seqs(&ann.events().await), [2]);
    assert_eq!(seqs(&bob.events().await), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_renewed_log_closes_its_members_with_a_code_that_lets_them_resume() {
    let (store, chat, mut ann) = room_of_a_store().await;
    let mut other = connect(&chat, "bob").await;
    store.sink().renewed(&LogBounds::new("another", 7));
    let frames = ann.until_gone().await;
    assert_eq!(frames.last(), Some(&Frame::Close(Some(4003))));
    assert_eq!(other.ask(json!({"type": "ping"})).await["type"], "pong", "it is in no room");
}

#[tokio::test(start_paused = true)]
async fn a_new_epoch_without_a_report_is_noticed_by_the_next_join() {
    let (store, chat, mut ann) = room_of_a_store().await;
    store.renew("another");
    let mut bob = connect(&chat, "bob").await;
    assert_eq!(bob.join("lobby").await["epoch"], "another");
    let frames = ann.until_gone().await;
    assert_eq!(frames.last(), Some(&Frame::Close(Some(4003))));
}

#[tokio::test(start_paused = true)]
async fn reports_that_come_while_the_room_opens_or_after_it_is_closed_are_harmless() {
    let (store, chat) = Store::with_chat(Limits::default());
    store.open(Mode::Slow(Duration::from_secs(1)));
    let opening = tokio::spawn({
        let chat = chat.clone();
        async move { member(&chat, "ann").await }
    });
    settle().await;
    send_all(&store, &[1, 3, 2]);
    let mut ann = opening.await.expect("no panic");
    assert_eq!(seqs(&ann.events().await), [0_u64; 0]);
    send_all(&store, &[4]);
    assert_eq!(seqs(&ann.events().await), [4]);
    ann.kill();
    settle().await;
    pass(100_000.0).await;
    assert_eq!(chat.counts().rooms, 0);
    send_all(&store, &[5, 7]);
    assert_eq!(chat.history(&lobby(), Range::After { seq: 0, limit: 9 }).await.expect("a page").messages, []);
}

#[tokio::test(start_paused = true)]
async fn entries_committed_while_a_member_joins_are_delivered_once() {
    for has_member in [false, true] {
        let (store, chat) = Store::with_chat(Limits::default());
        post(&chat, 2).await;
        let _ann = if has_member { Some(member(&chat, "ann").await) } else { None };
        store.bounds(Mode::Slow(Duration::from_secs(1)));
        for (from, expected) in [(json!({"last": 3}), vec![3, 4, 5, 6, 7]), (json!({}), vec![11, 12])] {
            let mut bob = connect(&chat, "bob").await;
            let mut join = json!({"type": "join", "room": "lobby"});
            join.as_object_mut().expect("an object").extend(from.as_object().expect("an object").clone());
            bob.send(join);
            settle().await;
            post(&chat, 3).await;
            // The room has later entries than the first answer, so the store is asked again.
            pass(2.1).await;
            post(&chat, 2).await;
            let events = bob.events().await;
            let joined = events.iter().find(|event| event["type"] == "joined").expect("joined");
            assert_eq!(joined["seq"], expected[expected.len() - 1] - 2, "{joined}");
            assert_eq!(seqs(&events), expected, "{has_member}");
            bob.kill();
            settle().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_leaves_while_it_reads_the_log_gets_no_more_of_it() {
    let (store, chat) = Store::with_chat(Limits::default().with(|limits| limits.rooms.tail_events = 2));
    post(&chat, 10).await;
    let mut ann = connect(&chat, "ann").await;
    store.read(Mode::Slow(Duration::from_secs(1)));
    let join = json!({"type": "join", "room": "lobby", "last": 10});
    assert_eq!(ann.ask(join.clone()).await["recovered"], true);
    settle().await;
    assert_eq!(ann.ask(json!({"type": "leave", "room": "lobby"})).await["type"], "left");
    pass(3.0).await;
    assert_eq!(ann.events().await.len(), 0);
    ann.ask(join).await;
    pass(3.0).await;
    assert_eq!(seqs(&ann.events().await), (1..=10).collect::<Vec<_>>());
}
