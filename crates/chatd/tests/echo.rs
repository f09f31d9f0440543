//! An echo in place of the chat. It has the limits and the ends of a session.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use chat_core::{
    Chat, Decision, Endpoint, Incoming, Limits, ProtocolViolation, RequestContext, UpgradeGuard,
};
use chat_testkit::HIGH_WATER;
use chat_testkit::{Frame, Peer, chat, handshake, pass, seconds_until, settle, start_on};

/// Starts an echo as an adapter does.
async fn echo(chat: &Chat) -> Peer {
    start_on(&Endpoint::new(chat.clone()).handler(chatd::echo::handler), "/ws").await
}

fn limits() -> Limits {
    Limits::default().with(|limits| {
        limits.connection.ping_interval = Duration::from_secs(10);
        limits.connection.ping_timeout = Duration::from_secs(4);
        limits.connection.write_timeout = Duration::from_secs(6);
    })
}

fn text(number: usize) -> Frame {
    Frame::Text(number.to_string())
}

fn say(peer: &Peer, numbers: std::ops::Range<usize>) {
    for number in numbers {
        peer.text(number.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn frames_are_echoed_unchanged_in_order_and_nothing_else_is_sent() {
    let chat = Chat::default();
    let mut peer = echo(&chat).await;
    settle().await;
    assert_eq!(peer.taken(), [], "no welcome");
    let bytes = Bytes::from_static(&[0, 0xff, 0x80]);
    peer.text("{\"type\":\"join\",\"room\":\"lobby\"}");
    peer.incoming(Incoming::Binary(bytes.clone()));
    peer.ping();
    peer.text("");
    peer.incoming(Incoming::Pong);
    peer.incoming(Incoming::Binary(Bytes::new()));
    settle().await;
    let expected = [
        Frame::Text("{\"type\":\"join\",\"room\":\"lobby\"}".to_owned()),
        Frame::Binary(bytes),
        Frame::Pong,
        Frame::Text(String::new()),
        Frame::Binary(Bytes::new()),
    ];
    assert_eq!(peer.taken(), expected);
    assert_eq!((chat.counts().connections, chat.counts().sessions, chat.counts().rooms), (1, 1, 0));
    peer.close(1000);
    assert_eq!(peer.until_gone().await, [Frame::Close(Some(1000))]);
    assert!(peer.is_over().await);
    assert_eq!((chat.counts().connections, chat.counts().sessions), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn frames_that_arrive_together_are_echoed_with_one_flush() {
    let peer = echo(&Chat::default()).await;
    settle().await;
    say(&peer, 0..HIGH_WATER);
    settle().await;
    assert_eq!(peer.taken(), (0..HIGH_WATER).map(text).collect::<Vec<_>>());
    assert_eq!(peer.flushes(), 1);
}

#[tokio::test(start_paused = true)]
async fn frames_before_the_end_are_echoed_before_it() {
    let chat = Chat::default();
    for (end, close, frame) in [
        (Incoming::Close(Some(3_000)), Some(None), Some(Frame::Close(Some(3_000)))),
        (Incoming::Close(None), Some(None), Some(Frame::Close(None))),
        (Incoming::Violation(ProtocolViolation::Protocol), Some(Some(1002)), Some(Frame::Close(Some(1002)))),
        (Incoming::Violation(ProtocolViolation::Utf8), Some(Some(1007)), Some(Frame::Close(Some(1007)))),
        (Incoming::Violation(ProtocolViolation::TooBig), Some(Some(1009)), Some(Frame::Close(Some(1009)))),
        (Incoming::End, Some(None), None),
    ] {
        let name = format!("{end:?}");
        let mut peer = echo(&chat).await;
        peer.block();
        say(&peer, 0..10);
        peer.incoming(end);
        pass(1.0).await;
        peer.unblock();
        let expected: Vec<_> = (0..10).map(text).chain(frame).collect();
        assert_eq!(peer.until_gone().await, expected, "{name}");
        assert_eq!(peer.closed_with(), close, "{name}");
        assert!(peer.is_over().await);
    }
    assert_eq!(chat.counts().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_ends_its_stream_gets_its_echoes() {
    let mut peer = echo(&chat(limits())).await;
    peer.block();
    say(&peer, 0..3);
    peer.incoming(Incoming::End);
    pass(5.0).await;
    peer.unblock();
    assert_eq!(peer.until_gone().await, [text(0), text(1), text(2)]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_the_close_has_no_session_and_is_dropped_in_time() {
    let chat = Chat::default();
    let mut peer = echo(&chat).await;
    peer.keep_silent();
    peer.incoming(Incoming::Violation(ProtocolViolation::Protocol));
    settle().await;
    assert_eq!((chat.counts().connections, chat.counts().sessions), (1, 0));
    let waited = seconds_until(peer.until_gone()).await;
    assert!((0.9..1.1).contains(&waited), "{waited}");
    assert!(peer.is_over().await);
    assert_eq!(chat.counts().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_fails_is_dropped() {
    let chat = Chat::default();
    let mut peer = echo(&chat).await;
    peer.incoming(Incoming::Lost(io::ErrorKind::ConnectionReset.into()));
    assert_eq!(peer.until_gone().await, []);
    let mut peer = echo(&chat).await;
    peer.fail();
    peer.text("x");
    assert_eq!(peer.until_gone().await, []);
    assert_eq!(peer.closed_with(), None);
    settle().await;
    assert_eq!(chat.counts().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn the_echo_reads_no_more_from_a_peer_than_can_wait_for_it() {
    let peer = echo(&Chat::default()).await;
    peer.block();
    say(&peer, 0..1_000);
    pass(1.0).await;
    assert_eq!(peer.unread(), 1_000 - HIGH_WATER - 1, "one is held");
    peer.unblock();
    settle().await;
    assert_eq!(peer.taken(), (0..1_000).map(text).collect::<Vec<_>>());

    // The connection answers pings itself, and this one as often as it is let.
    peer.block();
    for _ in 0..1_000 {
        peer.ping();
    }
    pass(1.0).await;
    assert_eq!(peer.unread(), 1_000 - 64);
    peer.unblock();
    settle().await;
    assert_eq!(peer.taken().len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_is_closed_and_one_that_reads_slowly_is_not() {
    let chat = chat(limits());
    let mut slow = echo(&chat).await;
    slow.block();
    say(&slow, 0..100);
    for _ in 0..20 {
        pass(5.0).await;
        slow.grant(1);
    }
    settle().await;
    assert_eq!(slow.taken(), (0..20).map(text).collect::<Vec<_>>());
    let waited = seconds_until(slow.until_gone()).await;
    assert!((6.0..8.1).contains(&waited), "{waited}");
    assert_eq!(slow.closed_with(), Some(Some(4000)));
    assert!(slow.is_over().await);
    assert_eq!(chat.counts().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_whose_frames_wait_unread_is_not_silent() {
    let chat = chat(limits());
    let peer = echo(&chat).await;
    peer.block();
    for _ in 0..100 {
        peer.ping();
    }
    for _ in 0..20 {
        pass(5.0).await;
        peer.grant(1);
    }
    settle().await;
    assert_eq!(peer.taken(), vec![Frame::Pong; 20]);
    assert_eq!((peer.unread(), peer.closed_with()), (36, None));
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_pinged_and_then_closed() {
    let chat = chat(limits());
    let signs: [fn(&Peer); 3] =
        [|peer| peer.ping(), |peer| peer.incoming(Incoming::Pong), |peer| peer.text("x")];
    for sign in signs {
        let mut peer = echo(&chat).await;
        settle().await;
        for _ in 0..5 {
            pass(9.0).await;
            sign(&peer);
            settle().await;
            assert!(!peer.taken().contains(&Frame::Ping), "a peer with frames is not pinged");
        }
        let waited = seconds_until(async { assert_eq!(peer.frame().await, Frame::Ping) }).await;
        assert!((9.9..10.1).contains(&waited), "{waited}");
        pass(3.9).await;
        sign(&peer);
        settle().await;
        peer.taken();
        let waited = seconds_until(async { assert_eq!(peer.frame().await, Frame::Ping) }).await;
        assert!((9.9..10.1).contains(&waited), "{waited}");
        let waited = seconds_until(async {
            assert_eq!(
                peer.until_gone().await,
                [Frame::Close(Some(4001))],
                "the close frame is the only frame"
            );
        });
        let waited = waited.await;
        assert!((4.0..4.1).contains(&waited), "{waited}");
    }
    settle().await;
    assert_eq!(chat.counts().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn a_pong_that_came_while_the_process_did_not_run_counts() {
    let chat = chat(limits());
    let mut peer = echo(&chat).await;
    assert_eq!(peer.frame().await, Frame::Ping);
    tokio::time::advance(Duration::from_secs(60)).await;
    settle().await;
    peer.incoming(Incoming::Pong);
    assert_eq!(peer.frame().await, Frame::Ping, "the silence starts again");
}

#[tokio::test(start_paused = true)]
async fn a_drain_echoes_the_frames_that_were_read_and_closes() {
    let chat = Chat::default();
    let mut idle = echo(&chat).await;
    let mut busy = echo(&chat).await;
    settle().await;
    busy.block();
    say(&busy, 0..100);
    settle().await;
    let read = 100 - busy.unread();
    let drain = {
        let chat = chat.clone();
        tokio::spawn(async move { chat.drain(Duration::from_secs(9)).await })
    };
    settle().await;
    busy.unblock();
    assert_eq!(idle.until_gone().await, [Frame::Close(Some(1012))]);
    let expected: Vec<_> = (0..read).map(text).chain([Frame::Close(Some(1012))]).collect();
    assert_eq!(busy.until_gone().await, expected);
    let drained = drain.await.expect("no panic");
    assert_eq!((drained.connections, drained.abandoned), (2, 0));
    let guard = UpgradeGuard::default();
    let context = RequestContext::default().with_guard(guard.request());
    let refused = Endpoint::new(chat).handler(chatd::echo::handler).handle(&handshake("/ws"), &context).await;
    assert!(matches!(refused, Decision::Answer(answer) if answer.status() == 503));
}
