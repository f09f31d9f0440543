//! Commits whose reports are lost, and logs that cannot be read for a time.

use std::time::Duration;

use chat_core::{Chat, Limits, LogBounds};
use chat_testkit::{Frame, Mode, Peer, Store, connect, lobby, member, pass, seconds_until, seqs, settle};
use serde_json::json;

use crate::{post, stored};

/// The time for which a room waits for the report of a committed entry.
const REPAIR_DELAY: f64 = 0.2;

/// Limits without pings.
fn limits() -> Limits {
    Limits::default().with(|limits| limits.connection.ping_interval = Duration::from_secs(100_000))
}

async fn room_with_members(limits: Limits, count: usize) -> (Store, Chat, Vec<Peer>) {
    let store = Store::new();
    let chat = store.chat(limits);
    let mut members = Vec::new();
    for number in 0..count {
        members.push(member(&chat, &format!("member{number}")).await);
    }
    for peer in &mut members {
        peer.events().await;
    }
    store.pause_reports(true);
    (store, chat, members)
}

#[tokio::test(start_paused = true)]
async fn entries_without_a_report_are_read_once_for_all_members() {
    let (store, chat, mut members) = room_with_members(limits(), 5).await;
    post(&chat, 3).await;
    for peer in &mut members {
        assert_eq!(peer.events().await.len(), 0);
    }
    pass(REPAIR_DELAY).await;
    for peer in &mut members {
        assert_eq!(seqs(&peer.events().await), [1, 2, 3]);
    }
    assert_eq!(store.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn entries_that_only_the_head_reports_are_read_at_once_and_once_for_all_members() {
    let (store, chat, mut members) = room_with_members(limits(), 5).await;
    for round in 1..=3 {
        post(&chat, 2).await;
        store.sink().advance(&store.epoch(), 2 * round);
        for peer in &mut members {
            assert_eq!(seqs(&peer.events().await), [2 * round - 1, 2 * round]);
        }
        assert_eq!(store.reads() as u64, round);
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_hole_is_read_page_by_page_and_the_members_take_each_page() {
    let limits = limits().with(|limits| {
        limits.wire.max_page_messages = 4;
        limits.rooms.tail_events = 8;
    });
    let (store, chat, mut members) = room_with_members(limits, 5).await;
    post(&chat, 18).await;
    pass(REPAIR_DELAY).await;
    for peer in &mut members {
        assert_eq!(seqs(&peer.events().await), (1..=18).collect::<Vec<_>>());
    }
    assert_eq!(store.reads(), 5);
}

#[tokio::test(start_paused = true)]
async fn entries_that_the_log_has_lost_are_a_gap_for_all_members_after_one_read() {
    let (store, chat, mut members) = room_with_members(limits(), 5).await;
    post(&chat, 4).await;
    store.lose([2, 3]);
    pass(REPAIR_DELAY).await;
    for peer in &mut members {
        let events = peer.events().await;
        assert_eq!(seqs(&events), [1, 4]);
        assert_eq!((&events[1]["from"], &events[1]["to"]), (&json!(2), &json!(3)));
    }
    assert_eq!(store.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_read_for_a_repair_is_repeated_with_pauses_until_the_store_works() {
    for mode in [Mode::Fails, Mode::Hangs, Mode::Panics] {
        let (store, chat, mut members) = room_with_members(limits(), 3).await;
        store.read(mode);
        post(&chat, 2).await;
        pass(600.0).await;
        let reads = store.reads();
        assert!((50..130).contains(&reads), "one read in five or ten seconds: {reads}");
        store.read(Mode::Works);
        pass(10.1).await;
        for peer in &mut members {
            assert_eq!(seqs(&peer.events().await), [1, 2], "no session has ended");
        }
        pass(600.0).await;
        assert_eq!(store.reads(), reads + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn repairs_of_many_rooms_read_at_most_sixteen_logs_at_once() {
    let store = Store::new();
    let chat = store.chat(limits());
    let mut ann = connect(&chat, "ann").await;
    for number in 0..40 {
        ann.join(&format!("room{number}")).await;
        store.sink().advance(&store.epoch(), 0);
    }
    store.pause_reports(true);
    store.read(Mode::Hangs);
    for number in 0..40 {
        ann.send(json!({"type": "send", "room": format!("room{number}"), "body": {"text": "hi"}}));
    }
    ann.events().await;
    pass(4.0).await;
    assert_eq!(store.reads(), 16);
    store.read(Mode::Works);
    pass(20.0).await;
    let events = ann.events().await;
    assert_eq!(seqs(&events), [1; 40]);
}

#[tokio::test(start_paused = true)]
async fn a_repair_ends_when_the_members_have_left() {
    let (store, chat, members) = room_with_members(limits(), 1).await;
    store.read(Mode::Fails);
    post(&chat, 2).await;
    pass(20.0).await;
    members.iter().for_each(Peer::kill);
    pass(10.0).await;
    let reads = store.reads();
    pass(100.0).await;
    assert_eq!(store.reads(), reads);
}

#[tokio::test(start_paused = true)]
async fn a_repair_that_finds_another_epoch_closes_the_members_with_4003() {
    let (store, chat, mut members) = room_with_members(limits(), 2).await;
    post(&chat, 1).await;
    store.renew("another");
    for peer in &mut members {
        assert_eq!(peer.until_gone().await.last(), Some(&Frame::Close(Some(4003))));
    }
    assert_eq!(store.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn reports_and_receipts_of_an_earlier_epoch_are_dropped() {
    let (store, chat, mut members) = room_with_members(limits(), 1).await;
    store.pause_reports(false);
    store.renew("another");
    store.sink().renewed(&LogBounds::new("another", 0));
    assert_eq!(members[0].until_gone().await.last(), Some(&Frame::Close(Some(4003))));
    let mut ann = connect(&chat, "ann").await;
    assert_eq!(ann.join("lobby").await["epoch"], "another");
    // The log itself still is of an earlier epoch, and so are its reports and its receipts.
    let (sink, earlier) = (store.sink(), store.epoch());
    post(&chat, 3).await;
    sink.publish(&earlier, &stored(&lobby(), 4));
    sink.advance(&earlier, 9);
    pass(10.0).await;
    assert_eq!(seqs(&ann.events().await), [0_u64; 0]);
    assert_eq!(store.reads(), 0, "nothing is missing");
    sink.publish("another", &stored(&lobby(), 1));
    assert_eq!(seqs(&ann.events().await), [1]);
}

/// A member that has joined before the last six messages, which it cannot take from the tail.
async fn member_behind_the_tail(mode: Mode) -> (Store, Chat, Peer) {
    let store = Store::new();
    let chat = store.chat(limits().with(|limits| limits.rooms.call_timeout = Duration::from_secs(3)));
    post(&chat, 6).await;
    let mut bob = connect(&chat, "bob").await;
    store.read(mode);
    assert_eq!(bob.ask(json!({"type": "join", "room": "lobby", "last": 6})).await["seq"], 6);
    (store, chat, bob)
}

#[tokio::test(start_paused = true)]
async fn a_member_that_cannot_read_the_log_waits_and_gets_everything_when_it_can() {
    for mode in [Mode::Fails, Mode::Hangs] {
        let (store, chat, mut bob) = member_behind_the_tail(mode).await;
        pass(20.0).await;
        assert!((5..12).contains(&store.reads()), "{}", store.reads());
        store.read(Mode::Works);
        post(&chat, 1).await;
        pass(8.0).await;
        assert_eq!(seqs(&bob.events().await), [1, 2, 3, 4, 5, 6, 7]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_cannot_read_the_log_is_closed_with_1011_after_30_seconds() {
    for mode in [Mode::Fails, Mode::Hangs] {
        let (_store, _chat, mut bob) = member_behind_the_tail(mode).await;
        let waited = seconds_until(async {
            assert_eq!(bob.until_gone().await.last(), Some(&Frame::Close(Some(1011))));
        });
        let waited = waited.await;
        assert!((25.0..33.1).contains(&waited), "{waited}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_waits_for_its_log_is_closed_with_4003_if_the_log_is_renewed() {
    let (store, _chat, mut bob) = member_behind_the_tail(Mode::Fails).await;
    pass(3.0).await;
    store.sink().renewed(&LogBounds::new("another", 0));
    settle().await;
    assert_eq!(bob.until_gone().await.last(), Some(&Frame::Close(Some(4003))));
}
