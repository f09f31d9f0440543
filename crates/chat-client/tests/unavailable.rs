//! Rooms that refuse a message for now: the message is sent again and stored once.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use chat_client::{Client, Error, ErrorCode, JoinFrom, Text};
use serde_json::Value;
use support::failing::{Failing, Mode};
use support::{Peer, Server, asked, fake, lobby, message, tell, url, welcomed, within};
use tokio::time::Instant;

#[tokio::test]
async fn a_send_is_repeated_until_the_room_stores_it() {
    let rooms = Failing::new(Mode::Fails);
    let server = Server::start(rooms.chat());
    let (client, mut events) = Client::connect(&server.url()).await.unwrap();
    client.join(&lobby(), JoinFrom::Now).await.unwrap();
    let healed = async {
        rooms.wait_for_attempts(3).await;
        rooms.set(Mode::Works);
    };
    let (sent, ()) = tokio::join!(async { client.send(&lobby(), &Text::new("hi")).await }, healed);
    let sent = sent.unwrap();
    assert_eq!((sent.seq, sent.duplicate), (1, false));
    assert_eq!(client.send(&lobby(), &Text::new("end")).await.unwrap().seq, 2);
    assert_eq!(message(&mut events).await.text().as_deref(), Some("hi"));
    assert_eq!(message(&mut events).await.text().as_deref(), Some("end"));
}

#[tokio::test]
async fn a_repeated_send_that_was_stored_before_is_one_message() {
    let rooms = Failing::new(Mode::StoresAndFails);
    let server = Server::start(rooms.chat());
    let (client, mut events) = Client::connect(&server.url()).await.unwrap();
    client.join(&lobby(), JoinFrom::Now).await.unwrap();
    let healed = async {
        rooms.wait_for_attempts(1).await;
        assert_eq!(message(&mut events).await.seq, 1);
        rooms.set(Mode::Works);
    };
    let (sent, ()) = tokio::join!(async { client.send(&lobby(), &Text::new("hi")).await }, healed);
    let sent = sent.unwrap();
    assert_eq!((sent.seq, sent.duplicate), (1, true));
    client.send(&lobby(), &Text::new("end")).await.unwrap();
    assert_eq!(message(&mut events).await.text().as_deref(), Some("end"));
}

#[tokio::test]
async fn a_send_that_times_out_may_have_happened() {
    let rooms = Failing::new(Mode::StoresAndFails);
    let server = Server::start(rooms.chat());
    let builder = Client::builder(&server.url()).command_timeout(Duration::from_secs(4));
    let (client, _events) = builder.connect().await.unwrap();
    client.join(&lobby(), JoinFrom::Now).await.unwrap();
    let error = within(client.send_with_key(&lobby(), &Text::new("hi"), "k")).await.unwrap_err();
    let Error::Unsure(reason) = &error else { panic!("{error:?}") };
    assert_eq!(reason.code, ErrorCode::Unavailable);
    assert!(error.may_have_happened() && error.is_temporary(), "{error}");
    // Each wait is a random part of 250 ms or more.
    assert!((2..100).contains(&rooms.attempts()), "{} attempts", rooms.attempts());
    rooms.set(Mode::Works);
    let again = within(client.send_with_key(&lobby(), &Text::new("hi"), "k")).await.unwrap();
    assert_eq!((again.seq, again.duplicate), (1, true));
}

#[tokio::test]
async fn a_send_that_cannot_wait_for_the_advice_is_refused_at_once() {
    let (client, mut peer) = joined().await;
    let talk = tokio::spawn(async move {
        let first = client.send(&lobby(), &Text::new("hi")).await;
        (first, client.send(&lobby(), &Text::new("ho")).await)
    });
    let first =
        answer(&mut peer, "error", r#""code":"rate_limited","message":"","retry_after_ms":300"#).await;
    let refused = Instant::now();
    let again = answer(&mut peer, "sent", r#""seq":1,"at":2"#).await;
    assert!(refused.elapsed() >= Duration::from_millis(300), "{:?}", refused.elapsed());
    assert_eq!(again, first);
    answer(&mut peer, "error", r#""code":"rate_limited","message":"","retry_after_ms":3600000"#).await;
    let (first, second) = within(talk).await.unwrap();
    assert_eq!(first.unwrap().seq, 1);
    let error = second.unwrap_err();
    assert!(!error.may_have_happened() && error.is_temporary(), "{error}");
    let Error::Refused(error) = error else { panic!("{error:?}") };
    assert_eq!(error.retry_after, Some(Duration::from_secs(3_600)));
}

#[tokio::test]
async fn later_sends_wait_behind_a_refused_send_and_other_commands_do_not() {
    let (client, mut peer) = joined().await;
    let talk = tokio::spawn(async move {
        let send = async |text: &str| client.send(&lobby(), &Text::new(text)).await.unwrap().seq;
        let second = async {
            // The reply to the ping arrives after the refusal.
            client.ping().await.unwrap();
            send("second").await
        };
        tokio::join!(send("first"), second)
    });
    let (mut first, mut seq) = (None, 0);
    while seq < 2 {
        let command = asked(&mut peer).await;
        match (command["type"].as_str(), &command["body"]["text"]) {
            (Some("ping"), _) => reply(&mut peer, &command, "pong", r#""x":1"#).await,
            (_, text) if first.is_none() => {
                assert_eq!(text, "first");
                let error = r#""code":"unavailable","message":"","retry_after_ms":300"#;
                reply(&mut peer, &command, "error", error).await;
                first = Some(command);
            }
            (_, text) => {
                assert_eq!(text, ["first", "second"][seq]);
                seq += 1;
                reply(&mut peer, &command, "sent", &format!(r#""seq":{seq},"at":2"#)).await;
            }
        }
    }
    assert_eq!(within(talk).await.unwrap(), (1, 2));
}

/// Returns a client in the lobby of a fake server.
async fn joined() -> (Client, Peer) {
    let (address, mut peers) = fake().await;
    let connecting = tokio::spawn(async move { Client::connect(&url(address)).await });
    let mut peer = welcomed(&mut peers).await;
    let (client, _) = connecting.await.unwrap().unwrap();
    let room = lobby();
    let joining = client.join(&room, JoinFrom::Now);
    let reply = answer(&mut peer, "joined", r#""epoch":"e","seq":0,"first":1,"recovered":true,"members":1"#);
    tokio::join!(joining, reply).0.unwrap();
    (client, peer)
}

/// Answers the next command and returns it.
async fn answer(peer: &mut Peer, kind: &str, rest: &str) -> Value {
    let command = asked(peer).await;
    reply(peer, &command, kind, rest).await;
    command
}

async fn reply(peer: &mut Peer, command: &Value, kind: &str, rest: &str) {
    let reference = &command["ref"];
    tell(peer, &format!(r#"{{"type":"{kind}","ref":{reference},"room":"lobby",{rest}}}"#)).await;
}
