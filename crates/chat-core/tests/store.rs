//! Logs that are slow, fail or hang, and messages with code that panics.

use std::time::Duration;

use chat_core::{BodyError, Chat, Limits, Message, Range, Search, SearchError};
use chat_testkit::{
    Frame, Peer, connect, guest, lobby, member, members, pass, seconds_until, seqs, settle, types,
};
use chat_testkit::{Mode, Store};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

fn limits() -> Limits {
    Limits::default().with(|limits| {
        limits.rooms.call_timeout = Duration::from_secs(3);
        limits.rooms.tail_events = 8;
        limits.wire.max_page_messages = 5;
    })
}

const SECOND: Mode = Mode::Slow(Duration::from_secs(1));

async fn ask_for(peer: &mut Peer, command: Value) -> (Value, f64) {
    let mut reply = Value::Null;
    let waited = seconds_until(async { reply = peer.ask(command).await }).await;
    (reply, waited)
}

#[tokio::test(start_paused = true)]
async fn a_log_that_fails_or_hangs_is_unavailable_until_it_works() {
    let (store, chat) = Store::with_chat(limits());
    let mut ann = member(&chat, "ann").await;
    let send = json!({"type": "send", "room": "lobby", "key": "k", "body": {"text": "hi"}});
    let history = json!({"type": "history", "room": "lobby"});
    let join = json!({"type": "join", "room": "hall"});
    for (mode, seconds) in [(Mode::Fails, 0.0), (Mode::Hangs, 3.0)] {
        store.append(mode);
        store.read(mode);
        store.bounds(mode);
        for command in [&send, &history, &join] {
            let (reply, waited) = ask_for(&mut ann, command.clone()).await;
            let expected = json!({"type": "error", "code": "unavailable", "room": command["room"],
                "message": "this is not available now; a retry with the same key is safe"});
            assert_eq!(reply, expected);
            assert!((seconds..seconds + 0.1).contains(&waited), "{waited}");
        }
    }
    store.append(Mode::Works);
    store.read(Mode::Works);
    store.bounds(Mode::Works);
    assert_eq!(ann.ask(send).await["seq"], 1);
    assert_eq!(ann.ask(history).await["messages"].as_array().map(Vec::len), Some(1));
    assert_eq!(ann.ask(join).await["type"], "joined");
}

#[tokio::test(start_paused = true)]
async fn a_search_without_support_of_the_log_is_unsupported() {
    let chat = Store::new().chat(limits());
    let mut ann = member(&chat, "ann").await;
    let refused = ann.ask(json!({"type": "search", "room": "lobby", "query": "hi"})).await;
    assert_eq!((&refused["code"], &refused["room"]), (&json!("unsupported"), &json!("lobby")));
    let search = Search::new("hi", 9);
    assert_eq!(chat.search(&lobby(), search).await, Err(SearchError::Unsupported));
}

