//! Markers, unread messages, followed rooms and their activity.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chat_core::{Act, Action, Chat, Forbidden, Limits, NewAct, RoomName, RoomRules, Text, User};
use chat_testkit::{Cluster, Mode, Peer, Store, chat, connect, guest, member, pass, settle};
use serde_json::{Value, json};

fn limits() -> Limits {
    Limits::default().with(|limits| limits.connection.ping_interval = Duration::from_secs(1_000_000))
}

async fn post(chat: &Chat, room: &str, count: usize) {
    let (room, clock): (RoomName, _) = (room.parse().expect("a room"), User::new("42", "clock"));
    for _ in 0..count {
        chat.post(&room, clock.as_ref().expect("a user"), &Text::new("hi")).await.expect("a message");
    }
}

async fn follow(peer: &mut Peer, room: &str, on: bool) -> Value {
    peer.ask(json!({"type": "follow", "room": room, "on": on})).await
}

async fn read(peer: &mut Peer, room: &str, seq: u64) -> Value {
    peer.ask(json!({"type": "read", "room": room, "seq": seq})).await
}

/// Returns a peer that follows the lobby and is not in it.
async fn follower(chat: &Chat, name: &str) -> Peer {
    let mut peer = connect(chat, name).await;
    assert_eq!(follow(&mut peer, "lobby", true).await, json!({"type": "done", "room": "lobby"}));
    peer
}

fn activity(seq: u64, unread: u64) -> Value {
    json!({"type": "activity", "room": "lobby", "seq": seq, "unread": unread, "mentions": 0})
}

fn counts(event: &Value) -> [Option<u64>; 2] {
    ["read", "unread"].map(|field| event[field].as_u64())
}

#[tokio::test(start_paused = true)]
async fn a_marker_is_kept_and_later_messages_are_unread() {
    let chat = chat(limits());
    post(&chat, "lobby", 3).await;
    let mut ann = connect(&chat, "ann").await;
    assert_eq!(counts(&ann.join("lobby").await), [Some(0), Some(3)]);
    let marked = json!({"type": "read", "room": "lobby", "user": guest("ann"), "seq": 2});
    assert_eq!(read(&mut ann, "lobby", 2).await, marked);
    assert_eq!(read(&mut ann, "lobby", 1).await, marked, "a marker does not go back");
    assert_eq!(read(&mut ann, "lobby", 4).await["code"], "bad_cursor");
    ann.ask(json!({"type": "send", "room": "lobby", "body": {"text": "own"}})).await;
    assert_eq!(counts(&ann.join("lobby").await), [Some(2), Some(1)]);
    let mut again = connect(&chat, "ann").await;
    assert_eq!(counts(&again.join("lobby").await), [Some(2), Some(1)]);
    let mut bob = connect(&chat, "bob").await;
    assert_eq!(counts(&bob.join("lobby").await), [Some(0), Some(4)]);
}

#[tokio::test(start_paused = true)]
async fn the_other_connections_of_the_user_see_a_marker_that_has_moved() {
    let chat = chat(limits());
    expect_marker_to_reach_others(&chat, &chat).await;
}

