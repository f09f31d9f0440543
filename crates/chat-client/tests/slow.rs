//! Slow consumers: memory is bounded, and no message is lost.

mod support;

use std::time::Duration;

use chat_client::{Client, ClientEvent, JoinFrom, Text};
use chat_core::{Chat, Limits};
use support::{Server, eager, lobby, member, message, next, within};

#[tokio::test]
async fn one_task_sends_and_reads_in_turn_with_the_smallest_buffer() {
    const MESSAGES: u64 = 200;
    let server = Server::start(Chat::default());
    let (writer, mut echoes) = member(Client::builder(&server.url()).event_buffer(4)).await;
    // The consumer does not read meanwhile, and each send causes an event.
    for n in 1..=MESSAGES {
        assert_eq!(within(writer.send(&lobby(), &Text::new("hi"))).await.unwrap().seq, n);
    }
    for seq in 1..=MESSAGES {
        assert_eq!(message(&mut echoes).await.seq, seq);
    }
}

#[tokio::test]
async fn a_consumer_that_stops_reading_gets_every_message_later() {
    const MESSAGES: u64 = 900;
    let server = Server::start(Chat::default());
    let (reader, mut events) = member(Client::builder(&server.url()).event_buffer(8)).await;
    let (writer, _) = server.member().await;
    let text = "x".repeat(1_000);
    for _ in 0..MESSAGES {
        writer.send(&lobby(), &Text::new(&text)).await.unwrap();
    }
    for seq in 1..=MESSAGES {
        assert_eq!(message(&mut events).await.seq, seq);
        if seq % 100 == 0 {
            // A command between gets its reply.
            within(reader.ping()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_consumer_that_the_server_disconnects_continues_or_gets_a_gap() {
    let limits = Limits::default().with(|limits| {
        limits.connection.write_timeout = Duration::from_millis(300);
        limits.rooms.log_bytes = 64 << 20;
    });
    let server = Server::start(Chat::builder().limits(limits).build());
    let (_reader, mut events) =
        member(Client::builder(&server.url()).event_buffer(4).reconnect(eager())).await;
    let (writer, _) = server.member().await;
    // The messages are more than the kernel buffers for a peer that does not read.
    let text = "x".repeat(4_000);
    let mut sent = 0;
    within(async {
        while server.chat.counts().sessions == 2 {
            sent = writer.send(&lobby(), &Text::new(&text)).await.unwrap().seq;
        }
    })
    .await;
    let mut expected = 1;
    let mut slow = false;
    while expected <= sent {
        match next(&mut events).await {
            ClientEvent::Message(message) => {
                assert_eq!(message.seq, expected);
                expected += 1;
            }
            ClientEvent::Gap { from, to, .. } => {
                assert_eq!(from, expected);
                expected = to + 1;
            }
            ClientEvent::Disconnected { .. } => slow = true,
            ClientEvent::Reconnected | ClientEvent::Resumed(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(slow, "the server never closed the connection");
}

#[tokio::test]
async fn dropped_events_do_not_block_commands() {
    let server = Server::start(Chat::default());
    let (client, events) = Client::builder(&server.url()).event_buffer(4).connect().await.unwrap();
    drop(events);
    client.join(&lobby(), JoinFrom::Now).await.unwrap();
    for _ in 0..50 {
        within(client.send(&lobby(), &Text::new("hi"))).await.unwrap();
    }
}
