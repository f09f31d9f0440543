//! The ends of a session, and the commands before them.

use std::time::Duration;

use bytes::Bytes;
use chat_core::{Chat, CloseCode, Incoming, Limits, ProtocolViolation};
use chat_testkit::{Frame, chat, connect, member, pass, seconds_until, settle, types};
use chat_testkit::{Mode, Store};
use serde_json::json;

/// Returns the last frames when the server closes.
fn last_frames(code: CloseCode) -> [Frame; 2] {
    let closing = format!(r#"{{"type":"closing","code":{},"reason":"{}"}}"#, code.code(), code.reason());
    [Frame::Text(closing), Frame::Close(Some(code.code()))]
}

#[tokio::test(start_paused = true)]
async fn too_many_errors_in_a_short_time_end_the_session() {
    let chat = chat(Limits::default().with(|limits| {
        limits.connection.max_errors = 3;
        limits.connection.error_window = Duration::from_secs(10);
    }));
    let mut ann = connect(&chat, "ann").await;
    for _ in 0..4 {
        ann.text("1");
        pass(5.1).await;
    }
    assert_eq!(types(&ann.events().await), ["error"; 4], "two errors in any ten seconds are allowed");
    ann.text("{}");
    ann.text("{}");
    ann.send(json!({"type": "ping"}));
    let frames = ann.until_gone().await;
    let closing = r#"{"type":"closing","code":4500,"reason":"too_many_errors"}"#;
    assert_eq!(frames.len(), 4, "{frames:?}");
    assert_eq!(frames[2], Frame::Text(closing.to_owned()));
    assert_eq!(frames[3], Frame::Close(Some(4500)));
}

#[tokio::test(start_paused = true)]
async fn frames_that_are_not_text_close_with_their_code() {
    let chat = Chat::default();
    for (incoming, code) in [
        (Incoming::Binary(Bytes::new()), CloseCode::UnsupportedData),
        (Incoming::Violation(ProtocolViolation::TooBig), CloseCode::MessageTooBig),
        (Incoming::Violation(ProtocolViolation::Utf8), CloseCode::InvalidPayload),
    ] {
        let mut ann = member(&chat, "ann").await;
        ann.incoming(incoming);
        assert_eq!(ann.until_gone().await, last_frames(code));
    }
    assert_eq!(chat.counts().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn commands_before_the_end_of_a_connection_are_carried_out() {
    let chat = Chat::default();
    let mut bob = member(&chat, "bob").await;
    for (round, end) in [
        Incoming::Close(Some(1000)),
        Incoming::End,
        Incoming::Binary(Bytes::new()),
        Incoming::Violation(ProtocolViolation::Protocol),
        Incoming::Lost(std::io::ErrorKind::ConnectionReset.into()),
    ]
    .into_iter()
    .enumerate()
    {
        let mut ann = connect(&chat, "ann").await;
        ann.send(json!({"type": "join", "room": "lobby"}));
        for _ in 0..3 {
            ann.say("my last words");
        }
        ann.incoming(end);
        ann.until_gone().await;
        let mut events = bob.events().await;
        let round = round as u64;
        assert_eq!(chat_testkit::seqs(&events), [3 * round + 1, 3 * round + 2, 3 * round + 3]);
        assert_eq!(events.pop().expect("presence")["state"], "left");
    }
}

#[tokio::test(start_paused = true)]
async fn commands_before_a_violation_are_answered_before_the_close() {
    let (store, chat) = Store::with_chat(Limits::default());
    let mut ann = member(&chat, "ann").await;
    store.append(Mode::Slow(Duration::from_secs(1)));
    ann.say("slow");
    ann.send(json!({"type": "leave", "room": "lobby", "ref": "1"}));
    ann.incoming(Incoming::Binary(Bytes::new()));
    ann.send(json!({"type": "ping", "ref": "too late"}));
    let mut frames = Vec::new();
    let waited = seconds_until(async { frames = ann.until_gone().await }).await;
    assert!((1.0..1.1).contains(&waited), "{waited}");
    let closed = frames.split_off(frames.len() - 2);
    assert_eq!(closed, last_frames(CloseCode::UnsupportedData));
    let left = r#"{"type":"left","ref":"1","room":"lobby"}"#;
    assert_eq!(frames.pop(), Some(Frame::Text(left.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_close_of_the_peer_is_echoed_although_the_chat_drains() {
    let (store, chat) = Store::with_chat(Limits::default());
    let mut ann = member(&chat, "ann").await;
    store.append(Mode::Slow(Duration::from_secs(1)));
    ann.say("slow");
    ann.close(1001);
    settle().await;
    let drained = chat.drain(Duration::from_secs(9)).await;
    assert_eq!(drained.abandoned, 0);
    assert_eq!(ann.closed_with(), Some(None));
    let frames = ann.until_gone().await;
    assert_eq!(frames.last(), Some(&Frame::Close(Some(1001))));
    assert!(
        frames.iter().any(|frame| matches!(frame, Frame::Text(text) if text.contains("sent"))),
        "{frames:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_dropped_leaves_its_connection_to_no_other_task() {
    let (store, chat) = Store::with_chat(Limits::default());
    let mut ann = connect(&chat, "ann").await;
    assert_eq!(ann.ask(json!({"type": "follow", "room": "lobby", "on": true})).await["type"], "done");
    let bob = member(&chat, "bob").await;
    // The task that counts for the followers waits for the store.
    store.standing(Mode::Hangs);
    bob.say("hi");
    settle().await;
    let asked = store.standings();
    ann.kill();
    settle().await;
    assert!(ann.is_released());
    assert!(asked > 0, "a task has the inbox of the connection");
}
