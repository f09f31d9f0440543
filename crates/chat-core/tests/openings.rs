//! Storms of joins: the queue of rooms that are opened, its bound, and the times at which clients are told to return.

use std::time::Duration;

use chat_core::{Chat, Decision, Endpoint, Limits, Rate, Text, User};
use chat_testkit::{
    Cluster, Mode, Peer, Store, connect, guarded, handshake, lobby, member, pass, seconds_until, settle,
};
use futures_util::future::join_all;
use serde_json::{Value, json};

/// Limits under which each room is opened for itself, and nobody waits too long.
fn one_at_a_time() -> Limits {
    Limits::default().with(|limits| {
        limits.rooms.max_openings = 1;
        limits.rooms.opening_wait = Duration::from_secs(1_000);
        limits.rooms.call_timeout = Duration::from_secs(3);
        limits.connection.ping_interval = Duration::from_secs(1_000_000);
    })
}

fn join(room: usize) -> Value {
    json!({"type": "join", "room": format!("room{room}")})
}

async fn users(chat: &Chat, count: usize) -> Vec<Peer> {
    let mut peers = Vec::new();
    for number in 0..count {
        peers.push(connect(chat, &format!("user{number}")).await);
    }
    peers
}

/// Joins a room of its own with each peer at the same time. Returns the replies.
async fn join_all_rooms(peers: &mut [Peer]) -> Vec<Value> {
    join_all(peers.iter_mut().enumerate().map(|(room, peer)| peer.ask(join(room)))).await
}

