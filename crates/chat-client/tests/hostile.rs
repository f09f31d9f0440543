//! Servers that misbehave: they close with other codes, stop sending, or send invalid events.

mod support;

use std::time::Duration;

use chat_client::{Client, ClientEvent, Closed, ConnectError, Error, ErrorCode, Lost, Text};
use futures_util::{SinkExt, StreamExt};
use support::{
    WELCOME, answer, answer_join, asked, close, connected, eager, fake, joined, lobby, message, next, tell,
    url, welcomed, within,
};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite;

fn message_event(seq: u64) -> String {
    format!(
        r#"{{"type":"message","room":"lobby","seq":{seq},"user":{{"id":"b","name":"b"}},"at":1,"body":{{"text":"{seq}"}}}}"#
    )
}

#[tokio::test]
async fn a_client_reconnects_only_after_the_close_codes_that_allow_it() {
    for code in [1000, 1002, 1003, 1007, 1009, 4005, 4500, 4501, 4502, 4503, 4504] {
        let (client, mut events, mut peer, mut peers) = connected().await;
        close(&mut peer, code).await;
        let lost = Lost::Close { code: code.into(), reason: "why".to_owned() };
        let ClientEvent::Closed(closed) = next(&mut events).await else { panic!("{code}") };
        assert_eq!(closed, Closed::Lost(lost));
        assert_eq!(client.ping().await, Err(Error::Closed(closed)));
        assert!(peers.try_recv().is_err(), "the client reconnected after {code}");
    }
    for code in [1001, 1011, 1012, 4000, 4001, 4002, 4003] {
        let (_client, mut events, mut peer, mut peers) = connected().await;
        close(&mut peer, code).await;
        assert!(matches!(next(&mut events).await, ClientEvent::Disconnected { .. }), "{code}");
        welcomed(&mut peers).await;
        assert!(matches!(next(&mut events).await, ClientEvent::Reconnected), "{code}");
    }
}

#[tokio::test]
async fn a_server_that_breaks_the_protocol_ends_the_client() {
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
        let (_client, mut events, mut peer, _peers) = joined(0).await;
        // The client may disconnect before it has read everything.
        let _gone = peer.send(tungstenite::Message::text(text)).await.is_err();
        let event = next(&mut events).await;
        assert!(
            matches!(event, ClientEvent::Closed(Closed::Lost(Lost::Violation(_)))),
            "{text:.60}: {event:?}"
        );
    }
    let (_client, mut events, mut peer, _rs) = connected().await;
    within(peer.send(tungstenite::Message::binary(vec![1]))).await.unwrap();
    assert!(matches!(next(&mut events).await, ClientEvent::Closed(Closed::Lost(Lost::Violation(_)))));
    let answer = within(peer.next()).await.unwrap().unwrap();
    assert!(matches!(answer, tungstenite::Message::Close(Some(frame)) if u16::from(frame.code) == 1002));
}

#[tokio::test]
async fn events_of_a_later_protocol_are_ignored() {
    let (client, mut events, mut peer, _rs) = connected().await;
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
    let ClientEvent::Error(error) = next(&mut events).await else { panic!() };
    assert_eq!(error.code, ErrorCode::from("made_up"));
    assert_eq!(error.code.as_str(), "made_up");
    assert_eq!(error.retry_after, Some(Duration::from_millis(5)));
    drop(client);
}

