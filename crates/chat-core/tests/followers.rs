//! Followers of rooms, when several connections and failures meet.

use std::time::Duration;

use chat_core::{Bus, Chat, Limits, NodeId, Notice, RoomName, Text, User};
use chat_testkit::{Cluster, Mode, Peer, Store, connect, pass, settle};
use serde_json::{Value, json};

fn limits() -> Limits {
    Limits::default().with(|limits| limits.connection.ping_interval = Duration::from_secs(1_000_000))
}

fn room(name: &str) -> RoomName {
    name.parse().expect("a room")
}

async fn post(chat: &Chat) {
    let clock = User::new("42", "clock").expect("a user");
    chat.post(&room("lobby"), &clock, &Text::new("hi")).await.expect("a message");
}

fn follow(room: &str, on: bool) -> Value {
    json!({"type": "follow", "room": room, "on": on})
}

async fn follower(chat: &Chat, name: &str) -> Peer {
    let mut peer = connect(chat, name).await;
    assert_eq!(peer.ask(follow("lobby", true)).await["type"], "done");
    peer
}

fn activity(seq: u64) -> Value {
    json!({"type": "activity", "room": "lobby", "seq": seq, "unread": seq, "mentions": 0})
}

#[tokio::test(start_paused = true)]
async fn an_unfollow_that_a_connection_has_not_taken_does_not_undo_its_later_follow() {
    let (_store, chat) = Store::with_chat(limits());
    let (mut ann, mut second) = (follower(&chat, "ann").await, connect(&chat, "ann").await);
    ann.block();
    post(&chat).await;
    settle().await;
    assert_eq!(second.ask(follow("lobby", false)).await["type"], "done");
    ann.send(follow("lobby", true));
    settle().await;
    ann.unblock();
    pass(2.0).await;
    ann.events().await;
    post(&chat).await;
    assert_eq!(ann.events().await, [activity(2)]);
}

#[tokio::test(start_paused = true)]
async fn connections_learn_the_states_of_a_followed_room_in_the_order_of_the_store() {
    let (store, chat) = Store::with_chat(limits());
    let (mut ann, mut second) = (follower(&chat, "ann").await, connect(&chat, "ann").await);
    store.follow(Mode::Slow(Duration::from_secs(1)));
    second.send(follow("lobby", false));
    settle().await;
    store.follow(Mode::Works);
    assert_eq!(ann.ask(follow("lobby", true)).await["type"], "done");
    assert_eq!(second.event().await["type"], "done");
    pass(2.0).await;
    post(&chat).await;
    assert_eq!(ann.events().await, [activity(1)], "the room is followed in the store");
}

#[tokio::test(start_paused = true)]
async fn a_late_notice_of_another_node_does_not_undo_a_later_follow() {
    let cluster = Cluster::new();
    let [n1, n2] = ["n1", "n2"].map(|name| cluster.builder(name).limits(limits()).build());
    let (mut ann, mut other) = (follower(&n2, "ann").await, connect(&n1, "ann").await);
    let user = User::guest("ann").expect("a name").key();
    let late = Notice::Followed { room: room("lobby"), user, on: false };
    let from = "n1".parse::<NodeId>().expect("a node");
    cluster.bus().publish(&from, &late);
    settle().await;
    post(&n1).await;
    assert_eq!(ann.events().await, [activity(1)], "the room is followed in the store");
    assert_eq!(other.ask(follow("lobby", false)).await["type"], "done");
    settle().await;
    pass(2.0).await;
    post(&n1).await;
    pass(2.0).await;
    assert!(ann.events().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_is_behind_is_counted_again_alone() {
    let (store, chat) = Store::with_chat(limits());
    let (mut ann, mut again) = (follower(&chat, "ann").await, follower(&chat, "ann").await);
    let mut bob = follower(&chat, "bob").await;
    ann.block();
    for seq in 1..=5 {
        post(&chat).await;
        pass(1.1).await;
        assert_eq!((again.events().await, bob.events().await), (vec![activity(seq)], vec![activity(seq)]));
    }
    let before = store.counts();
    ann.unblock();
    pass(2.0).await;
    assert_eq!(ann.events().await.last(), Some(&activity(5)));
    assert_eq!(store.counts(), before + 1, "ann alone");
    assert!(again.events().await.is_empty() && bob.events().await.is_empty());
    post(&chat).await;
    assert_eq!((ann.events().await, bob.events().await), (vec![activity(6)], vec![activity(6)]));
}

#[tokio::test(start_paused = true)]
async fn all_connections_of_a_user_share_one_read_of_the_standing() {
    let (store, chat) = Store::with_chat(limits());
    let mut peers = Vec::new();
    for _ in 0..5 {
        peers.push(follower(&chat, "ann").await);
    }
    let before = store.standings();
    post(&chat).await;
    for peer in &mut peers {
        assert_eq!(peer.events().await, [activity(1)]);
    }
    assert_eq!(store.standings() - before, 1);
}

#[tokio::test(start_paused = true)]
async fn a_room_whose_log_cannot_be_read_is_not_listed_and_hides_no_other() {
    let (store, chat) = Store::with_chat(limits());
    let (mut ann, mut bob) = (connect(&chat, "ann").await, connect(&chat, "bob").await);
    for name in ["a", "bad", "z"] {
        assert_eq!(ann.ask(follow(name, true)).await["type"], "done");
        bob.join(name).await;
    }
    store.break_room(room("bad"));
    for peer in [&mut ann, &mut bob] {
        peer.events().await;
        let listed = peer.ask(json!({"type": "rooms"})).await;
        let names: Vec<_> = listed["rooms"]
            .as_array()
            .expect("rooms")
            .iter()
            .map(|room| room["room"].as_str().unwrap_or_default())
            .collect();
        assert_eq!((names, &listed["more"]), (vec!["a", "z"], &json!(false)));
    }
    for name in ["a", "z"] {
        store.break_room(room(name));
    }
    for peer in [&mut ann, &mut bob] {
        assert_eq!(peer.ask(json!({"type": "rooms"})).await["code"], "unavailable", "no room is left");
    }
}
