//! The end of following a room, at the same time as a list of rooms or a failure of the store.

use std::time::Duration;

use chat_core::{Chat, Limits, Rate, Text, User};
use chat_testkit::{Cluster, Mode, Peer, Store, connect, lobby, pass, settle, types};
use serde_json::{Value, json};

fn limits() -> Limits {
    Limits::default().with(|limits| limits.connection.ping_interval = Duration::from_secs(1_000_000))
}

async fn follow(peer: &mut Peer, on: bool) {
    let done = peer.ask(json!({"type": "follow", "room": lobby(), "on": on})).await;
    assert_eq!(done, json!({"type": "done", "room": lobby()}));
}

/// Expects that a new message causes no event.
async fn expect_no_activity(chat: &Chat, peer: &mut Peer) {
    pass(3.0).await;
    peer.events().await;
    chat.post(&lobby(), &User::new("42", "clock").expect("a user"), &Text::new("hi"))
        .await
        .expect("a message");
    pass(3.0).await;
    assert_eq!(peer.events().await, Vec::<Value>::new());
}

#[tokio::test(start_paused = true)]
async fn a_list_leaves_out_a_room_that_is_unfollowed_meanwhile() {
    let (store, chat) = Store::with_chat(limits());
    let (mut ann, mut other) = (connect(&chat, "ann").await, connect(&chat, "ann").await);
    follow(&mut ann, true).await;
    store.standing(Mode::Slow(Duration::from_secs(1)));
    other.send(json!({"type": "rooms"}));
    settle().await;
    follow(&mut ann, false).await;
    pass(2.0).await;
    assert_eq!(other.event().await, json!({"type": "rooms", "rooms": [], "more": false}));
    store.standing(Mode::Works);
    expect_no_activity(&chat, &mut other).await;
}

#[tokio::test(start_paused = true)]
async fn a_room_that_is_unfollowed_while_the_list_waits_to_be_sent_has_no_activity() {
    let limits = limits().with(|limits| limits.rates.reply_bytes = Rate::new(1, 50));
    let chat = Chat::builder().limits(limits).build();
    let (mut ann, mut other) = (connect(&chat, "ann").await, connect(&chat, "ann").await);
    follow(&mut ann, true).await;
    other.join("hall").await;
    pass(1_000.0).await;
    other.events().await;
    // The answer before takes the bytes that the list needs.
    other.send(json!({"type": "members", "room": "hall"}));
    other.send(json!({"type": "rooms"}));
    settle().await;
    follow(&mut ann, false).await;
    pass(1_000.0).await;
    let events = other.events().await;
    assert_eq!(types(&events), ["members", "rooms"], "{events:?}");
    expect_no_activity(&chat, &mut other).await;
}

#[tokio::test(start_paused = true)]
async fn the_end_on_another_node_is_not_lost_if_the_store_fails() {
    let cluster = Cluster::new();
    let [n1, n2] = ["n1", "n2"].map(|name| cluster.builder(name).limits(limits()).build());
    let (mut ann, mut other) = (connect(&n1, "ann").await, connect(&n2, "ann").await);
    follow(&mut ann, true).await;
    follow(&mut other, true).await;
    cluster.store().hide_follows(true);
    follow(&mut ann, false).await;
    pass(20.0).await;
    cluster.store().hide_follows(false);
    pass(6.0).await;
    expect_no_activity(&n1, &mut other).await;
    // A later end is told too.
    follow(&mut other, true).await;
    follow(&mut ann, false).await;
    expect_no_activity(&n1, &mut other).await;
}
