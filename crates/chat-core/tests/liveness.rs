//! Silent peers, pings, and the close of a connection.

use std::time::Duration;

use bytes::Bytes;
use chat_core::{Chat, Incoming, Limits};
use chat_testkit::{Frame, Peer, chat, connect, member, members, pass, seconds_until, settle};
use chat_testkit::{Mode, Store};
use serde_json::{Value, json};

fn limits() -> Limits {
    Limits::default().with(|limits| {
        limits.connection.ping_interval = Duration::from_secs(10);
        limits.connection.ping_timeout = Duration::from_secs(4);
    })
}

fn ping_timeout() -> [Frame; 2] {
    let closing = r#"{"type":"closing","code":4001,"reason":"ping_timeout"}"#;
    [Frame::Text(closing.to_owned()), Frame::Close(Some(4001))]
}

/// Waits for the next frame, which must come after this many seconds.
async fn next_after(peer: &mut Peer, seconds: f64) -> Frame {
    let mut frame = Frame::Gone;
    let waited = seconds_until(async { frame = peer.frame().await }).await;
    assert!((seconds..seconds + 0.01).contains(&waited), "{frame:?} after {waited} s");
    frame
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_pinged_and_then_closed() {
    let chat = chat(limits());
    let mut ann = member(&chat, "ann").await;
    assert_eq!(next_after(&mut ann, 10.0).await, Frame::Ping);
    let waited = seconds_until(async { assert_eq!(ann.until_gone().await, ping_timeout()) }).await;
    assert!((4.0..4.01).contains(&waited), "{waited}");
    assert!(ann.is_over().await);
    assert_eq!(chat.counts().connections, 0);
    assert_eq!(chat.members(&chat_testkit::lobby()), []);
}

#[tokio::test(start_paused = true)]
async fn any_complete_frame_ends_the_silence() {
    let chat = chat(limits());
    let signs: [fn(&Peer); 4] = [
        |peer| peer.ping(),
        |peer| peer.incoming(Incoming::Pong),
        |peer| peer.text("nonsense"),
        |peer| peer.send(json!({"type": "ping"})),
    ];
    for sign in signs {
        let mut ann = connect(&chat, "ann").await;
        for _ in 0..5 {
            pass(9.0).await;
            sign(&ann);
            settle().await;
            assert!(!ann.taken().contains(&Frame::Ping), "a peer with frames is not pinged");
        }
        assert_eq!(ann.frame().await, Frame::Ping);
        pass(3.9).await;
        sign(&ann);
        settle().await;
        ann.taken();
        assert_eq!(next_after(&mut ann, 9.999).await, Frame::Ping, "the silence starts again");
        let waited = seconds_until(async { assert_eq!(ann.until_gone().await, ping_timeout()) }).await;
        assert!((4.0..4.01).contains(&waited), "{waited}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_pings_is_never_closed() {
    let chat = chat(limits());
    let mut ann = member(&chat, "ann").await;
    for _ in 0..100 {
        assert_eq!(ann.frame().await, Frame::Ping);
        ann.incoming(Incoming::Pong);
    }
    assert_eq!(chat.counts().sessions, 1);
}

#[tokio::test(start_paused = true)]
async fn frames_to_a_peer_do_not_end_its_silence() {
    let chat = chat(limits());
    let [mut ann, bob] = members(&chat, ["ann", "bob"]).await;
    ann.events().await;
    for _ in 0..13 {
        pass(1.0).await;
        bob.say("are you there?");
    }
    pass(1.1).await;
    let frames = ann.until_gone().await;
    assert_eq!(frames[frames.len() - 2..], ping_timeout());
    assert_eq!(frames.iter().filter(|frame| **frame == Frame::Ping).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_peer_whose_frames_wait_unread_is_not_silent() {
    let store = Store::new();
    let chat = store.chat(limits().with(|limits| {
        limits.connection.max_backlog_commands = 2;
        limits.rooms.call_timeout = Duration::from_secs(30);
    }));
    let ann = member(&chat, "ann").await;
    store.append(Mode::Slow(Duration::from_secs(20)));
    for _ in 0..5 {
        ann.say("hi");
    }
    settle().await;
    assert_eq!(ann.unread(), 2);
    pass(39.0).await;
    let frames = ann.taken();
    let sent = |frame: &&Frame| matches!(frame, Frame::Text(text) if text.contains("sent"));
    assert_eq!(frames.iter().filter(sent).count(), 1);
    assert_eq!((ann.unread(), ann.closed_with()), (1, None));
    assert!(!frames.contains(&Frame::Ping), "its frames were not read");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_ends_its_stream_gets_its_replies() {
    let chat = Chat::default();
    let mut ann = member(&chat, "ann").await;
    ann.block();
    for number in 0..10 {
        ann.send(json!({"type": "ping", "ref": number.to_string()}));
    }
    ann.incoming(Incoming::End);
    pass(3.0).await;
    assert_eq!(chat.counts().sessions, 1, "the session waits until its replies are read");
    ann.unblock();
    let replies = ann.until_gone().await;
    let expected = |number| Frame::Text(format!(r#"{{"type":"pong","ref":"{number}"}}"#));
    assert_eq!(replies, (0..10).map(expected).collect::<Vec<_>>());
    assert_eq!(ann.closed_with(), Some(None), "the peer is gone and gets no code");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_the_close_is_dropped_in_time() {
    let chat = chat(limits().with(|limits| limits.connection.close_timeout = Duration::from_secs(2)));
    let mut ann = connect(&chat, "ann").await;
    ann.keep_silent();
    ann.incoming(Incoming::Binary(Bytes::new()));
    let waited = seconds_until(ann.until_gone()).await;
    assert!((2.0..2.1).contains(&waited), "{waited}");
    assert!(ann.is_over().await);
    assert_eq!(chat.counts().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_to_a_session_that_is_idle() {
    let chat = chat(limits());
    let mut ann = member(&chat, "ann").await;
    pass(9.9).await;
    assert_eq!(ann.events().await, [] as [Value; 0]);
}
