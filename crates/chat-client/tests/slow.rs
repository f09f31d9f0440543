//! A consumer that does not keep up: bounded, and still complete.

mod support;

use std::time::Duration;

use chat_client::{Client, Event, JoinFrom, Text};
use chat_core::{Chat, Limits};
use support::{Server, eager, lobby, message, next, within};

#[tokio::test]
async fn one_task_can_send_and_read_in_turn_however_small_the_buffer_is() {
    const MESSAGES: u64 = 200;
    let server = Server::start(Chat::default());
    let (writer, mut echoes) = Client::builder(&server.url()).event_buffer(4).connect().await.unwrap();
    writer.join(&lobby(), JoinFrom::Now).await.unwrap();
    // Nobody reads while all of these are sent, and each brings an event.
    for n in 1..=MESSAGES {
        assert_eq!(within(writer.send(&lobby(), &Text("hi"))).await.unwrap().seq, n);
    }
    for seq in 1..=MESSAGES {
        assert_eq!(message(&mut echoes).await.seq, seq);
    }
}

#[tokio::test]
async fn a_consumer_that_sleeps_gets_everything_when_it_wakes() {
    const MESSAGES: u64 = 900;
    let server = Server::start(Chat::default());
    let (reader, mut events) = Client::builder(&server.url()).event_buffer(8).connect().await.unwrap();
    reader.join(&lobby(), JoinFrom::Now).await.unwrap();
    let (writer, _) = Client::connect(&server.url()).await.unwrap();
    writer.join(&lobby(), JoinFrom::Now).await.unwrap();
    let text = "x".repeat(1_000);
    for _ in 0..MESSAGES {
        writer.send(&lobby(), &Text(&text)).await.unwrap();
    }
    for seq in 1..=MESSAGES {
        assert_eq!(message(&mut events).await.seq, seq);
        if seq % 100 == 0 {
            // A command between has the same answer as ever.
            within(reader.ping()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_consumer_that_the_server_gave_up_goes_on_where_it_was_or_is_told() {
    let limits = Limits::default().with(|limits| {
        limits.connection.write_timeout = Duration::from_millis(300);
        limits.rooms.log_bytes = 64 << 20;
    });
    let server = Server::start(Chat::builder().limits(limits).build());
    let (reader, mut events) =
        Client::builder(&server.url()).event_buffer(4).reconnect(eager()).connect().await.unwrap();
    reader.join(&lobby(), JoinFrom::Now).await.unwrap();
    let (writer, _) = Client::connect(&server.url()).await.unwrap();
    writer.join(&lobby(), JoinFrom::Now).await.unwrap();
    // More than the kernel takes for a peer that does not read.
    let text = "x".repeat(4_000);
    let mut sent = 0;
    within(async {
        while server.chat.counts().sessions == 2 {
            sent = writer.send(&lobby(), &Text(&text)).await.unwrap().seq;
        }
    })
    .await;
    let mut expected = 1;
    let mut slow = false;
    while expected <= sent {
        match next(&mut events).await {
            Event::Message(message) => {
                assert_eq!(message.seq, expected);
                expected += 1;
            }
            Event::Gap { from, to, .. } => {
                assert_eq!(from, expected);
                expected = to + 1;
            }
            Event::Disconnected { .. } => slow = true,
            Event::Reconnected | Event::Resumed { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(slow, "the server never gave it up");
}

#[tokio::test]
async fn events_that_nobody_wants_are_in_nobodys_way() {
    let server = Server::start(Chat::default());
    let (client, events) = Client::builder(&server.url()).event_buffer(4).connect().await.unwrap();
    drop(events);
    client.join(&lobby(), JoinFrom::Now).await.unwrap();
    for _ in 0..50 {
        within(client.send(&lobby(), &Text("hi"))).await.unwrap();
    }
}
