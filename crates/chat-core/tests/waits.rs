//! Rooms that wait to be opened: what ends the wait, and what does not wait for it.

use std::time::Duration;

use chat_core::{Chat, Limits, Range, Rate, RoomName, Text, User};
use chat_testkit::{Frame, Mode, Peer, Store, connect, member, pass, seconds_until, settle};
use futures_util::future::join_all;
use serde_json::{Value, json};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Limits under which each room is opened for itself, and nobody waits too long.
fn one_at_a_time() -> Limits {
    Limits::default().with(|limits| {
        limits.rooms.max_openings = 1;
        limits.rooms.opening_wait = seconds(1_000);
        limits.rooms.call_timeout = seconds(3);
        limits.connection.ping_interval = seconds(1_000_000);
    })
}

fn room(number: usize) -> RoomName {
    format!("room{number}").parse().expect("a name")
}

fn join(number: usize) -> Value {
    json!({"type": "join", "room": room(number)})
}

fn follow(number: usize) -> Value {
    json!({"type": "follow", "room": room(number), "on": true})
}

/// Connects users who each join a room of their own.
async fn joining(chat: &Chat, rooms: std::ops::Range<usize>) -> Vec<Peer> {
    let mut peers = Vec::new();
    for number in rooms {
        let peer = connect(chat, &format!("user{number}")).await;
        peer.send(join(number));
        settle().await;
        peers.push(peer);
    }
    peers
}

#[tokio::test(start_paused = true)]
async fn a_call_of_the_host_does_not_wait_at_the_place_of_a_user() {
    let (store, chat) = Store::with_chat(one_at_a_time());
    store.open(Mode::Slow(seconds(1)));
    let mut peers = joining(&chat, 0..5).await;
    let host = User::guest("host").expect("a name");
    let posted = seconds_until(async { chat.post(&room(4), &host, &Text::new("hi")).await.expect("stored") });
    let joined = seconds_until(async { assert_eq!(peers[4].event().await["type"], "joined") });
    let (posted, joined) = tokio::join!(posted, joined);
    assert!((0.9..1.1).contains(&posted) && (0.9..1.1).contains(&joined), "{posted} {joined}");
    pass(5.0).await;
    assert_eq!(store.opens(), 5, "the room gave up its place");
}

#[tokio::test(start_paused = true)]
async fn a_place_ends_with_the_last_call_that_waits() {
    let (store, chat) = Store::with_chat(one_at_a_time());
    store.open(Mode::Slow(seconds(1)));
    let peers = joining(&chat, 0..4).await;
    // Another user waits for room 3 too.
    let mut other = connect(&chat, "other").await;
    other.send(join(3));
    settle().await;
    peers[2].kill();
    peers[3].kill();
    let waited = seconds_until(async { assert_eq!(other.event().await["type"], "joined") }).await;
    assert!((2.9..3.1).contains(&waited), "{waited}");
    pass(5.0).await;
    assert_eq!(store.opens(), 3, "nobody waited for room 2");
}

