//! Peers that do not read, or read slowly. They delay no other peer, and their memory is bounded.

use std::time::Duration;

use chat_core::{Chat, Incoming, Limits, Range, RateLimits};
use chat_testkit::HIGH_WATER;
use chat_testkit::Store;
use chat_testkit::{Frame, Peer, chat, connect, member, members, pass, seconds_until, seqs, settle, types};
use serde_json::json;

/// Sends this many messages. Together they fit in one batch.
fn say(peer: &Peer, messages: usize) {
    for _ in 0..messages {
        peer.say("x");
    }
}

/// Returns all `seq` up to this one.
fn up_to(seq: u64) -> Vec<u64> {
    (1..=seq).collect()
}

#[tokio::test(start_paused = true)]
async fn a_blocked_reader_delays_no_other_member_and_misses_nothing() {
    let chat = chat(Limits::default().with(|limits| {
        limits.rooms.tail_events = 16;
        limits.wire.max_page_messages = 20;
        limits.rates = RateLimits::unlimited();
    }));
    let [mut slow, mut ann] = members(&chat, ["slow", "ann"]).await;
    ann.events().await;
    slow.block();
    let waited = seconds_until(async {
        for burst in 1..=4 {
            say(&ann, 60);
            let mut events = ann.events().await;
            events.retain(|event| event["type"] == "message");
            assert_eq!(events.last().expect("messages")["seq"], burst * 60);
            assert_eq!(events.len(), 60);
        }
    });
    let waited = waited.await;
    assert!(waited < 0.01, "{waited}");
    slow.unblock();
    let events = slow.events().await;
    assert_eq!(seqs(&events), up_to(240));
    assert!(!types(&events).contains(&"gap"));
    ann.say("live again");
    assert_eq!(seqs(&slow.events().await), [241]);
}

#[tokio::test(start_paused = true)]
async fn a_burst_longer_than_the_tail_reaches_an_idle_member() {
    let chat = chat(Limits::default().with(|limits| limits.rooms.tail_events = 16));
    let mut ann = member(&chat, "ann").await;
    settle().await;
    let user = chat_core::User::guest("host").expect("a name");
    for _ in 0..100 {
        // Nothing in memory waits, so the member's task has no turn before the last one is posted.
        let text = chat_core::Text::new("x");
        let posted = chat.post(&chat_testkit::lobby(), &user, &text).await;
        assert!(posted.is_ok());
    }
    assert_eq!(seqs(&ann.events().await), up_to(100));
}

