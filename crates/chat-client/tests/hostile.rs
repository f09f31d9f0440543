//! Servers that no test can make a real one be: they close with codes of their own, fall silent, or lie.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use chat_client::{Client, Closed, ConnectError, Error, ErrorCode, Event, Events, JoinFrom, Lost, Text};
use futures_util::{SinkExt, StreamExt};
use support::{Peer, WELCOME, asked, close, eager, fake, lobby, message, next, tell, url, welcomed, within};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite;

async fn connected(
    peers: &mut mpsc::Receiver<Peer>,
    address: std::net::SocketAddr,
) -> (Client, Events, Peer) {
    let connecting = tokio::spawn(
        Client::builder(&url(address)).reconnect(eager()).command_timeout(Duration::from_secs(5)).connect(),
    );
    let peer = welcomed(peers).await;
    let (client, events) = connecting.await.unwrap().unwrap();
    (client, events, peer)
}

/// Answers a join as a room whose newest message is `seq`.
async fn let_in(peer: &mut Peer, epoch: &str, seq: u64, recovered: bool) -> serde_json::Value {
    let join = asked(peer).await;
    assert_eq!(join["type"], "join", "{join}");
    let reference = &join["ref"];
    let joined = format!(
        r#"{{"type":"joined","ref":{reference},"room":"lobby","epoch":"{epoch}","seq":{seq},"first":1,"recovered":{recovered},"members":1}}"#
    );
    tell(peer, &joined).await;
    join
}

fn said(seq: u64) -> String {
    format!(
        r#"{{"type":"message","room":"lobby","seq":{seq},"user":{{"id":"b","name":"b"}},"at":1,"body":{{"text":"{seq}"}}}}"#
    )
}

#[tokio::test]
async fn some_close_codes_are_the_end_and_some_are_not() {
    for code in [1000, 1002, 1003, 1007, 1009, 4005, 4500, 4501, 4502, 4503, 4504] {
        let (address, mut peers) = fake().await;
        let (client, mut events, mut peer) = connected(&mut peers, address).await;
        close(&mut peer, code).await;
        let lost = Lost::Close { code, reason: "why".to_owned() };
        let Event::Closed(closed) = next(&mut events).await else { panic!("{code}") };
        assert_eq!(closed, Closed::Lost(lost));
        assert_eq!(client.ping().await, Err(Error::Closed(closed)));
        assert!(peers.try_recv().is_err(), "it came back after {code}");
    }
    for code in [1001, 1011, 1012, 4000, 4001, 4002] {
        let (address, mut peers) = fake().await;
        let (_client, mut events, mut peer) = connected(&mut peers, address).await;
        close(&mut peer, code).await;
        assert!(matches!(next(&mut events).await, Event::Disconnected { .. }), "{code}");
        welcomed(&mut peers).await;
        assert!(matches!(next(&mut events).await, Event::Reconnected), "{code}");
    }
}

