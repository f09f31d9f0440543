use std::sync::Arc;

use chat_core::{Change, Limits, RoomName, Store, UserKey};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::servers::{ALONE, Servers, request};
use crate::support::{Opened, node, node_of};

fn bob() -> UserKey {
    UserKey::new("bob")
}

async fn read(room: &Opened, user: &UserKey) -> u64 {
    room.room.unread(user, u64::MAX).await.expect("a count").read
}

async fn mark(room: &Opened, user: &UserKey, seq: u64) -> u64 {
    let marked = room.room.mark(user, seq).await.expect("a marker");
    assert!(marked.seq >= seq);
    marked.seq
}

fn name(room: &str) -> RoomName {
    room.parse().expect("a name")
}

async fn state(client: &async_nats::Client, stream: &str) -> Value {
    request(client, &format!("STREAM.INFO.{stream}"), &json!({ "subjects_filter": ">" }))
        .await
        .expect("an answer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_at_once_move_a_marker_forward_only_and_lose_no_followed_room() {
    let servers = Servers::start(1);
    let client = servers.ready().await;
    let limits = Arc::new(Limits::default());
    let stores = [node(&servers, |_| {}).await, node_of(&servers, ALONE).await];
    let lobby = Opened::open(&stores[0], "lobby", &limits).await;
    let other = Opened::open(&stores[1], "lobby", &limits).await;
    join_all((0..20).map(|_| lobby.say("hi"))).await;
    let bob = bob();
    let marks = (1..=20).rev().map(|seq| mark(if seq % 2 == 0 { &lobby } else { &other }, &bob, seq));
    assert_eq!(join_all(marks).await.iter().max(), Some(&20));
    assert_eq!((read(&lobby, &bob).await, read(&other, &bob).await), (20, 20));
    let follows = (0..20).map(|number| {
        let (store, room) = (&stores[number % 2], name(&format!("room-{number:02}")));
        let bob = &bob;
        async move { store.follow(bob, &room, true, 20).await }
    });
    assert_eq!(join_all(follows).await, vec![Ok(()); 20]);
    let rooms: Vec<_> = (0..20).map(|number| name(&format!("room-{number:02}"))).collect();
    for store in &stores {
        assert_eq!(store.followed(&bob).await, Ok(rooms.clone()));
    }
    let stored = state(&client, "chat-users").await;
    assert_eq!(stored["state"]["messages"], 2, "the last marker and the last list: {stored}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_newest_markers_of_guests_are_kept() {
    let servers = Servers::start(1);
    let client = servers.ready().await;
    let limits = Arc::new(Limits::default());
    let store = node(&servers, |_| {}).await;
    let lobby = Opened::open(&store, "lobby", &limits).await;
    lobby.say("hi").await;
    mark(&lobby, &bob(), 1).await;
    let guests: Vec<_> =
        (0..5).map(|number| UserKey::guest(&format!("guest-{number}")).expect("a name")).collect();
    mark(&lobby, &guests[0], 1).await;
    let mut config = state(&client, "chat-guests").await["config"].take();
    assert_eq!((&config["max_msgs"], &config["max_bytes"]), (&json!(100_000), &json!(67_108_864)));
    config["max_msgs"] = 3.into();
    request(&client, "STREAM.UPDATE.chat-guests", &config).await.expect("an answer");
    for guest in &guests[1..] {
        mark(&lobby, guest, 1).await;
    }
    let kept = guests.iter().map(|guest| read(&lobby, guest));
    assert_eq!(join_all(kept).await, [0, 0, 1, 1, 1]);
    assert_eq!(read(&lobby, &bob()).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marker_that_is_damaged_or_lost_counts_as_none() {
    let servers = Servers::start(1);
    let client = servers.ready().await;
    let limits = Arc::new(Limits::default());
    let store = node(&servers, |_| {}).await;
    let lobby = Opened::open(&store, "lobby", &limits).await;
    join_all((0..3).map(|_| lobby.say("hi"))).await;
    let bob = bob();
    mark(&lobby, &bob, 2).await;
    let stored = state(&client, "chat-users").await;
    let subjects = stored["state"]["subjects"].as_object().expect("subjects");
    let subject = subjects.keys().next().expect("the subject of the marker").clone();
    client.request(subject, "damaged".into()).await.expect("an answer");
    assert_eq!((read(&lobby, &bob).await, store.unreadable()), (0, 1));
    assert_eq!(mark(&lobby, &bob, 1).await, 1);
    assert_eq!((read(&lobby, &bob).await, store.unreadable()), (1, 2), "the damaged one is replaced");
    request(&client, "STREAM.DELETE.chat-users", &json!({})).await.expect("an answer");
    assert_eq!(store.followed(&bob).await, Ok(Vec::new()));
    assert_eq!(read(&lobby, &bob).await, 0);
    assert_eq!(mark(&lobby, &bob, 3).await, 3);
    assert_eq!(read(&lobby, &bob).await, 3, "the stream is created again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_among_very_many_changes_ends() {
    let servers = Servers::start(1);
    servers.ready().await;
    let limits = Arc::new(Limits::default());
    let lobby = Opened::open(&node(&servers, |_| {}).await, "lobby", &limits).await;
    lobby.say("hi").await;
    let mut head = 1;
    for (entries, unread) in [(19_000, 1), (20_500, 100)] {
        while head < entries {
            let pins = (0..250).map(|number| lobby.change("zoe", 1, Change::Pin { on: number % 2 == 0 }));
            join_all(pins).await.into_iter().for_each(|pinned| drop(pinned.expect("a change")));
            head = lobby.room.bounds().await.expect("bounds").head;
        }
        let counted = lobby.room.unread(&bob(), u64::MAX).await.expect("a count");
        assert_eq!((counted.unread, counted.head), (unread, head));
    }
}
