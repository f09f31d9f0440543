//! Rooms that refuse a message for now: the message is sent again and stored once.

mod support;

use std::time::Duration;

use chat_client::{Client, Error, ErrorCode, Text};
use chat_testkit::Mode;
use support::{Server, answer, asked, joined, lobby, member, message, reply, within};
use tokio::time::Instant;

#[tokio::test]
async fn a_send_is_repeated_until_the_room_stores_it() {
    let (rooms, server) = Server::with_appends(Mode::Fails);
    let (client, mut events) = server.member().await;
    let healed = async {
        within(rooms.wait_for_appends(3)).await;
        rooms.append(Mode::Works);
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
    let (rooms, server) = Server::with_appends(Mode::StoresAndFails);
    let (client, mut events) = server.member().await;
    let healed = async {
        within(rooms.wait_for_appends(1)).await;
        assert_eq!(message(&mut events).await.seq, 1);
        rooms.append(Mode::Works);
    };
    let (sent, ()) = tokio::join!(async { client.send(&lobby(), &Text::new("hi")).await }, healed);
    let sent = sent.unwrap();
    assert_eq!((sent.seq, sent.duplicate), (1, true));
    client.send(&lobby(), &Text::new("end")).await.unwrap();
    assert_eq!(message(&mut events).await.text().as_deref(), Some("end"));
}

#[tokio::test]
async fn a_send_that_times_out_may_have_happened() {
    let (rooms, server) = Server::with_appends(Mode::StoresAndFails);
    let builder = Client::builder(&server.url()).command_timeout(Duration::from_secs(4));
    let (client, _events) = member(builder).await;
    let error = within(client.send_with_key(&lobby(), &Text::new("hi"), "k")).await.unwrap_err();
    let Error::Unsure(reason) = &error else { panic!("{error:?}") };
    assert_eq!(reason.code, ErrorCode::Unavailable);
    assert!(error.may_have_happened() && error.is_temporary(), "{error}");
    // Each wait is a random part of 250 ms or more.
    assert!((2..100).contains(&rooms.appends()), "{} attempts", rooms.appends());
    rooms.append(Mode::Works);
    let again = within(client.send_with_key(&lobby(), &Text::new("hi"), "k")).await.unwrap();
    assert_eq!((again.seq, again.duplicate), (1, true));
}

#[tokio::test]
async fn a_send_that_cannot_wait_for_the_advice_is_refused_at_once() {
    let (client, _events, mut peer, _peers) = joined(0).await;
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
    let (client, _events, mut peer, _peers) = joined(0).await;
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