#[tokio::test]
async fn a_server_that_breaks_the_protocol_is_left_for_good() {
    let long = format!(r#"{{"type":"x","y":"{}"}}"#, "y".repeat(1_100_000));
    let bad = [
        "",
        "[]",
        "{",
        "\"message\"",
        r#"{"type":7}"#,
        &long,
        r#"{"type":"gap","room":"lobby"}"#,
        r#"{"type":"message","room":"lobby"}"#,
        r#"{"type":"message","room":"lobby","seq":1}"#,
        r#"{"type":"message","room":"lobby","seq":1,"user":7,"at":1,"body":{}}"#,
        r#"{"type":"pong","ref":"x"}"#,
        r#"{"type":"error","code":7}"#,
    ];
    for text in bad {
        let (address, mut peers) = fake().await;
        let (client, mut events, mut peer) = connected(&mut peers, address).await;
        let joining = client.clone();
        let joined = tokio::spawn(async move { joining.join(&lobby(), JoinFrom::Now).await });
        let_in(&mut peer, "e", 0, true).await;
        joined.await.unwrap().unwrap();
        // The client may go before it has read all.
        let _gone = peer.send(tungstenite::Message::text(text)).await.is_err();
        let event = next(&mut events).await;
        assert!(matches!(event, Event::Closed(Closed::Lost(Lost::Breach(_)))), "{text:.60}: {event:?}");
    }
    let (address, mut peers) = fake().await;
    let (_client, mut events, mut peer) = connected(&mut peers, address).await;
    within(peer.send(tungstenite::Message::binary(vec![1]))).await.unwrap();
    assert!(matches!(next(&mut events).await, Event::Closed(Closed::Lost(Lost::Breach(_)))));
    let farewell = within(peer.next()).await.unwrap().unwrap();
    assert!(matches!(farewell, tungstenite::Message::Close(Some(frame)) if u16::from(frame.code) == 1002));
}

#[tokio::test]
async fn what_a_later_protocol_may_bring_is_passed_over() {
    let (address, mut peers) = fake().await;
    let (client, mut events, mut peer) = connected(&mut peers, address).await;
    for text in [
        r#"{"type":"dance"}"#,
        r#"{"type":"message","room":"elsewhere","seq":1,"user":{"id":"b","name":"b"},"at":1,"body":{}}"#,
        r#"{"type":"pong","ref":"999"}"#,
        r#"{"type":"gap","room":"elsewhere","epoch":"e","from":1,"to":2}"#,
        WELCOME,
    ] {
        tell(&mut peer, text).await;
    }
    tell(&mut peer, r#"{"type":"error","code":"made_up","message":"no","retry_after_ms":5}"#).await;
    let Event::Error(refusal) = next(&mut events).await else { panic!() };
    assert_eq!(refusal.code, ErrorCode::Unknown("made_up".to_owned()));
    assert_eq!(refusal.retry_after, Some(Duration::from_millis(5)));
    drop(client);
}

#[tokio::test]
async fn the_first_event_must_be_a_welcome() {
    for text in ["{}", r#"{"type":"message"}"#, r#"{"type":"welcome"}"#, "nonsense"] {
        let (address, mut peers) = fake().await;
        let connecting = tokio::spawn(async move { Client::connect(&url(address)).await });
        tell(&mut within(peers.recv()).await.unwrap(), text).await;
        assert_eq!(connecting.await.unwrap().unwrap_err(), ConnectError::Protocol, "{text}");
    }
}

#[tokio::test]
async fn a_hole_that_the_server_does_not_tell_of_is_asked_for_and_then_told() {
    let (address, mut peers) = fake().await;
    let (client, mut events, mut peer) = connected(&mut peers, address).await;
    let joining = tokio::spawn(async move {
        client.join(&lobby(), JoinFrom::Now).await.unwrap();
        client
    });
    let_in(&mut peer, "e", 5, true).await;
    tell(&mut peer, &said(6)).await;
    tell(&mut peer, &said(6)).await;
    assert_eq!(message(&mut events).await.seq, 6);
    tell(&mut peer, &said(9)).await;
    let join = let_in(&mut peer, "e", 9, true).await;
    assert_eq!(join["after"], serde_json::json!({"epoch": "e", "seq": 6}));
    for seq in [7, 8, 9] {
        tell(&mut peer, &said(seq)).await;
        assert_eq!(message(&mut events).await.seq, seq);
    }
    tell(&mut peer, &said(12)).await;
    let_in(&mut peer, "e", 12, true).await;
    tell(&mut peer, &said(12)).await;
    assert!(matches!(next(&mut events).await, Event::Gap { from: 10, to: 11, .. }));
    assert_eq!(message(&mut events).await.seq, 12);
    drop(joining.await.unwrap());
}

#[tokio::test]
async fn a_send_without_a_reply_is_repeated_with_its_key_after_the_room_is_resumed() {
    let (address, mut peers) = fake().await;
    let (client, mut events, mut peer) = connected(&mut peers, address).await;
    let task = tokio::spawn(async move {
        client.join(&lobby(), JoinFrom::Now).await.unwrap();
        let sent = client.send(&lobby(), &Text("hi")).await;
        (client, sent)
    });
    let_in(&mut peer, "e", 0, true).await;
    let first = asked(&mut peer).await;
    assert_eq!(first["key"].as_str().unwrap().len(), 32);
    drop(peer);
    let mut peer = welcomed(&mut peers).await;
    let_in(&mut peer, "e", 0, true).await;
    let again = asked(&mut peer).await;
    assert_eq!(again, first);
    let reference = &again["ref"];
    tell(
        &mut peer,
        &format!(r#"{{"type":"sent","ref":{reference},"room":"lobby","seq":1,"at":2,"duplicate":true}}"#),
    )
    .await;
    let (_client, sent) = within(task).await.unwrap();
    let sent = sent.unwrap();
    assert_eq!((sent.seq, sent.duplicate), (1, true));
    drop(events.next());
}

#[tokio::test]
async fn a_room_that_does_not_let_the_client_back_in_is_told() {
    let (address, mut peers) = fake().await;
    let (client, mut events, mut peer) = connected(&mut peers, address).await;
    let task = tokio::spawn(async move {
        client.join(&lobby(), JoinFrom::Now).await.unwrap();
        let sent = client.send(&lobby(), &Text("hi")).await;
        (client, sent)
    });
    let_in(&mut peer, "e", 0, true).await;
    asked(&mut peer).await;
    drop(peer);
    let mut peer = welcomed(&mut peers).await;
    for code in ["unavailable", "bad_cursor", "forbidden"] {
        let join = asked(&mut peer).await;
        let reference = &join["ref"];
        let refusal = format!(
            r#"{{"type":"error","ref":{reference},"code":"{code}","message":"no","room":"lobby","retry_after_ms":1}}"#
        );
        tell(&mut peer, &refusal).await;
    }
    loop {
        match next(&mut events).await {
            Event::Expelled { room, refusal } => {
                assert_eq!((room, refusal.code), (lobby(), ErrorCode::Forbidden));
                break;
            }
            Event::Disconnected { .. } | Event::Reconnected => {}
            other => panic!("{other:?}"),
        }
    }
    // It was sent once, so nobody knows.
    let sent = within(task).await.unwrap().1;
    assert!(matches!(sent, Err(Error::Unsure(refusal)) if refusal.code == ErrorCode::Forbidden));
}

#[tokio::test]
async fn a_silent_server_is_pinged_and_then_left() {
    let (address, mut peers) = fake().await;
    let builder = Client::builder(&url(address)).heartbeat(Duration::from_secs(10)).reconnect(eager());
    let connecting = tokio::spawn(builder.connect());
    let peer = welcomed(&mut peers).await;
    let (_client, mut events) = connecting.await.unwrap().unwrap();
    // From here on nothing but time happens: it keeps the connection, and does not read it.
    tokio::time::pause();
    let connected = Instant::now();
    assert!(matches!(next(&mut events).await, Event::Disconnected { lost: Lost::Silence, .. }));
    let waited = connected.elapsed().as_secs();
    assert!((19..=21).contains(&waited), "{waited}");
    drop(peer);
}

#[tokio::test]
async fn a_ping_of_the_server_is_answered() {
    let (address, mut peers) = fake().await;
    let (_client, _events, mut peer) = connected(&mut peers, address).await;
    within(peer.send(tungstenite::Message::Ping("p1".into()))).await.unwrap();
    let pong = within(peer.next()).await.unwrap().unwrap();
    assert_eq!(pong, tungstenite::Message::Pong("p1".into()));
}

#[tokio::test]
async fn advice_is_followed_but_not_for_days() {
    let (address, mut peers) = fake().await;
    let (_client, mut events, mut peer) = connected(&mut peers, address).await;
    tell(
        &mut peer,
        r#"{"type":"closing","code":1012,"reason":"restarting","reconnect_in_ms":9007199254740991}"#,
    )
    .await;
    close(&mut peer, 1012).await;
    let Event::Disconnected { retry_in, .. } = next(&mut events).await else { panic!() };
    assert_eq!(retry_in, Duration::from_secs(300));
}