#[tokio::test(start_paused = true)]
async fn a_join_of_an_open_room_asks_the_store_nothing() {
    let (store, chat) = Store::with_chat(Limits::default());
    store.know_bounds(u64::MAX);
    let mut first = member(&chat, "first").await;
    let epoch = first.join("lobby").await["epoch"].clone();
    assert_eq!(first.ask(json!({"type": "send", "room": "lobby", "body": {"text": "hi"}})).await["seq"], 1);
    for number in 0..20 {
        let mut peer = connect(&chat, &format!("user{number}")).await;
        let joined = peer.join("lobby").await;
        assert_eq!((&joined["seq"], &joined["recovered"]), (&json!(1), &json!(true)));
        let resume = json!({"type": "join", "room": "lobby", "after": {"epoch": epoch, "seq": 1}});
        let mut other = connect(&chat, "other").await;
        assert_eq!(other.ask(resume).await["recovered"], true);
    }
    assert_eq!((store.opens(), store.bounds_asked(), store.reads(), store.standings()), (1, 0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_knows_more_than_the_node_is_answered_by_the_store() {
    let (store, chat) = Store::with_chat(Limits::default());
    let mut ann = member(&chat, "ann").await;
    let epoch = ann.join("lobby").await["epoch"].clone();
    // As if another node had stored the message, and its report were late.
    store.pause_reports(true);
    store.append(Mode::StoresAndFails);
    store.know_bounds(0);
    let send = json!({"type": "send", "room": "lobby", "body": {"text": "hi"}});
    assert_eq!(ann.ask(send).await["code"], "unavailable");
    let asked = store.bounds_asked();
    let mut bob = connect(&chat, "bob").await;
    let resume = json!({"type": "join", "room": "lobby", "after": {"epoch": epoch, "seq": 1}});
    let joined = bob.ask(resume).await;
    assert_eq!((&joined["seq"], &joined["recovered"]), (&json!(1), &json!(true)), "{joined}");
    assert_eq!(store.bounds_asked(), asked + 1);
    let mut cid = connect(&chat, "cid").await;
    let resume = json!({"type": "join", "room": "lobby", "after": {"epoch": "another", "seq": 0}});
    assert_eq!(cid.ask(resume).await["recovered"], false);
    assert_eq!(store.bounds_asked(), asked + 2);
}

#[tokio::test(start_paused = true)]
async fn a_join_uses_no_older_bounds_than_the_room_has() {
    let (store, chat) = Store::with_chat(Limits::default());
    let mut ann = member(&chat, "ann").await;
    for seq in 1..=2 {
        let sent = ann.ask(json!({"type": "send", "room": "lobby", "body": {"text": "hi"}})).await;
        assert_eq!(sent["seq"], seq);
    }
    // They might lack a pin that the room has already sent.
    store.know_bounds(1);
    let asked = store.bounds_asked();
    assert_eq!(connect(&chat, "bob").await.join("lobby").await["seq"], 2);
    assert_eq!(ann.join("lobby").await["seq"], 2);
    assert_eq!(store.bounds_asked(), asked + 2);
}

#[tokio::test(start_paused = true)]
async fn a_room_that_waits_to_be_opened_does_not_time_out() {
    let (store, chat) = Store::with_chat(one_at_a_time());
    store.open(Mode::Slow(Duration::from_secs(1)));
    let mut peers = users(&chat, 30).await;
    let mut replies = Vec::new();
    let waited = seconds_until(async { replies = join_all_rooms(&mut peers).await }).await;
    assert!(replies.iter().all(|reply| reply["type"] == "joined"), "{replies:?}");
    assert!((30.0..30.1).contains(&waited), "{waited}");
    assert_eq!((store.opens(), chat.stats().store_timeouts), (30, 0));
}

#[tokio::test(start_paused = true)]
async fn rooms_are_opened_at_their_rate() {
    let limits = Limits::default().with(|limits| limits.rooms.opening_rate = Rate::new(10, 5));
    let (store, chat) = Store::with_chat(limits);
    let mut peers = users(&chat, 25).await;
    let mut replies = Vec::new();
    let waited = seconds_until(async { replies = join_all_rooms(&mut peers).await }).await;
    assert!(replies.iter().all(|reply| reply["type"] == "joined"), "{replies:?}");
    assert!((2.0..2.1).contains(&waited), "5 at once, and 20 at 10 per second: {waited}");
    assert_eq!(store.opens(), 25);
    // A room that is open costs no token.
    let waited = seconds_until(join_all(peers.iter_mut().map(|peer| peer.ask(join(0))))).await;
    assert!(waited < 0.1, "{waited}");
}

#[tokio::test(start_paused = true)]
async fn users_take_turns_and_the_host_does_not_wait() {
    let (store, chat) = Store::with_chat(one_at_a_time());
    store.open(Mode::Slow(Duration::from_secs(1)));
    let mut many = Vec::new();
    for room in 0..6 {
        many.push(connect(&chat, "ann").await);
        many[room].send(join(room));
    }
    let mut bob = connect(&chat, "bob").await;
    settle().await;
    let user = User::guest("host").expect("a name");
    let posted = seconds_until(async { chat.post(&lobby(), &user, &Text::new("hi")).await.expect("stored") });
    let joined = seconds_until(async { assert_eq!(bob.ask(join(9)).await["type"], "joined") });
    let (posted, joined) = tokio::join!(posted, joined);
    assert!((0.9..1.1).contains(&posted), "{posted}");
    assert!((1.9..2.1).contains(&joined), "after the one of ann that was being opened: {joined}");
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_opened_for_one_call_waits_for_its_turn() {
    let (store, chat) = Store::with_chat(one_at_a_time());
    store.open(Mode::Slow(Duration::from_secs(1)));
    let (ann, mut bob) = (connect(&chat, "ann").await, connect(&chat, "bob").await);
    ann.send(join(0));
    settle().await;
    let waited = seconds_until(async {
        let followed = bob.ask(json!({"type": "follow", "room": "room1", "on": true})).await;
        assert_eq!(followed["type"], "done", "{followed}");
    });
    let waited = waited.await;
    // After the room of ann, the rules of the other room are read.
    assert!((1.9..2.1).contains(&waited), "{waited}");
}

#[tokio::test(start_paused = true)]
async fn a_join_beyond_the_queue_is_told_when_to_return() {
    let limits = one_at_a_time().with(|limits| {
        limits.rooms.max_waiting_openings = 4;
        limits.rooms.opening_rate = Rate::new(2, 2);
    });
    let (store, chat) = Store::with_chat(limits);
    store.open(Mode::Slow(Duration::from_secs(1)));
    let mut peers = users(&chat, 9).await;
    let replies = join_all_rooms(&mut peers).await;
    let refused: Vec<_> = replies.iter().filter(|reply| reply["type"] == "error").collect();
    assert_eq!(replies.len() - refused.len(), 5, "{replies:?}");
    let codes_and_rooms =
        refused.iter().all(|reply| reply["code"] == "unavailable" && reply["room"].is_string());
    assert!(codes_and_rooms, "{refused:?}");
    // Each has a time of its own, as many per second as rooms are opened.
    let mut waits: Vec<_> = refused.iter().filter_map(|reply| reply["retry_after_ms"].as_u64()).collect();
    waits.sort_unstable();
    assert_eq!(waits, [1_000, 1_500, 2_000, 2_500]);
    assert_eq!((store.opens(), chat.stats().openings_refused), (5, 4));
    let mut late = peers.pop().expect("a peer");
    assert_eq!(late.ask(join(8)).await["type"], "joined");
}

#[tokio::test(start_paused = true)]
async fn one_user_has_a_quarter_of_the_queue() {
    let limits = one_at_a_time().with(|limits| limits.rooms.max_waiting_openings = 8);
    let (store, chat) = Store::with_chat(limits);
    store.open(Mode::Slow(Duration::from_secs(1)));
    let mut peers = Vec::new();
    for _ in 0..4 {
        peers.push(connect(&chat, "ann").await);
    }
    let replies = join_all_rooms(&mut peers).await;
    let joined = replies.iter().filter(|reply| reply["type"] == "joined").count();
    assert_eq!(joined, 3, "one at once, and two that wait: {replies:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_ends_the_wait() {
    let limits = one_at_a_time().with(|limits| limits.rooms.opening_wait = Duration::from_secs(5));
    let (store, chat) = Store::with_chat(limits);
    store.open(Mode::Hangs);
    let mut peers = users(&chat, 3).await;
    let mut replies = Vec::new();
    let waited = seconds_until(async { replies = join_all_rooms(&mut peers).await }).await;
    assert!(replies.iter().all(|reply| reply["code"] == "unavailable"), "{replies:?}");
    assert!((5.9..6.1).contains(&waited), "the second waits 3 s and hangs 3 s: {waited}");
}

#[tokio::test(start_paused = true)]
async fn the_advice_of_a_drain_grows_with_the_crowd() {
    let limits = Limits::default().with(|limits| {
        limits.http.returns_per_second = 2;
        limits.http.max_retry_after = Duration::from_secs(10);
    });
    let chat = chat_testkit::chat(limits);
    let mut peers = users(&chat, 30).await;
    let draining = chat.clone();
    let drained = tokio::spawn(async move { draining.drain(Duration::from_secs(20)).await });
    let mut waits = Vec::new();
    for peer in &mut peers {
        waits.push(peer.event().await["reconnect_in_ms"].as_u64().expect("a number"));
    }
    assert!(drained.await.is_ok_and(|drained| drained.abandoned == 0));
    waits.sort_unstable();
    assert!(waits.iter().all(|wait| (2_000..=10_000).contains(wait)), "{waits:?}");
    // No two seconds of the eight have more than two thirds of the crowd.
    let densest =
        waits.iter().map(|first| waits.iter().filter(|wait| (*first..first + 2_000).contains(wait)).count());
    assert!(densest.max().is_some_and(|most| most <= 20), "{waits:?}");
    // It is spread over all of the time, to which each connection adds its part.
    assert!(waits[0] < 4_000 && waits[29] >= 8_000, "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn the_advice_of_a_full_server_grows_with_the_crowd_and_becomes_short_again() {
    let limits = Limits::default().with(|limits| {
        limits.connection.max_connections = 0;
        limits.http.returns_per_second = 1;
        limits.http.max_retry_after = Duration::from_secs(4);
    });
    let endpoint = Endpoint::new(chat_testkit::chat(limits));
    let retry_after = || async {
        let Decision::Answer(answer) = endpoint.handle(&handshake("/ws"), &guarded()).await else {
            panic!("an upgrade")
        };
        assert_eq!(answer.status(), 503);
        let mut advice = answer.headers().iter().filter(|(name, _)| *name == "retry-after");
        let (_, value) = advice.next().expect("advice");
        assert!(advice.next().is_none());
        value.parse::<u64>().expect("seconds")
    };
    let mut waits = Vec::new();
    for _ in 0..5 {
        waits.push(retry_after().await);
    }
    assert_eq!(waits, [2, 3, 4, 2, 3]);
    pass(60.0).await;
    assert_eq!(retry_after().await, 2);
}

#[tokio::test(start_paused = true)]
async fn the_advice_of_a_drain_is_within_the_grace_of_other_nodes() {
    // Without a grace, users leave at once, and the advice is that of a single server.
    for (grace, advice) in [(0, 2_000..=30_000), (2, 1_000..=1_500), (4, 2_000..=3_000), (10, 2_000..=7_500)]
    {
        let limits = Limits::default().with(|limits| {
            limits.nodes.leave_grace = Duration::from_secs(grace);
            limits.http.returns_per_second = 2;
        });
        let chat = Cluster::new().builder("a").limits(limits).build();
        let mut peers = Vec::new();
        for number in 0..40 {
            peers.push(connect(&chat, &format!("user{number}")).await);
        }
        let draining = chat.clone();
        let drained = tokio::spawn(async move { draining.drain(Duration::from_secs(20)).await });
        let mut waits = Vec::new();
        for peer in &mut peers {
            waits.push(peer.event().await["reconnect_in_ms"].as_u64().expect("a number"));
        }
        assert!(waits.iter().all(|wait| advice.contains(wait)), "{grace}: {waits:?}");
        // The crowd is spread over most of the time.
        let (first, last) = (waits.iter().min().copied(), waits.iter().max().copied());
        let spread = last.unwrap_or_default() - first.unwrap_or_default();
        let all = (advice.end() - advice.start()).min(20_000);
        assert!(spread > all * 6 / 10, "{grace}: {waits:?}");
        assert!(drained.await.is_ok());
    }
}
