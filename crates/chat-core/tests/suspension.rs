//! A process that was suspended. Its timers fire before it has looked at its sockets.

use std::time::Duration;

use chat_core::{Incoming, Limits};
use chat_testkit::{Frame, Peer, chat, connect, member, pass, seconds_until, settle};
use chat_testkit::{Mode, Store};
use serde_json::json;
use tokio::time::advance;

const SUSPENDED: Duration = Duration::from_secs(60);

fn limits() -> Limits {
    Limits::default().with(|limits| {
        limits.connection.ping_interval = Duration::from_secs(10);
        limits.connection.ping_timeout = Duration::from_secs(4);
        limits.connection.write_timeout = Duration::from_secs(6);
        limits.rooms.call_timeout = Duration::from_secs(3);
    })
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_arrived_during_a_suspension_ends_the_silence() {
    let chat = chat(limits());
    let signs: [fn(&Peer); 3] =
        [|peer| peer.incoming(Incoming::Pong), |peer| peer.ping(), |peer| peer.send(json!({"type": "ping"}))];
    for sign in signs {
        let mut ann = connect(&chat, "ann").await;
        assert_eq!(ann.frame().await, Frame::Ping);
        advance(SUSPENDED).await;
        settle().await;
        sign(&ann);
        pass(9.0).await;
        assert!(!ann.taken().contains(&Frame::Ping), "the silence starts again");
        let waited = seconds_until(async { assert_eq!(ann.frame().await, Frame::Ping) }).await;
        assert!((0.9..1.01).contains(&waited), "{waited}");
        assert_eq!(ann.closed_with(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_silent_after_a_suspension_is_closed() {
    let chat = chat(limits());
    let mut ann = connect(&chat, "ann").await;
    assert_eq!(ann.frame().await, Frame::Ping);
    advance(SUSPENDED).await;
    let waited = seconds_until(ann.until_gone()).await;
    assert!(waited < 1.0, "{waited}");
    assert_eq!(ann.closed_with(), Some(Some(4001)));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_was_not_pinged_before_a_suspension_is_pinged_once() {
    let chat = chat(limits());
    let mut ann = connect(&chat, "ann").await;
    advance(SUSPENDED).await;
    let waited = seconds_until(async { assert_eq!(ann.frame().await, Frame::Ping) }).await;
    assert!(waited < 1.0, "{waited}");
    pass(3.9).await;
    assert_eq!((ann.taken(), ann.closed_with()), (vec![], None));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_hardly_runs_closes_a_silent_peer_too() {
    let chat = chat(limits());
    let mut ann = connect(&chat, "ann").await;
    assert_eq!(ann.frame().await, Frame::Ping);
    // Each timer is late. The time limit is 4 s.
    for _ in 0..5 {
        assert_eq!(ann.closed_with(), None);
        advance(Duration::from_millis(1_200)).await;
        settle().await;
    }
    assert_eq!(ann.closed_with(), Some(Some(4001)));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_after_a_suspension_is_not_closed_as_slow() {
    let chat = chat(limits());
    let ann = member(&chat, "ann").await;
    ann.block();
    ann.say("x");
    settle().await;
    advance(SUSPENDED).await;
    settle().await;
    ann.unblock();
    settle().await;
    assert_eq!(ann.taken().len(), 2, "the frames are the message and `sent`");
    ann.block();
    ann.say("y");
    pass(5.9).await;
    assert_eq!(ann.closed_with(), None, "the time starts again");
    pass(1.0).await;
    assert_eq!(ann.closed_with(), Some(Some(4000)));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_answers_when_the_process_runs_again_is_available() {
    let (store, chat) =
        Store::with_chat(limits().with(|limits| limits.connection.ping_interval = SUSPENDED * 3));
    let mut ann = member(&chat, "ann").await;
    let send = json!({"type": "send", "room": "lobby", "body": {"text": "hi"}, "ref": "s"});
    for (mode, expected) in
        [(Mode::Slow(SUSPENDED + Duration::from_millis(100)), "sent"), (Mode::Hangs, "error")]
    {
        store.append(mode);
        ann.send(send.clone());
        settle().await;
        advance(SUSPENDED).await;
        let waited = seconds_until(async { while ann.event().await["type"] != expected {} });
        let waited = waited.await;
        assert!(waited < 3.1, "{waited}");
        assert_eq!(ann.closed_with(), None);
    }
}