#[tokio::test(start_paused = true)]
async fn unavailable_does_not_count_as_an_error_of_the_client() {
    let (store, chat) = Store::with_chat(limits());
    let mut ann = member(&chat, "ann").await;
    store.append(Mode::Fails);
    for _ in 0..50 {
        ann.say("hi");
    }
    let events = ann.events().await;
    assert_eq!(types(&events), ["error"; 50]);
    assert_eq!(chat.counts().sessions, 1);
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_while_the_log_is_slow_and_commands_stay_in_order() {
    let (store, chat) = Store::with_chat(limits());
    let mut ann = member(&chat, "ann").await;
    store.append(SECOND);
    for reference in ["1", "2"] {
        ann.send(json!({"type": "send", "ref": reference, "room": "lobby", "body": {"text": reference}}));
        ann.send(json!({"type": "ping", "ref": format!("after {reference}")}));
    }
    ann.send(json!({"type": "typing", "room": "hall", "active": true, "ref": "3"}));
    ann.ping();
    settle().await;
    assert_eq!(ann.taken(), [Frame::Pong]);
    pass(2.1).await;
    let mut replies = ann.events().await;
    replies.retain(|event| event["type"] != "message");
    let order: Vec<_> = replies.iter().map(|event| event["ref"].as_str()).collect();
    let expected = [Some("1"), Some("after 1"), Some("2"), Some("after 2"), Some("3")];
    assert_eq!(order, expected);
    assert_eq!((&replies[0]["seq"], &replies[2]["seq"]), (&json!(1), &json!(2)));
}

#[tokio::test(start_paused = true)]
async fn a_message_is_not_delivered_before_it_is_committed() {
    let (store, chat) = Store::with_chat(limits());
    let [mut ann, mut bob] = members(&chat, ["ann", "bob"]).await;
    ann.events().await;
    store.append(SECOND);
    ann.say("slow");
    pass(0.9).await;
    assert_eq!(bob.events().await, [] as [Value; 0]);
    assert_eq!(ann.events().await, [] as [Value; 0]);
    pass(0.1).await;
    assert_eq!(types(&bob.events().await), ["message"]);
    ann.events().await;
    store.append(Mode::Hangs);
    ann.say("never");
    pass(10.0).await;
    assert_eq!(bob.events().await, [] as [Value; 0]);
    assert_eq!(types(&ann.events().await), ["error"]);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_be_read_while_a_member_catches_up_ends_the_session() {
    for mode in [Mode::Fails, Mode::Hangs] {
        // Without pings: the session ends after 30 s.
        let limits = limits().with(|limits| limits.connection.ping_interval = Duration::from_secs(100));
        let (store, chat) = Store::with_chat(limits);
        let mut ann = member(&chat, "ann").await;
        for _ in 0..6 {
            ann.say("hi");
        }
        ann.events().await;
        let mut bob = connect(&chat, "bob").await;
        store.read(mode);
        assert_eq!(bob.ask(json!({"type": "join", "room": "lobby", "last": 6})).await["seq"], 6);
        let closing = r#"{"type":"closing","code":1011,"reason":"internal_error"}"#;
        let expected = [Frame::Text(closing.to_owned()), Frame::Close(Some(1011))];
        assert_eq!(bob.until_gone().await, expected);
        assert_eq!(chat.members(&lobby()).len(), 1);
        ann.say("still here");
        let events = ann.events().await;
        assert_eq!(seqs(&events), [7]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_who_catches_up_slowly_gets_everything_in_order_and_its_replies_meanwhile() {
    let (store, chat) = Store::with_chat(limits());
    let ann = member(&chat, "ann").await;
    let mut bob = connect(&chat, "bob").await;
    for _ in 0..20 {
        ann.say("hi");
    }
    settle().await;
    let after = json!({"epoch": store.epoch(), "seq": 0});
    store.read(SECOND);
    bob.join("hall").await;
    bob.ask(json!({"type": "join", "room": "lobby", "after": after})).await;
    ann.say("live");
    bob.send(json!({"type": "send", "room": "hall", "ref": "1", "body": {"text": "elsewhere"}}));
    let meanwhile = bob.events().await;
    let mut kinds = types(&meanwhile);
    kinds.sort_unstable();
    assert_eq!(kinds, ["message", "sent"], "another room is not delayed");
    pass(10.0).await;
    assert_eq!(seqs(&bob.events().await), (1..=21).collect::<Vec<_>>());
    ann.say("live");
    assert_eq!(seqs(&bob.events().await), [22]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_closes_does_not_wait_for_a_log_that_hangs() {
    let (store, chat) = Store::with_chat(limits());
    let mut ann = member(&chat, "ann").await;
    store.append(Mode::Hangs);
    for _ in 0..20 {
        ann.say("hi");
    }
    ann.close(1000);
    let waited = seconds_until(ann.until_gone()).await;
    assert!(waited < 3.1, "{waited}");
    assert_eq!(ann.closed_with(), Some(None));
    assert_eq!(chat.counts().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_dropped_in_any_state_leaves_its_rooms() {
    let (store, chat) = Store::with_chat(limits());
    let mut bob = member(&chat, "bob").await;
    let presence = |state| json!({"type": "presence", "room": "lobby", "user": guest("ann"), "state": state});
    // The session is dropped while it is idle, joins, appends, reads, catches up, is blocked, or closes.
    let places: [fn(&Store, &Peer); 7] = [
        |_, _| {},
        |store, ann| {
            store.bounds(Mode::Hangs);
            ann.send(json!({"type": "join", "room": "hall"}));
        },
        |store, ann| {
            store.append(Mode::Hangs);
            ann.say("hi");
        },
        |store, ann| {
            store.read(Mode::Hangs);
            ann.send(json!({"type": "history", "room": "lobby"}));
        },
        |store, ann| {
            ann.say("hi");
            store.read(Mode::Hangs);
            ann.send(json!({"type": "join", "room": "lobby", "last": 1}));
        },
        |_, ann| {
            ann.block();
            for _ in 0..50 {
                ann.send(json!({"type": "ping"}));
            }
        },
        |_, ann| {
            ann.keep_silent();
            ann.incoming(chat_core::Incoming::Binary(bytes::Bytes::new()));
        },
    ];
    for (place, reach) in places.into_iter().enumerate() {
        let ann = member(&chat, "ann").await;
        reach(&store, &ann);
        settle().await;
        assert_eq!(chat.counts().connections, 2, "{place}");
        ann.kill();
        settle().await;
        let mut events = bob.events().await;
        events.retain(|event| event["type"] == "presence");
        assert_eq!(events, [presence("joined"), presence("left")], "{place}");
        assert_eq!((chat.counts().connections, chat.counts().sessions), (1, 1), "{place}");
        assert_eq!(chat.members(&lobby()).len(), 1);
        store.append(Mode::Works);
        store.read(Mode::Works);
        store.bounds(Mode::Works);
    }
}

/// A message with a parser that panics.
#[derive(Debug, Serialize, Deserialize)]
struct Broken {}

impl Message for Broken {
    fn parse(body: &RawValue, _: &Limits) -> Result<Self, BodyError> {
        assert!(!body.get().contains("panic"), "this is the test's own panic");
        Ok(Self {})
    }

    fn kind(&self) -> &'static str {
        "broken"
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_one_session_ends_only_that_session() {
    let chat = Chat::builder().messages::<Broken>().build();
    let [mut ann, mut bob] = members(&chat, ["ann", "bob"]).await;
    ann.events().await;
    bob.send(json!({"type": "ping", "ref": "1"}));
    bob.say("panic");
    let closing = r#"{"type":"closing","code":1011,"reason":"internal_error"}"#;
    let expected = [
        Frame::Text(r#"{"type":"pong","ref":"1"}"#.to_owned()),
        Frame::Text(closing.to_owned()),
        Frame::Close(Some(1011)),
    ];
    assert_eq!(bob.until_gone().await, expected);
    assert!(bob.is_over().await, "the panic is not propagated");
    let events = ann.events().await;
    assert_eq!((types(&events), &events[0]["state"]), (vec!["presence"], &json!("left")));
    assert_eq!((chat.counts().connections, chat.counts().sessions), (1, 1));
    ann.say("the room goes on");
    assert_eq!(seqs(&ann.events().await), [1]);
    let range = Range::After { seq: 0, limit: 9 };
    let page = chat.history(&lobby(), range).await.expect("a page");
    assert_eq!(page.messages.len(), 1);
    assert_eq!(member(&chat, "bob").await.ask(json!({"type": "ping"})).await["type"], "pong");
}
