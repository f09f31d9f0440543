//! The memory budget of tails and rooms in memory.

use std::time::Duration;

use chat_core::{Chat, Limits, PostError, Range, RateLimits, RoomName, Text, User};
use chat_testkit::{Peer, Store, chat, connect, settle};
use serde_json::json;

const BUDGET: usize = 256 * 1024;

fn limits() -> Limits {
    Limits::default().with(|limits| {
        limits.rates = RateLimits::unlimited();
        limits.rooms.memory_bytes = BUDGET;
        limits.connection.ping_interval = Duration::from_secs(1_000_000);
        limits.connection.write_timeout = Duration::from_secs(1_000_000);
    })
}

async fn join(peer: &mut Peer, room: &str) {
    let joined = peer.ask(json!({"type": "join", "room": room})).await;
    assert_eq!(joined["type"], "joined");
}

fn user() -> User {
    User::new("clock", "Clock").expect("a user")
}

async fn post(chat: &Chat, room: &RoomName, text: &str) -> Result<u64, PostError> {
    chat.post(room, &user(), &Text::new(text)).await.map(|receipt| receipt.seq)
}

/// Writes long messages into many rooms over four connections, which then leave.
async fn attack(chat: &Chat, is_over: impl Fn(usize)) {
    let text = "x".repeat(4_000);
    for number in 0..4 {
        let mut peer = connect(chat, &format!("mallory-{number}")).await;
        for room in 0..3 {
            let room = format!("room-{number}-{room}");
            join(&mut peer, &room).await;
            for _ in 0..20 {
                let sent = peer.ask(json!({"type": "send", "room": room, "body": {"text": text}})).await;
                assert_eq!(sent["type"], "sent");
                is_over(chat.counts().memory_bytes);
            }
        }
        peer.kill();
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn long_messages_in_many_rooms_stay_within_the_budget() {
    let chat = chat(limits());
    let lobby: RoomName = "lobby".parse().expect("a name");
    for text in ["one", "two"] {
        post(&chat, &lobby, text).await.expect("posted");
    }
    attack(&chat, |bytes| assert!(bytes <= BUDGET, "{bytes} bytes")).await;
    assert!(chat.counts().memory_bytes > BUDGET / 2, "the budget is used");
    let page = chat.history(&lobby, Range::newest(1)).await.expect("a page");
    assert_eq!(page.messages[0].seq, 2, "the newest message stays");
    let room: RoomName = "room-0-0".parse().expect("a name");
    let page = chat.history(&room, Range::newest(1)).await.expect("a page");
    assert_eq!(page.messages[0].seq, 20, "the newest message stays");
}

#[tokio::test(start_paused = true)]
async fn the_tail_of_a_room_is_dropped_with_its_last_member() {
    let chat = Store::new().chat(limits());
    let mut ann = connect(&chat, "ann").await;
    join(&mut ann, "lobby").await;
    ann.ask(json!({"type": "send", "room": "lobby", "body": {"text": "x".repeat(4_000)}})).await;
    settle().await;
    assert!((4_000..6_000).contains(&chat.counts().memory_bytes), "{:?}", chat.counts());
    ann.kill();
    settle().await;
    assert_eq!(chat.counts().memory_bytes, 0);
    let lobby: RoomName = "lobby".parse().expect("a name");
    post(&chat, &lobby, "hi").await.expect("posted");
    assert_eq!(chat.counts().memory_bytes, 0, "a room without members needs no tail");
}

#[tokio::test(start_paused = true)]
async fn readers_that_do_not_read_stay_within_the_budget_and_lose_nothing_silently() {
    let chat = chat(limits());
    let mut readers = Vec::new();
    for number in 0..30 {
        let mut reader = connect(&chat, &format!("reader-{number}")).await;
        join(&mut reader, "lobby").await;
        readers.push(reader);
    }
    settle().await;
    for reader in &mut readers {
        reader.events().await;
        reader.block();
    }
    let lobby: RoomName = "lobby".parse().expect("a name");
    let text = "x".repeat(4_000);
    for seq in 1..=80 {
        assert_eq!(post(&chat, &lobby, &text).await.expect("posted"), seq);
        assert!(chat.counts().memory_bytes <= BUDGET);
    }
    attack(&chat, |bytes| assert!(bytes <= BUDGET, "{bytes} bytes")).await;
    for reader in &mut readers {
        reader.unblock();
    }
    settle().await;
    for reader in &mut readers {
        let mut next = 1;
        for event in reader.events().await {
            match event["type"].as_str() {
                Some("message") => {
                    assert_eq!(event["seq"], next);
                    next += 1;
                }
                Some("gap") => {
                    assert_eq!(event["from"], next);
                    next = event["to"].as_u64().expect("a number") + 1;
                }
                _ => {}
            }
        }
        assert_eq!(next, 81);
    }
}

#[tokio::test(start_paused = true)]
async fn a_room_in_memory_refuses_messages_if_no_memory_can_be_freed() {
    let chat = chat(limits().with(|limits| limits.rooms.memory_bytes = 20_000));
    let mut refused = None;
    for number in 0..10 {
        let room: RoomName = format!("room-{number}").parse().expect("a name");
        match post(&chat, &room, &"x".repeat(4_000)).await {
            Ok(seq) => assert_eq!((seq, refused), (1, None)),
            Err(PostError::Unavailable(_)) => refused = refused.or(Some(number)),
            Err(error) => panic!("{error}"),
        }
        assert!(chat.counts().memory_bytes <= 20_000);
    }
    assert_eq!(refused, Some(4));
    let first: RoomName = "room-0".parse().expect("a name");
    let page = chat.history(&first, Range::newest(9)).await.expect("a page");
    assert_eq!(page.messages.len(), 1, "the newest message stays");
}
