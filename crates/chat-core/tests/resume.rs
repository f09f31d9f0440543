//! Resuming: a client gets exactly what it has missed, or a gap.

use std::time::Duration;

use chat_core::{Change, Chat, Limits, NewChange, Role, User};
use chat_testkit::{Mode, Store};
use chat_testkit::{Peer, chat, connect, lobby, member, pass, seqs, settle, types};
use serde_json::{Value, json};

/// Joins the lobby from a position. Returns the reply and the events after it, without presence.
async fn join(peer: &mut Peer, from: Value) -> (Value, Vec<Value>) {
    let mut command = json!({"type": "join", "room": "lobby"});
    let command_fields = command.as_object_mut().expect("an object");
    command_fields.extend(from.as_object().expect("an object").clone());
    let joined = peer.ask(command).await;
    let mut events = peer.events().await;
    events.retain(|event| event["type"] != "presence");
    (joined, events)
}

async fn post(chat: &Chat, messages: u64) {
    let user = User::guest("host").expect("a name");
    for _ in 0..messages {
        let text = chat_core::Text::new("x");
        chat.post(&lobby(), &user, &text).await.expect("posted");
    }
}

async fn epoch(chat: &Chat) -> String {
    let range = chat_core::Range::After { seq: 0, limit: 1 };
    chat.history(&lobby(), range).await.expect("a page").epoch
}

/// Returns small limits, so that ten messages reach the tail, a page, and the end of the log.
fn small() -> Limits {
    Limits::default().with(|limits| {
        limits.rooms.tail_events = 4;
        limits.wire.max_page_messages = 3;
        limits.wire.default_page_messages = 3;
        limits.rooms.log_messages = 8;
    })
}