#[tokio::test]
async fn the_cursor_advances_over_entries_of_an_unknown_type() {
    let (_client, mut events, mut peer, mut peers) = joined(5).await;
    let unknown = |seq: u64| format!(r#"{{"type":"danced","room":"lobby","seq":{seq},"at":1,"target":2}}"#);
    tell(&mut peer, &message_event(6)).await;
    tell(&mut peer, &unknown(7)).await;
    // A marker has a `seq` too and is not an entry.
    tell(&mut peer, r#"{"type":"read","room":"lobby","seq":8,"user":{"id":"ann","name":"ann"}}"#).await;
    tell(&mut peer, &message_event(8)).await;
    assert_eq!(message(&mut events).await.seq, 6);
    assert!(matches!(next(&mut events).await, ClientEvent::Read { seq: 8, .. }));
    assert_eq!(message(&mut events).await.seq, 8);
    tell(&mut peer, &unknown(9)).await;
    // The client has read the entry before it notices the end.
    drop(peer);
    let mut peer = welcomed(&mut peers).await;
    let join = answer_join(&mut peer, "e", 9, true).await;
    assert_eq!(join["after"], serde_json::json!({"epoch": "e", "seq": 9}));
}

#[tokio::test]
async fn a_close_before_the_welcome_is_the_reason_of_the_failure() {
    let closing = r#"{"type":"closing","code":4502,"reason":"hello_timeout"}"#;
    for events in [&[][..], &[closing]] {
        let (address, mut peers) = fake().await;
        let connecting = tokio::spawn(async move { Client::connect(&url(address)).await });
        let mut peer = within(peers.recv()).await.unwrap();
        for event in events {
            tell(&mut peer, event).await;
        }
        close(&mut peer, 4502).await;
        let error = within(connecting).await.unwrap().unwrap_err();
        let lost = Lost::Close { code: 4502.into(), reason: "why".to_owned() };
        assert_eq!(error, ConnectError::Ended { lost, reconnect_in: None });
        assert!(!error.is_temporary(), "{error}");
    }
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
async fn a_hole_without_a_gap_event_is_requested_and_then_reported() {
    let (_client, mut events, mut peer, _rs) = joined(5).await;
    tell(&mut peer, &message_event(6)).await;
    tell(&mut peer, &message_event(6)).await;
    assert_eq!(message(&mut events).await.seq, 6);
    tell(&mut peer, &message_event(9)).await;
    let join = answer_join(&mut peer, "e", 9, true).await;
    assert_eq!(join["after"], serde_json::json!({"epoch": "e", "seq": 6}));
    for seq in [7, 8, 9] {
        tell(&mut peer, &message_event(seq)).await;
        assert_eq!(message(&mut events).await.seq, seq);
    }
    tell(&mut peer, &message_event(12)).await;
    answer_join(&mut peer, "e", 12, true).await;
    tell(&mut peer, &message_event(12)).await;
    assert!(matches!(next(&mut events).await, ClientEvent::Gap { from: 10, to: 11, .. }));
    assert_eq!(message(&mut events).await.seq, 12);
}

#[tokio::test]
async fn a_send_without_a_reply_is_repeated_with_its_key_after_the_room_is_resumed() {
    let (client, mut events, mut peer, mut peers) = joined(0).await;
    let task = tokio::spawn(async move {
        let sent = client.send(&lobby(), &Text::new("hi")).await;
        (client, sent)
    });
    let first = asked(&mut peer).await;
    assert_eq!(first["key"].as_str().unwrap().len(), 32);
    drop(peer);
    let mut peer = welcomed(&mut peers).await;
    answer_join(&mut peer, "e", 0, true).await;
    let again = answer(&mut peer, "sent", r#""seq":1,"at":2,"duplicate":true"#).await;
    assert_eq!(again, first);
    let (_client, sent) = within(task).await.unwrap();
    let sent = sent.unwrap();
    assert_eq!((sent.seq, sent.duplicate), (1, true));
    drop(events.next());
}

#[tokio::test]
async fn a_refused_resume_expels_the_client_from_the_room() {
    let (client, mut events, mut peer, mut peers) = joined(0).await;
    let task = tokio::spawn(async move {
        let sent = client.send(&lobby(), &Text::new("hi")).await;
        (client, sent)
    });
    asked(&mut peer).await;
    drop(peer);
    let mut peer = welcomed(&mut peers).await;
    for code in ["unavailable", "bad_cursor", "forbidden"] {
        let error = format!(r#""code":"{code}","message":"no","retry_after_ms":1"#);
        answer(&mut peer, "error", &error).await;
    }
    loop {
        match next(&mut events).await {
            ClientEvent::Expelled { room, error } => {
                assert_eq!((room, error.code), (lobby(), ErrorCode::Forbidden));
                break;
            }
            ClientEvent::Disconnected { .. } | ClientEvent::Reconnected => {}
            other => panic!("{other:?}"),
        }
    }
    // The send had no reply, so the message may have been stored.
    let sent = within(task).await.unwrap().1;
    assert!(matches!(sent, Err(Error::Unsure(error)) if error.code == ErrorCode::Forbidden));
}

#[tokio::test]
async fn a_membership_that_the_server_ends_expels_the_client_from_the_room() {
    let (client, mut events, mut peer, _peers) = joined(0).await;
    tell(&mut peer, r#"{"type":"left","room":"lobby"}"#).await;
    let ClientEvent::Expelled { room, error } = next(&mut events).await else { panic!("not expelled") };
    assert_eq!((room, error.code), (lobby(), ErrorCode::Forbidden));
    // Later entries of the room are not the client's.
    tell(&mut peer, &message_event(1)).await;
    tell(&mut peer, r#"{"type":"error","code":"forbidden","message":"no"}"#).await;
    let event = next(&mut events).await;
    assert!(matches!(event, ClientEvent::Error(_)), "{event:?}");
    drop(client);
}

#[tokio::test]
async fn a_silent_server_is_pinged_and_then_disconnected() {
    let (address, mut peers) = fake().await;
    let builder = Client::builder(&url(address)).heartbeat(Duration::from_secs(10)).reconnect(eager());
    let connecting = tokio::spawn(builder.connect());
    let peer = welcomed(&mut peers).await;
    let (_client, mut events) = connecting.await.unwrap().unwrap();
    // From here on only time passes: the server keeps the connection and does not read.
    tokio::time::pause();
    let connected = Instant::now();
    assert!(matches!(next(&mut events).await, ClientEvent::Disconnected { lost: Lost::PingTimeout, .. }));
    let waited = connected.elapsed().as_secs();
    assert!((19..=21).contains(&waited), "{waited}");
    drop(peer);
}

#[tokio::test]
async fn a_ping_of_the_server_is_answered() {
    let (_client, _events, mut peer, _rs) = connected().await;
    within(peer.send(tungstenite::Message::Ping("p1".into()))).await.unwrap();
    let pong = within(peer.next()).await.unwrap().unwrap();
    assert_eq!(pong, tungstenite::Message::Pong("p1".into()));
}

#[tokio::test]
async fn advice_is_followed_up_to_its_bound() {
    let (_client, mut events, mut peer, _rs) = connected().await;
    tell(
        &mut peer,
        r#"{"type":"closing","code":1012,"reason":"restarting","reconnect_in_ms":9007199254740991}"#,
    )
    .await;
    close(&mut peer, 1012).await;
    let ClientEvent::Disconnected { retry_in, .. } = next(&mut events).await else { panic!() };
    assert_eq!(retry_in, Duration::from_secs(300));
}
