//! The limits of rooms: what the rooms of one user may cost the others.

use std::time::Duration;

use chat_core::{Chat, Limits, RateLimits, RoomName, Text, User};
use chat_testkit::{Peer, chat, connect, pass, settle};
use serde_json::{Value, json};

fn limits() -> Limits {
    Limits::default().with(|limits| {
        limits.rates = RateLimits::unlimited();
        limits.connection.ping_interval = Duration::from_secs(1_000_000);
    })
}

async fn post(chat: &Chat, room: &str) {
    let (room, user): (RoomName, _) = (room.parse().expect("a room name"), User::guest("bob"));
    chat.post(&room, &user.expect("a name"), &Text::new("hi")).await.expect("posted");
}

async fn join(peer: &mut Peer, room: &str) -> Value {
    peer.ask(json!({"type": "join", "room": room})).await
}

#[tokio::test(start_paused = true)]
async fn users_in_many_blank_rooms_keep_no_other_user_out_of_a_room() {
    let chat = chat(limits().with(|limits| limits.rooms.max_idle = 10));
    let mut attackers = Vec::new();
    for number in 0..10 {
        let mut peer = connect(&chat, &format!("mallory-{number}")).await;
        for room in 0..100 {
            join(&mut peer, &format!("blank-{number}-{room}")).await;
        }
        attackers.push(peer);
    }
    settle().await;
    post(&chat, "lobby").await;
    let mut ann = connect(&chat, "ann").await;
    assert_eq!(join(&mut ann, "lobby").await["seq"], 1);
    assert_eq!(join(&mut ann, "attic").await["seq"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_user_is_in_a_limited_number_of_blank_rooms_over_all_connections() {
    let chat = chat(limits().with(|limits| limits.rooms.max_blank_per_user = 3));
    let (mut one, mut two) = (connect(&chat, "ann").await, connect(&chat, "ann").await);
    for room in ["a", "b"] {
        assert_eq!(join(&mut one, room).await["type"], "joined");
        assert_eq!(join(&mut two, room).await["type"], "joined", "the same room counts once");
    }
    assert_eq!(join(&mut two, "c").await["type"], "joined");
    let refused = join(&mut one, "d").await;
    assert_eq!((&refused["code"], &refused["room"]), (&json!("too_many_rooms"), &json!("d")));
    assert_eq!(chat.counts().rooms, 3, "the refused room is closed at once");
    assert_eq!(join(&mut connect(&chat, "bob").await, "d").await["type"], "joined", "another user");
    settle().await;

    post(&chat, "hall").await;
    assert_eq!(join(&mut one, "hall").await["type"], "joined", "a room with messages does not count");
    one.ask(json!({"type": "send", "room": "a", "body": {"text": "hi"}})).await;
    assert_eq!(join(&mut one, "d").await["type"], "joined", "room a has a message now");
    assert_eq!(join(&mut one, "e").await["code"], "too_many_rooms");
    two.kill();
    settle().await;
    assert_eq!(join(&mut one, "e").await["type"], "joined", "nobody of the user is in room c");
}

#[tokio::test(start_paused = true)]
async fn joins_over_the_limit_of_blank_rooms_close_the_connection_as_errors() {
    let chat = chat(limits().with(|limits| limits.rooms.max_blank_per_user = 1));
    let mut ann = connect(&chat, "ann").await;
    join(&mut ann, "a").await;
    for number in 0..9 {
        assert_eq!(join(&mut ann, &format!("b{number}")).await["code"], "too_many_rooms");
    }
    ann.send(json!({"type": "join", "room": "b9"}));
    assert!(ann.is_over().await);
    assert_eq!(ann.closed_with(), Some(Some(4500)));
    settle().await;
    assert_eq!(chat.counts().rooms, 0);
}

#[tokio::test(start_paused = true)]
async fn a_user_creates_a_limited_number_of_rooms_in_an_hour() {
    let chat = chat(limits().with(|limits| limits.rooms.max_created_per_hour = 2));
    let mut ann = connect(&chat, "ann").await;
    for room in ["a", "b", "c"] {
        join(&mut ann, room).await;
    }
    let send = |room: &str| json!({"type": "send", "room": room, "body": {"text": "hi"}});
    assert_eq!(ann.ask(send("a")).await["type"], "sent");
    assert_eq!(ann.ask(send("b")).await["type"], "sent");
    let refused = ann.ask(send("c")).await;
    assert_eq!(refused["code"], "rate_limited");
    let wait = refused["retry_after_ms"].as_f64().expect("a time") / 1_000.0;
    assert!((1_799.0..=1_801.0).contains(&wait), "{wait}");
    assert_eq!(ann.ask(send("a")).await["type"], "sent", "a room that has messages is free");
    post(&chat, "c").await;
    assert_eq!(ann.ask(send("c")).await["type"], "sent", "the host created the room");
    join(&mut ann, "d").await;
    pass(wait).await;
    assert_eq!(ann.ask(send("d")).await["type"], "sent");
}

#[tokio::test(start_paused = true)]
async fn rooms_are_closed_in_the_order_of_their_last_uses() {
    let chat = chat(limits().with(|limits| limits.rooms.max_idle = 2));
    for room in ["a", "b", "c"] {
        post(&chat, room).await;
    }
    post(&chat, "a").await;
    for (room, expected) in [("d", ["a", "c", "d"]), ("e", ["a", "d", "e"])] {
        post(&chat, room).await;
        let mut open: Vec<_> = chat.open_rooms().iter().map(ToString::to_string).collect();
        open.sort();
        assert_eq!(open, expected);
    }
}