#[tokio::test(start_paused = true)]
async fn a_resume_at_every_position_returns_exactly_the_missed_messages() {
    for messages in 0..=8 {
        let chat = chat(small());
        let _witness = member(&chat, "wim").await;
        post(&chat, messages).await;
        let epoch = epoch(&chat).await;
        for seen in 0..=messages {
            let mut ann = connect(&chat, "ann").await;
            let after = json!({"after": {"epoch": epoch, "seq": seen}});
            let (joined, missed) = join(&mut ann, after).await;
            let place = format!("{seen} of {messages}");
            assert_eq!(joined["recovered"], true, "{place}");
            assert_eq!((&joined["seq"], &joined["first"]), (&json!(messages), &json!(1)));
            assert_eq!(seqs(&missed), (seen + 1..=messages).collect::<Vec<_>>(), "{place}");
            assert_eq!(missed.len(), seqs(&missed).len(), "no gap");
            ann.kill();
            settle().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn messages_sent_while_a_member_catches_up_follow_in_order() {
    let chat = chat(small());
    post(&chat, 8).await;
    let epoch = epoch(&chat).await;
    let mut ann = connect(&chat, "ann").await;
    ann.block();
    ann.send(json!({"type": "join", "room": "lobby", "after": {"epoch": epoch, "seq": 2}}));
    settle().await;
    post(&chat, 2).await;
    ann.grant(3);
    settle().await;
    ann.unblock();
    let bob = member(&chat, "bob").await;
    bob.say("and more");
    let events = ann.events().await;
    assert_eq!(seqs(&events), (3..=11).collect::<Vec<_>>());
    assert!(!types(&events).contains(&"gap"), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn a_join_with_last_gets_that_many_messages_up_to_a_page() {
    let chat = chat(small());
    post(&chat, 10).await;
    for (last, expected) in [(0, 11..11), (1, 10..11), (3, 8..11), (4, 8..11), (1_000, 8..11)] {
        let mut ann = connect(&chat, "ann").await;
        let (joined, messages) = join(&mut ann, json!({"last": last})).await;
        assert_eq!(joined["recovered"], true, "{last}");
        assert_eq!((&joined["seq"], &joined["first"]), (&json!(10), &json!(3)));
        assert_eq!(seqs(&messages), expected.collect::<Vec<_>>(), "{last}");
        ann.kill();
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_resume_from_before_the_log_gets_a_gap() {
    let chat = chat(small());
    post(&chat, 20).await;
    let epoch = epoch(&chat).await;
    for (known, seen, from) in [(epoch.as_str(), 5, 6), (&epoch, 11, 12), ("another", 19, 1), ("", 0, 1)] {
        let mut ann = connect(&chat, "ann").await;
        let after = json!({"after": {"epoch": known, "seq": seen}});
        let (joined, events) = join(&mut ann, after).await;
        assert_eq!(joined["recovered"], false, "{known} {seen}");
        assert_eq!(joined["epoch"], *epoch);
        let gap = json!({"type": "gap", "room": "lobby", "epoch": epoch, "from": from, "to": 17});
        assert_eq!(events[0], gap);
        assert_eq!(seqs(&events), [18, 19, 20], "the newest messages follow");
        assert_eq!(events.len(), 4);
        ann.kill();
        settle().await;
    }
    let mut ann = connect(&chat, "ann").await;
    let (joined, events) = join(&mut ann, json!({"after": {"epoch": epoch, "seq": 12}})).await;
    assert_eq!(joined["recovered"], true, "12 is the last one forgotten");
    assert_eq!(seqs(&events), (13..=20).collect::<Vec<_>>());
    let stats = chat.stats();
    assert_eq!((stats.resumes.not_recovered, stats.resumes.from_log, stats.resumes.from_tail), (4, 1, 0));
    assert_eq!(stats.gaps, 4);
}

#[tokio::test(start_paused = true)]
async fn a_position_in_the_future_is_refused_and_changes_nothing() {
    let chat = Chat::default();
    let mut ann = member(&chat, "ann").await;
    post(&chat, 3).await;
    let epoch = epoch(&chat).await;
    let future = json!({"after": {"epoch": epoch, "seq": 4}});
    let (refused, events) = join(&mut ann, future.clone()).await;
    assert_eq!(refused["code"], "bad_cursor");
    assert_eq!(seqs(&events), [1, 2, 3]);
    post(&chat, 1).await;
    assert_eq!(seqs(&ann.events().await), [4]);
    let mut bob = connect(&chat, "bob").await;
    let far = json!({"after": {"epoch": epoch, "seq": 9_007_199_254_740_991_u64}});
    assert_eq!(join(&mut bob, far).await.0["code"], "bad_cursor");
    assert_eq!(chat.members(&lobby()).len(), 1, "bob is not in");
    let refused = bob.ask(json!({"type": "history", "room": "lobby"})).await;
    assert_eq!(refused["code"], "not_joined");
}

#[tokio::test(start_paused = true)]
async fn joining_again_without_a_position_changes_nothing() {
    let chat = Chat::default();
    let mut ann = member(&chat, "ann").await;
    ann.block();
    post(&chat, 20).await;
    ann.send(json!({"type": "join", "room": "lobby"}));
    settle().await;
    ann.unblock();
    let events = ann.events().await;
    assert_eq!(seqs(&events), (1..=20).collect::<Vec<_>>());
    assert_eq!(types(&events).iter().filter(|kind| **kind == "joined").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn joining_again_with_a_position_continues_there_in_order() {
    for tail_events in [256, 4] {
        let chat = chat(Limits::default().with(|limits| {
            limits.rooms.tail_events = tail_events;
            limits.wire.max_page_messages = 3;
        }));
        let mut ann = member(&chat, "ann").await;
        post(&chat, 3).await;
        assert_eq!(seqs(&ann.events().await), [1, 2, 3]);
        ann.block();
        post(&chat, 10).await;
        settle().await;
        let after = json!({"epoch": epoch(&chat).await, "seq": 1});
        ann.send(json!({"type": "join", "room": "lobby", "after": after}));
        settle().await;
        post(&chat, 1).await;
        ann.unblock();
        let events = ann.events().await;
        let joined = types(&events).iter().position(|kind| *kind == "joined");
        let (before, after) = events.split_at(joined.expect("joined"));
        assert_eq!(seqs(before), [4, 5, 6, 7], "the frames that the connection held");
        assert_eq!(after[0]["recovered"], true);
        assert_eq!(seqs(after), (2..=14).collect::<Vec<_>>());
        post(&chat, 2).await;
        assert_eq!(seqs(&ann.events().await), [15, 16]);
    }
}

#[tokio::test(start_paused = true)]
async fn history_is_read_in_pages_in_both_directions() {
    let chat = chat(small());
    let mut ann = member(&chat, "ann").await;
    post(&chat, 10).await;
    ann.events().await;
    for (range, expected, more) in [
        (json!({}), 8..11, true),
        (json!({"limit": 0}), 10..11, true),
        (json!({"limit": 1_000_000_000}), 8..11, true),
        (json!({"before": 6}), 3..6, false),
        (json!({"before": 3}), 0..0, false),
        (json!({"before": 0}), 0..0, false),
        (json!({"after": 0}), 3..6, true),
        (json!({"after": 8}), 9..11, false),
        (json!({"after": 9_007_199_254_740_991_u64}), 0..0, false),
    ] {
        let mut command = json!({"type": "history", "room": "lobby"});
        let fields = command.as_object_mut().expect("an object");
        fields.extend(range.as_object().expect("an object").clone());
        let page = ann.ask(command).await;
        let messages = page["messages"].as_array().expect("a list");
        assert_eq!(seqs(messages), expected.collect::<Vec<_>>(), "{range}");
        assert_eq!(page["more"], more, "{range}");
    }
    let both = ann.ask(json!({"type": "history", "room": "lobby", "after": 1, "before": 5}));
    assert_eq!(both.await["code"], "bad_cursor");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_the_log_has_lost_is_a_gap_in_its_place() {
    let store = Store::new();
    let chat = store.chat(Limits::default().with(|limits| {
        limits.rooms.tail_events = 4;
        limits.wire.max_page_messages = 5;
    }));
    post(&chat, 20).await;
    // Among others, ahead of a page, two in one hole, at the end of a page, and where the tail begins.
    store.lose([2, 6, 7, 10, 16]);
    let mut bob = connect(&chat, "bob").await;
    let (joined, events) = join(&mut bob, json!({"after": {"epoch": store.epoch(), "seq": 0}})).await;
    assert_eq!(joined["recovered"], true);
    let mut told = Vec::new();
    for event in &events {
        match event["type"].as_str() {
            Some("gap") => told.push((event["from"].as_u64(), event["to"].as_u64())),
            Some("message") => told.push((event["seq"].as_u64(), None)),
            _ => panic!("{event}"),
        }
    }
    let expected: Vec<_> = (1..=20)
        .filter(|seq| *seq != 7)
        .map(|seq| match seq {
            2 | 10 | 16 => (Some(seq), Some(seq)),
            6 => (Some(6), Some(7)),
            _ => (Some(seq), None),
        })
        .collect();
    assert_eq!(told, expected);
}

#[tokio::test(start_paused = true)]
async fn the_pins_of_a_joined_reply_are_those_at_its_seq_while_the_room_changes() {
    let (store, chat) = Store::with_chat(Limits::default());
    let [_ann, mut bob] = [member(&chat, "ann").await, connect(&chat, "bob").await];
    post(&chat, 2).await;
    // A slow answer is an old one.
    store.bounds(Mode::Slow(Duration::from_secs(1)));
    bob.send(json!({"type": "join", "room": "lobby"}));
    settle().await;
    let host = User::new("host", "Host").expect("a user");
    let pin = NewChange::new(host, 1, Change::Pin { on: true }).with_role(Role::Moderator);
    chat.change(&lobby(), pin).await.expect("pinned");
    pass(2.1).await;
    let events = bob.events().await;
    let joined = events.iter().find(|event| event["type"] == "joined").expect("joined");
    assert_eq!((&joined["seq"], &joined["pins"]), (&json!(3), &json!([1])), "{joined}");
}