#[tokio::test(start_paused = true)]
async fn a_reader_behind_the_log_gets_a_gap() {
    let chat = chat(Limits::default().with(|limits| {
        limits.rooms.tail_events = 16;
        limits.rooms.log_messages = 40;
        limits.wire.max_batch_bytes = 1_000;
    }));
    let [mut slow, mut ann] = members(&chat, ["slow", "ann"]).await;
    let epoch = ann.join("lobby").await["epoch"].clone();
    slow.events().await;
    slow.block();
    say(&ann, 100);
    settle().await;
    slow.unblock();
    let mut next = 1;
    let mut gaps = 0;
    for event in slow.events().await {
        if event["type"] == "gap" {
            assert_eq!((&event["from"], &event["epoch"]), (&json!(next), &epoch));
            next = event["to"].as_u64().expect("a number") + 1;
            assert!(next <= 61, "{event}: 61 can still be read");
            gaps += 1;
        } else {
            assert_eq!((&event["type"], &event["seq"]), (&json!("message"), &json!(next)));
            next += 1;
        }
    }
    assert_eq!(next, 101, "every message was delivered or named in a gap");
    assert!(gaps > 0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_is_closed_and_can_resume() {
    let chat = chat(Limits::default().with(|limits| {
        limits.connection.write_timeout = Duration::from_secs(9);
        limits.wire.max_page_messages = 300;
        limits.rates = RateLimits::unlimited();
    }));
    let [mut slow, ann] = members(&chat, ["slow", "ann"]).await;
    pass(5.0).await;
    slow.taken();
    slow.block();
    pass(5.0).await;
    assert_eq!(slow.closed_with(), None, "a peer without waiting frames is not closed");
    say(&ann, 300);
    pass(8.9).await;
    assert_eq!(chat.members(&chat_testkit::lobby()).len(), 2);
    pass(0.2).await;
    assert_eq!(chat.members(&chat_testkit::lobby()).len(), 1, "the peer leaves the room at once");
    let waited = seconds_until(async { assert_eq!(slow.until_gone().await, []) }).await;
    assert!(waited < 2.1, "{waited}");
    assert_eq!(slow.closed_with(), Some(Some(4000)));
    assert!(slow.is_over().await);
    assert_eq!(chat.counts().connections, 1);

    let mut back = connect(&chat, "slow").await;
    let joined = back.ask(json!({"type": "join", "room": "lobby", "last": 300})).await;
    assert_eq!(joined["recovered"], true);
    assert_eq!(seqs(&back.events().await), up_to(300));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_slowly_stays_connected() {
    let chat =
        chat(Limits::default().with(|limits| limits.connection.write_timeout = Duration::from_secs(9)));
    let [mut slow, ann] = members(&chat, ["slow", "ann"]).await;
    slow.events().await;
    slow.block();
    say(&ann, 20);
    for _ in 0..20 {
        pass(8.5).await;
        slow.ping();
        ann.ping();
        ann.taken();
        slow.grant(1);
        settle().await;
        assert_eq!(slow.taken().len(), 1);
        assert_eq!(slow.closed_with(), None);
    }
    slow.unblock();
    settle().await;
    slow.taken();
    ann.say("still here");
    let events = slow.events().await;
    assert_eq!(seqs(&events), [21]);
}

#[tokio::test(start_paused = true)]
async fn commands_of_a_peer_that_reads_nothing_are_carried_out() {
    let chat = chat(Limits::default().with(|limits| limits.rates = RateLimits::unlimited()));
    let [mut slow, ann] = members(&chat, ["slow", "ann"]).await;
    slow.events().await;
    slow.block();
    say(&ann, 100);
    slow.say("from the one that does not read");
    slow.ping();
    settle().await;
    assert_eq!(slow.unread(), 0);
    let range = Range::After { seq: 100, limit: 9 };
    let page = chat.history(&chat_testkit::lobby(), range).await.expect("a page");
    assert_eq!(page.messages.len(), 1);
    slow.close(1001);
    settle().await;
    assert_eq!(chat.members(&chat_testkit::lobby()).len(), 1, "its close was noticed");
    slow.unblock();
    let frames = slow.until_gone().await;
    assert_eq!(frames.last(), Some(&Frame::Close(Some(1001))), "echoed");
    assert_eq!(slow.closed_with(), Some(None));
}

#[tokio::test(start_paused = true)]
async fn a_hundred_messages_that_waited_leave_in_a_few_flushes() {
    let chat = chat(Limits::default().with(|limits| limits.rates = RateLimits::unlimited()));
    let [mut slow, ann] = members(&chat, ["slow", "ann"]).await;
    slow.events().await;
    slow.block();
    say(&ann, 100);
    settle().await;
    let before = slow.flushes();
    slow.unblock();
    assert_eq!(slow.events().await.len(), 100);
    let flushes = slow.flushes() - before;
    assert!((1..=3).contains(&flushes), "{flushes}");

    let before = slow.flushes();
    say(&ann, 100);
    assert_eq!(slow.events().await.len(), 100);
    let flushes = slow.flushes() - before;
    assert!((1..=8).contains(&flushes), "{flushes}: a burst costs few wakes");
}

#[tokio::test(start_paused = true)]
async fn commands_of_a_peer_that_does_not_read_are_not_read() {
    let chat = chat(Limits::default().with(|limits| limits.rates = RateLimits::unlimited()));
    let mut flood = member(&chat, "flood").await;
    flood.block();
    for _ in 0..10_000 {
        flood.send(json!({"type": "ping"}));
    }
    settle().await;
    let read = 10_000 - flood.unread();
    assert!((1..300).contains(&read), "{read}");
    flood.unblock();
    assert_eq!(flood.events().await.len(), 10_000, "all commands are answered");
}

#[tokio::test(start_paused = true)]
async fn replies_to_a_peer_that_does_not_read_are_bounded_in_bytes() {
    let store = Store::new();
    let limits = Limits::default().with(|limits| limits.rates = RateLimits::unlimited());
    let (page, backlog) = (limits.wire.max_batch_bytes, limits.connection.max_backlog_commands);
    let chat = store.chat(limits);
    let mut flood = member(&chat, "flood").await;
    let big = "x".repeat(4_000);
    for _ in 0..20 {
        flood.say(&big);
    }
    flood.events().await;
    flood.block();
    for _ in 0..1_000 {
        flood.send(json!({"type": "history", "room": "lobby"}));
    }
    settle().await;
    assert!(store.reads() * page < (HIGH_WATER + 4) * page, "{}", store.reads());
    assert!(flood.unread() >= 1_000 - 2 * backlog);
    flood.unblock();
    assert_eq!(flood.events().await.len(), 1_000, "all commands are answered");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_cannot_be_written_to_is_dropped() {
    let chat = Chat::default();
    let [mut ann, bob] = members(&chat, ["ann", "bob"]).await;
    ann.events().await;
    ann.fail();
    bob.say("hi");
    let waited = seconds_until(async { assert_eq!(ann.until_gone().await, []) }).await;
    assert!(waited < 45.0, "{waited}");
    assert!(ann.is_over().await);
    assert_eq!(chat.members(&chat_testkit::lobby()).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_log_is_not_read_for_a_lost_peer_and_its_messages_are_stored() {
    let (store, chat) = Store::with_chat(Limits::default());
    let [mut bob, ann] = members(&chat, ["bob", "ann"]).await;
    bob.events().await;
    ann.fail();
    for _ in 0..50 {
        ann.send(json!({"type": "history", "room": "lobby"}));
        ann.send(json!({"type": "search", "room": "lobby", "query": "x"}));
    }
    ann.say("my last words");
    ann.incoming(Incoming::End);
    assert_eq!(bob.event().await["body"]["text"], "my last words");
    // The first write shows that the peer cannot be written to.
    assert!(store.reads() <= 1, "{} reads", store.reads());
}

#[tokio::test(start_paused = true)]
async fn the_loss_of_a_peer_that_does_not_read_is_noticed_at_once() {
    let chat = chat(Limits::default().with(|limits| limits.rates = RateLimits::unlimited()));
    let mut flood = member(&chat, "flood").await;
    flood.block();
    for _ in 0..1_000 {
        flood.send(json!({"type": "ping"}));
    }
    settle().await;
    flood.close(1001);
    flood.fail();
    let waited = seconds_until(flood.until_gone()).await;
    assert!(waited < 0.1, "{waited}");
    assert_eq!(flood.unread(), 0, "its last commands are read");
    assert_eq!(chat.counts().connections, 0);
}