/// Moves a marker on one node, and expects that the other connections of the user on another one see it once, and that
/// nobody else does.
async fn expect_marker_to_reach_others(here: &Chat, there: &Chat) {
    post(here, "lobby", 3).await;
    let (mut ann, mut second) = (member(here, "ann").await, member(there, "ann").await);
    let (mut third, mut stranger) = (follower(there, "ann").await, connect(there, "ann").await);
    let mut bob = member(there, "bob").await;
    for peer in [&mut ann, &mut second, &mut bob] {
        peer.events().await;
    }
    read(&mut ann, "lobby", 2).await;
    read(&mut ann, "lobby", 2).await;
    let expected = json!({"type": "read", "room": "lobby", "user": guest("ann"), "seq": 2});
    assert_eq!(second.events().await, std::slice::from_ref(&expected));
    assert_eq!(third.events().await, [expected]);
    for peer in [&mut ann, &mut stranger, &mut bob] {
        assert!(peer.events().await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn activity_is_sent_at_most_once_per_second() {
    let (store, chat) = Store::with_chat(limits());
    let mut ann = follower(&chat, "ann").await;
    post(&chat, "lobby", 1).await;
    assert_eq!(ann.events().await, [activity(1, 1)]);
    post(&chat, "lobby", 50).await;
    assert!(ann.events().await.is_empty());
    pass(0.9).await;
    assert!(ann.events().await.is_empty());
    pass(0.2).await;
    assert_eq!(ann.events().await, [activity(51, 51)]);
    pass(10.0).await;
    assert!(ann.events().await.is_empty());
    assert_eq!(store.counts(), 2);
}

#[tokio::test(start_paused = true)]
async fn all_connections_of_a_user_share_one_count() {
    let (store, chat) = Store::with_chat(limits());
    let mut peers = Vec::new();
    for _ in 0..5 {
        peers.push(follower(&chat, "ann").await);
    }
    post(&chat, "lobby", 3).await;
    pass(2.0).await;
    for peer in &mut peers {
        let events = peer.events().await;
        assert_eq!(events.last(), Some(&activity(3, 3)), "{events:?}");
    }
    assert!(store.counts() <= 2, "{}", store.counts());
}

#[tokio::test(start_paused = true)]
async fn a_connection_in_the_room_gets_no_activity_until_it_leaves() {
    let (store, chat) = Store::with_chat(limits());
    let mut ann = follower(&chat, "ann").await;
    ann.join("lobby").await;
    let before = store.counts();
    post(&chat, "lobby", 1).await;
    pass(2.0).await;
    let events = ann.events().await;
    assert_eq!((events.len(), &events[0]["type"]), (1, &json!("message")));
    assert_eq!(store.counts(), before, "nobody needs a count");
    ann.ask(json!({"type": "leave", "room": "lobby"})).await;
    post(&chat, "lobby", 1).await;
    assert_eq!(ann.events().await, [activity(2, 2)]);
    follow(&mut ann, "lobby", false).await;
    pass(2.0).await;
    post(&chat, "lobby", 1).await;
    pass(2.0).await;
    assert!(ann.events().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn activity_begins_with_a_follow_or_a_list_on_the_connection_and_ends_on_all() {
    let chat = chat(limits());
    let (mut ann, mut second) = (follower(&chat, "ann").await, connect(&chat, "ann").await);
    post(&chat, "lobby", 1).await;
    assert!(second.events().await.is_empty(), "it does not know that the user follows the room");
    let listed = second.ask(json!({"type": "rooms"})).await;
    let summary = json!({"room": "lobby", "seq": 1, "read": 0, "unread": 1, "mentions": 0});
    assert_eq!(listed, json!({"type": "rooms", "rooms": [summary], "more": false}));
    pass(2.0).await;
    ann.events().await;
    post(&chat, "lobby", 1).await;
    assert_eq!((ann.events().await, second.events().await), (vec![activity(2, 2)], vec![activity(2, 2)]));
    follow(&mut second, "lobby", false).await;
    pass(2.0).await;
    post(&chat, "lobby", 1).await;
    pass(2.0).await;
    assert!(ann.events().await.is_empty() && second.events().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_slow_or_gone_costs_no_counts() {
    let (store, chat) = Store::with_chat(limits());
    let (mut ann, bob) = (follower(&chat, "ann").await, follower(&chat, "bob").await);
    settle().await;
    bob.kill();
    ann.block();
    for _ in 0..10 {
        post(&chat, "lobby", 1).await;
        pass(1.1).await;
    }
    assert!(store.counts() <= 2, "{}", store.counts());
    ann.unblock();
    pass(2.0).await;
    let events = ann.events().await;
    assert_eq!(events.last(), Some(&activity(10, 10)), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn a_count_that_fails_or_hangs_is_made_again_with_the_next_message() {
    let (store, chat) = Store::with_chat(limits());
    let mut ann = follower(&chat, "ann").await;
    for mode in [Mode::Fails, Mode::Hangs, Mode::Panics] {
        store.count(mode);
        post(&chat, "lobby", 1).await;
        pass(20.0).await;
        assert!(ann.events().await.is_empty());
    }
    store.count(Mode::Works);
    post(&chat, "lobby", 1).await;
    assert_eq!(ann.events().await, [activity(4, 4)]);
    store.count(Mode::Fails);
    let mut bob = connect(&chat, "bob").await;
    let joined = bob.join("lobby").await;
    assert_eq!((counts(&joined), &joined["mentions"]), ([None, None], &Value::Null));
}

#[tokio::test(start_paused = true)]
async fn a_room_whose_right_is_gone_is_not_listed_and_has_no_activity() {
    let closed = Arc::new(AtomicBool::new(false));
    let is_closed = Arc::clone(&closed);
    let rights = move |_: &User, room: &RoomName, _: &Action<'_>| match room.as_str() {
        "staff" => Err(Forbidden::Rights),
        "lobby" if is_closed.load(Ordering::Relaxed) => Err(Forbidden::Rights),
        _ => Ok(()),
    };
    let chat = Chat::builder().limits(limits()).authorize(rights).build();
    let mut ann = follower(&chat, "ann").await;
    assert_eq!(follow(&mut ann, "staff", true).await["code"], "forbidden");
    follow(&mut ann, "zoo", true).await;
    post(&chat, "lobby", 1).await;
    assert_eq!(ann.events().await, [activity(1, 1)]);
    closed.store(true, Ordering::Relaxed);
    pass(2.0).await;
    post(&chat, "lobby", 1).await;
    pass(2.0).await;
    assert!(ann.events().await.is_empty());
    assert_eq!(read(&mut ann, "lobby", 1).await["code"], "forbidden");
    let listed = ann.ask(json!({"type": "rooms", "limit": 1})).await;
    let zoo = json!({"room": "zoo", "seq": 0, "read": 0, "unread": 0, "mentions": 0});
    assert_eq!((&listed["rooms"], &listed["more"]), (&json!([zoo]), &json!(false)));
    closed.store(false, Ordering::Relaxed);
    post(&chat, "lobby", 1).await;
    assert_eq!(ann.events().await, [activity(3, 3)]);
    assert_eq!(read(&mut ann, "lobby", 1).await["seq"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_list_opens_no_room_and_counts_those_that_are_not_open() {
    let chat = chat(limits());
    post(&chat, "lobby", 2).await;
    let mut ann = connect(&chat, "ann").await;
    for room in ["a", "lobby", "z"] {
        follow(&mut ann, room, true).await;
    }
    let mut first = ann.ask(json!({"type": "rooms", "limit": 2})).await;
    assert_eq!((first["rooms"].take(), &first["more"]), (summaries([("a", 0), ("lobby", 2)]), &json!(true)));
    let mut second = ann.ask(json!({"type": "rooms", "after": "lobby", "limit": 2})).await;
    assert_eq!((second["rooms"].take(), &second["more"]), (summaries([("z", 0)]), &json!(false)));
    assert_eq!(chat.counts().rooms, 1);
}

fn summaries<const N: usize>(rooms: [(&str, u64); N]) -> Value {
    let summary =
        |(room, unread)| json!({"room": room, "seq": unread, "read": 0, "unread": unread, "mentions": 0});
    rooms.map(summary).into_iter().collect()
}

#[tokio::test(start_paused = true)]
async fn a_store_without_markers_answers_unsupported() {
    let chat = Cluster::without_markers().node("n1");
    let mut ann = connect(&chat, "ann").await;
    let joined = ann.join("lobby").await;
    assert!(["read", "unread", "mentions"].iter().all(|field| joined[field].is_null()), "{joined}");
    let replies = [
        read(&mut ann, "lobby", 0).await,
        follow(&mut ann, "lobby", true).await,
        ann.ask(json!({"type": "rooms"})).await,
    ];
    assert!(replies.iter().all(|reply| reply["code"] == "unsupported"), "{replies:?}");
}

#[tokio::test(start_paused = true)]
async fn a_marker_reaches_the_connections_of_the_user_on_other_nodes() {
    let cluster = Cluster::new();
    let [n1, n2] = ["n1", "n2"].map(|name| cluster.builder(name).limits(limits()).build());
    expect_marker_to_reach_others(&n1, &n2).await;
}

#[tokio::test(start_paused = true)]
async fn a_follower_on_another_node_gets_activity_at_most_once_per_second() {
    let cluster = Cluster::new();
    let [n1, n2] = ["n1", "n2"].map(|name| cluster.builder(name).limits(limits()).build());
    let mut ann = follower(&n2, "ann").await;
    post(&n1, "lobby", 1).await;
    assert_eq!(ann.events().await, [activity(1, 1)], "the room is not open on the node of the follower");
    post(&n1, "lobby", 50).await;
    assert!(ann.events().await.is_empty());
    pass(3.0).await;
    assert_eq!(ann.events().await, [activity(51, 51)], "the last entry is counted too");
    pass(10.0).await;
    assert!(ann.events().await.is_empty());
    // A later entry is announced again.
    post(&n1, "lobby", 1).await;
    assert_eq!(ann.events().await, [activity(52, 52)]);
    pass(3.0).await;
    let mut other = connect(&n1, "ann").await;
    follow(&mut other, "lobby", false).await;
    settle().await;
    ann.events().await;
    post(&n1, "lobby", 1).await;
    pass(3.0).await;
    assert!(ann.events().await.is_empty(), "the user no longer follows the room on another node");
}

/// Creates the lobby with receipts. The owner is not in it.
async fn create_with_receipts(chat: &Chat) {
    let rules = RoomRules::default().with_receipts(true);
    let act = NewAct::new(User::new("42", "clock").expect("a user"), Act::Create { rules }).by_host();
    chat.govern(&"lobby".parse().expect("a room"), act).await.expect("created");
}

fn receipt(name: &str, seq: u64) -> Value {
    json!({"type": "read", "room": "lobby", "user": guest(name), "seq": seq})
}

#[tokio::test(start_paused = true)]
async fn receipts_go_to_the_other_users_once_per_second() {
    let cluster = Cluster::new();
    let [n1, n2] = ["n1", "n2"].map(|name| cluster.builder(name).limits(limits()).build());
    create_with_receipts(&n1).await;
    post(&n1, "lobby", 9).await;
    let (mut ann, mut bob, mut cid) =
        (member(&n1, "ann").await, member(&n1, "bob").await, member(&n2, "cid").await);
    for peer in [&mut ann, &mut bob, &mut cid] {
        peer.events().await;
    }
    for seq in 2..=5 {
        read(&mut ann, "lobby", seq).await;
    }
    for peer in [&mut bob, &mut cid] {
        assert_eq!(peer.events().await, [receipt("ann", 2)]);
    }
    pass(1.1).await;
    for peer in [&mut bob, &mut cid] {
        assert_eq!(peer.events().await, [receipt("ann", 5)]);
    }
    pass(9.0).await;
    for peer in [&mut ann, &mut bob, &mut cid] {
        assert!(peer.events().await.is_empty());
    }
    // A user who only follows the room is seen by nobody.
    let mut dan = follower(&n1, "dan").await;
    read(&mut dan, "lobby", 5).await;
    pass(2.0).await;
    assert!(bob.events().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_room_without_receipts_or_with_many_users_sends_none() {
    let few = limits().with(|limits| limits.rooms.presence_threshold = 1);
    for (limits, with_receipts) in [(limits(), false), (few, true)] {
        let chat = chat(limits);
        if with_receipts {
            create_with_receipts(&chat).await;
        }
        post(&chat, "lobby", 3).await;
        let (mut ann, mut bob) = (member(&chat, "ann").await, member(&chat, "bob").await);
        pass(2.0).await;
        bob.events().await;
        read(&mut ann, "lobby", 2).await;
        pass(2.0).await;
        assert!(bob.events().await.is_empty(), "{with_receipts}");
    }
}