#[tokio::test(start_paused = true)]
async fn a_room_is_opened_even_if_the_call_ends_after_its_turn() {
    let (store, chat) = Store::with_chat(one_at_a_time());
    store.open(Mode::Slow(seconds(1)));
    joining(&chat, 0..1).await[0].kill();
    pass(0.5).await;
    assert_eq!(connect(&chat, "other").await.ask(join(0)).await["type"], "joined");
    assert_eq!(store.opens(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_the_rate_is_a_part_of_the_wait() {
    let limits = Limits::default().with(|limits| {
        limits.rooms.opening_rate = Rate::new(1, 1);
        limits.rooms.opening_wait = seconds(2);
    });
    let (store, chat) = Store::with_chat(limits);
    let mut peers = Vec::new();
    for number in 0..7 {
        peers.push(connect(&chat, &format!("user{number}")).await);
    }
    let replies = join_all(peers.iter_mut().enumerate().map(|(number, peer)| peer.ask(join(number))));
    let mut joined = 0;
    let waited = seconds_until(async {
        let replies = replies.await;
        joined = replies.iter().filter(|reply| reply["type"] == "joined").count();
        let codes = replies.iter().filter(|reply| reply["type"] == "error").map(|reply| &reply["code"]);
        assert!(codes.into_iter().all(|code| code == "unavailable"), "{replies:?}");
    });
    let waited = waited.await;
    assert_eq!((joined, chat.stats().openings_refused), (3, 4));
    assert!((1.9..2.1).contains(&waited), "{waited}");
    // Those that were refused cost no token.
    let waited = seconds_until(async { assert_eq!(peers[6].ask(join(6)).await["type"], "joined") }).await;
    assert!((0.9..1.1).contains(&waited), "{waited}");
    assert_eq!(store.opens(), 4);
}

#[tokio::test(start_paused = true)]
async fn each_call_that_was_refused_counts() {
    let limits = one_at_a_time().with(|limits| {
        limits.rooms.opening_wait = seconds(1);
        limits.rooms.max_waiting_openings = 1;
    });
    let (store, chat) = Store::with_chat(limits);
    store.open(Mode::Hangs);
    let _running = joining(&chat, 0..1).await;
    let (mut ann, mut bob) = (connect(&chat, "ann").await, connect(&chat, "bob").await);
    // Both wait at one place.
    let (ann, bob) = tokio::join!(ann.ask(join(1)), bob.ask(join(1)));
    assert!(ann["retry_after_ms"].is_number() && bob["retry_after_ms"].is_number(), "{ann} {bob}");
    assert_eq!(chat.stats().openings_refused, 2);
    let mut cid = connect(&chat, "cid").await;
    let followed = cid.ask(follow(2)).await;
    assert_eq!((&followed["code"], chat.stats().openings_refused), (&json!("unavailable"), 3));
}

#[tokio::test(start_paused = true)]
async fn a_message_after_a_join_that_waits_is_stored_before_the_peer_is_gone() {
    let limits = one_at_a_time().with(|limits| limits.rooms.opening_wait = seconds(10));
    let (store, chat) = Store::with_chat(limits);
    store.open(Mode::Slow(seconds(2)));
    let _earlier = joining(&chat, 0..4).await;
    let mut ann = connect(&chat, "ann").await;
    ann.send(join(9));
    ann.send(json!({"type": "send", "room": room(9), "body": {"text": "hi"}}));
    ann.close(1000);
    let waited = seconds_until(ann.until_gone()).await;
    assert!((9.9..10.1).contains(&waited), "{waited}");
    let page = chat.history(&room(9), Range::After { seq: 0, limit: 9 }).await.expect("a page");
    assert_eq!(page.messages.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_rooms_that_have_no_turn() {
    let (store, chat) = Store::with_chat(one_at_a_time());
    store.open(Mode::Slow(seconds(2)));
    let mut peers = joining(&chat, 0..3).await;
    let draining = chat.clone();
    let drained = tokio::spawn(async move { draining.drain(seconds(20)).await });
    for (number, expected) in [(1, "error"), (2, "error"), (0, "joined")] {
        let mut frames = Vec::new();
        let waited = seconds_until(async { frames = peers[number].until_gone().await }).await;
        let Some(Frame::Text(reply)) = frames.first() else { panic!("{frames:?}") };
        let reply: Value = serde_json::from_str(reply).expect("JSON");
        assert_eq!(reply["type"], expected, "{reply}");
        let expected = if number == 0 { 1.9..2.1 } else { -0.1..0.1 };
        assert!(expected.contains(&waited), "{waited}");
    }
    assert_eq!(drained.await.map(|drained| drained.abandoned).ok(), Some(0));
    assert_eq!(store.opens(), 1);
}

fn slow_rooms() -> Limits {
    one_at_a_time()
        .with(|limits| (limits.rooms.opening_wait, limits.rooms.call_timeout) = (seconds(4), seconds(5)))
}

async fn following(chat: &Chat, rooms: usize) -> Peer {
    let mut peer = connect(chat, "ann").await;
    for number in 0..rooms {
        assert_eq!(peer.ask(follow(number)).await["type"], "done");
    }
    peer
}

#[tokio::test(start_paused = true)]
async fn a_list_ends_in_time_and_the_next_one_continues_it() {
    let (store, chat) = Store::with_chat(slow_rooms());
    let mut ann = following(&chat, 8).await;
    store.open(Mode::Slow(seconds(2)));
    let mut listed = Vec::new();
    for _ in 0..4 {
        let after = listed.last().map_or(json!({}), |last| json!({"after": last}));
        let mut command = json!({"type": "rooms"});
        command.as_object_mut().expect("an object").extend(after.as_object().cloned().unwrap_or_default());
        let mut page = Value::Null;
        let waited = seconds_until(async { page = ann.ask(command).await }).await;
        assert!(waited < 9.1, "{waited}");
        let rooms = page["rooms"].as_array().expect("a page");
        listed.extend(rooms.iter().map(|summary| summary["room"].clone()));
        assert_eq!(page["more"], listed.len() < 8, "{page}");
    }
    assert_eq!(listed, (0..8).map(|number| json!(room(number))).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_list_without_a_room_in_time_is_unavailable() {
    let (store, chat) = Store::with_chat(slow_rooms());
    let mut ann = following(&chat, 20).await;
    store.open(Mode::Hangs);
    let waited =
        seconds_until(async { assert_eq!(ann.ask(json!({"type": "rooms"})).await["code"], "unavailable") });
    let waited = waited.await;
    assert!((4.4..4.6).contains(&waited), "{waited}");
}

#[tokio::test(start_paused = true)]
async fn rooms_that_wait_to_be_opened_do_not_delay_the_activity_of_others() {
    let limits = one_at_a_time().with(|limits| {
        limits.rooms.call_timeout = seconds(100);
        limits.rooms.max_idle = 0;
    });
    let (store, chat) = Store::with_chat(limits);
    let (mut bob, mut cid) = (member(&chat, "bob").await, connect(&chat, "cid").await);
    assert_eq!(cid.ask(json!({"type": "follow", "room": "lobby", "on": true})).await["type"], "done");
    let _ann = following(&chat, 4).await;
    let host = User::guest("host").expect("a name");
    // The first message is counted at once, and the second one a second later. All rooms but one are not open then.
    for _ in 0..2 {
        for number in 0..4 {
            chat.post(&room(number), &host, &Text::new("hi")).await.expect("stored");
        }
        settle().await;
    }
    assert_eq!(chat.counts().rooms, 2, "the lobby and the last one");
    store.open(Mode::Slow(seconds(50)));
    let _running = joining(&chat, 9..10).await;
    pass(1.5).await;
    cid.events().await;
    assert_eq!(
        bob.ask(json!({"type": "send", "room": "lobby", "body": {"text": "hi"}})).await["type"],
        "sent"
    );
    let waited = seconds_until(async { assert_eq!(cid.event().await["type"], "activity") }).await;
    assert!(waited < 1.1, "{waited}");
}
