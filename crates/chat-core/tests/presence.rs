//! Presence for members that do not read in time.

use std::collections::BTreeSet;

use chat_core::{Chat, Limits};
use chat_testkit::{Cluster, Peer, chat, connect, member, pass, settle};
use serde_json::{Value, json};

const MEMBERS: usize = 200;

/// Returns a chat whose tails have space for a part of the members.
fn small() -> Chat {
    chat(Limits::default().with(|limits| {
        limits.rooms.tail_events = 32;
        limits.rooms.presence_threshold = 2 * MEMBERS;
    }))
}

/// Starts sessions of guests that have joined the lobby.
async fn members(chat: &Chat) -> Vec<Peer> {
    let mut peers = Vec::new();
    for number in 0..MEMBERS {
        peers.push(member(chat, &format!("u{number}")).await);
    }
    peers
}

/// Applies presence events to the users that a client knows. Each event must be a change.
fn apply(seen: &mut BTreeSet<String>, events: &[Value]) {
    for event in events.iter().filter(|event| event["type"] == "presence") {
        let user = event["user"]["name"].as_str().expect("a name").to_owned();
        let is_change = if event["state"] == "joined" { seen.insert(user) } else { seen.remove(&user) };
        assert!(is_change, "twice: {event}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_reads_sees_all_members_that_drop_at_once_leave() {
    let chat = small();
    let peers = members(&chat).await;
    let mut observer = connect(&chat, "observer").await;
    observer.join("lobby").await;
    let mut seen: BTreeSet<String> = (0..MEMBERS).map(|number| format!("u{number}")).collect();
    peers.iter().for_each(Peer::kill);
    apply(&mut seen, &observer.events().await);
    assert_eq!(seen, BTreeSet::new());
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_did_not_read_gets_the_last_state_of_each_user() {
    let chat = small();
    let mut observer = member(&chat, "observer").await;
    observer.block();
    let peers = members(&chat).await;
    let (gone, here) = peers.split_at(MEMBERS - 10);
    gone.iter().for_each(Peer::kill);
    settle().await;
    observer.unblock();
    let events = observer.events().await;
    let mut seen = BTreeSet::new();
    apply(&mut seen, &events);
    let expected: BTreeSet<_> = (MEMBERS - here.len()..MEMBERS).map(|number| format!("u{number}")).collect();
    assert_eq!(seen, expected);
}

/// Returns the number of users and the way in each `occupancy` event.
fn occupancies(events: &[Value]) -> Vec<(u64, &str)> {
    let occupancies = events.iter().filter(|event| event["type"] == "occupancy");
    let numbers = |event: &Value| event["members"].as_u64().expect("a number");
    occupancies.map(|event| (numbers(event), event["presence"].as_str().expect("a text"))).collect()
}

fn users(number: u64) -> Value {
    json!({"type": "occupancy", "room": "lobby", "members": number, "presence": "count"})
}

#[tokio::test(start_paused = true)]
async fn a_room_sends_the_number_of_its_users_at_once_and_then_once_per_second() {
    let chat = chat(Limits::default());
    let mut observer = member(&chat, "observer").await;
    let peers = members(&chat).await;
    let events = observer.events().await;
    let joins = events.iter().filter(|event| event["type"] == "presence").count();
    assert_eq!((joins, occupancies(&events)), (99, vec![(101, "count")]));
    pass(0.9).await;
    assert_eq!(observer.events().await, [] as [Value; 0]);
    pass(0.1).await;
    assert_eq!(observer.events().await, [users(201)]);

    let (gone, here) = peers.split_at(MEMBERS - 50);
    pass(5.0).await;
    gone.iter().for_each(Peer::kill);
    settle().await;
    pass(1.0).await;
    let events = observer.events().await;
    assert_eq!(occupancies(&events).last(), Some(&(51, "each")));
    assert!(events.len() <= 2, "{} events", events.len());
    here[0].kill();
    assert_eq!(observer.event().await["state"], "left");
}

#[tokio::test(start_paused = true)]
async fn the_users_of_all_nodes_count() {
    let cluster = Cluster::new();
    let (here, there) = (cluster.node("a"), cluster.node("b"));
    let mut observer = member(&here, "observer").await;
    let mut peers = Vec::new();
    for number in 0..101 {
        peers.push(member(&there, &format!("u{number}")).await);
    }
    pass(2.0).await;
    let events = observer.events().await;
    assert_eq!(occupancies(&events).last(), Some(&(102, "count")));
    let joined = connect(&there, "ann").await.join("lobby").await;
    assert_eq!((&joined["members"], &joined["presence"]), (&json!(103), &json!("count")));
}

/// Lets this number of users join a room, one after the other. Returns the number of frames that all of them got.
async fn frames_of_joins(users: usize) -> usize {
    let chat = chat(Limits::default());
    let mut peers = Vec::new();
    for number in 0..users {
        peers.push(member(&chat, &format!("u{number}")).await);
    }
    pass(2.0).await;
    peers.iter().map(|peer| peer.taken().len()).sum()
}

#[tokio::test(start_paused = true)]
async fn the_frames_of_joins_grow_like_the_number_of_users() {
    let (some, more) = (frames_of_joins(200).await, frames_of_joins(1_000).await);
    // Each further user gets the last number.
    assert_eq!(more - some, 800, "{some} frames for 200 users, {more} for 1,000");
}
