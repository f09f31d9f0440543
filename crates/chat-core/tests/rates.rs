//! The rates of commands and of bytes.

use std::time::Duration;

use chat_core::{Chat, Incoming, Limits, Rate, RoomName, Text, User};
use chat_testkit::{
    Frame, Mode, Peer, Store, chat, connect, lobby, member, members, pass, seconds_until, seqs, settle,
};
use serde_json::{Value, json};

/// Sends pings at once, and waits for their replies. Returns the numbers of pongs and of refusals.
async fn burst(peer: &mut Peer, count: usize) -> (usize, usize) {
    for number in 0..count {
        peer.send(json!({"type": "ping", "ref": number.to_string()}));
    }
    replies(peer, count).await
}

/// Waits for the replies to numbered pings. Returns the numbers of pongs and of refusals.
async fn replies(peer: &mut Peer, count: usize) -> (usize, usize) {
    let (mut pongs, mut refused) = (0, 0);
    for number in 0..count {
        let reply = peer.event().await;
        assert_eq!(reply["ref"], number.to_string(), "{reply}");
        pongs += usize::from(reply["type"] == "pong");
        refused += usize::from(is_refusal(&reply));
    }
    (pongs, refused)
}

fn is_refusal(reply: &Value) -> bool {
    reply["code"] == "rate_limited" && reply["retry_after_ms"].as_u64().is_some_and(|wait| wait > 0)
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_commands_beyond_the_rate_is_refused_with_the_time_to_wait() {
    let chat = Chat::default();
    let mut ann = connect(&chat, "ann").await;
    assert_eq!(burst(&mut ann, 202).await, (200, 2));
    pass(1.0).await;
    assert_eq!(burst(&mut ann, 52).await, (50, 2));
    assert_eq!(ann.closed_with(), None);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_wait_as_told_is_read_at_its_rate_and_loses_no_command() {
    // No ping may interrupt the replies: a peer that is not read is not silent.
    let chat = chat(Limits::default().with(|limits| {
        limits.connection.ping_interval = Duration::from_millis(60);
        limits.connection.ping_timeout = Duration::from_millis(10);
    }));
    let mut ann = connect(&chat, "ann").await;
    for number in 0..300 {
        ann.send(json!({"type": "ping", "ref": number.to_string()}));
    }
    settle().await;
    assert_eq!(ann.unread(), 98, "the second refusal is early");
    pass(0.09).await;
    assert_eq!(ann.unread(), 98);
    pass(0.02).await;
    assert_eq!(ann.unread(), 91, "5 commands are served, and 2 are refused");
    let (pongs, refused) = replies(&mut ann, 300).await;
    assert!((260..=275).contains(&pongs) && pongs + refused == 300, "{pongs} pongs, {refused} refusals");
    assert_eq!(ann.closed_with(), None);
}

#[tokio::test(start_paused = true)]
async fn a_pause_in_reading_delays_the_end_of_a_session_by_half_a_second_at_most() {
    let chat = chat(Limits::default().with(|limits| limits.rates.connection = Rate::new(1, 1)));
    for ending in [Incoming::Close(Some(1000)), Incoming::End] {
        let mut ann = connect(&chat, "ann").await;
        assert_eq!(burst(&mut ann, 3).await, (1, 2));
        ann.incoming(ending);
        assert!(seconds_until(ann.until_gone()).await < 0.6);
        assert_eq!(ann.closed_with(), Some(None));
    }
    let mut ann = connect(&chat, "ann").await;
    assert_eq!(burst(&mut ann, 3).await, (1, 2));
    let drained = seconds_until(async { assert_eq!(chat.drain(Duration::from_secs(9)).await.abandoned, 0) });
    assert!(drained.await < 0.1);
    assert_eq!(ann.closed_with(), Some(Some(1012)));
}

#[tokio::test(start_paused = true)]
async fn the_connections_of_a_user_share_a_rate_also_after_a_reconnect() {
    let chat = Chat::default();
    for (pongs, refused) in [(200, 0), (200, 0), (0, 2)] {
        let mut ann = connect(&chat, "ann").await;
        assert_eq!(burst(&mut ann, pongs + refused).await, (pongs, refused));
    }
    let mut bob = connect(&chat, "bob").await;
    assert_eq!(burst(&mut bob, 200).await, (200, 0), "another user has tokens of its own");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_ignores_the_rate_is_closed_with_4002_and_can_resume() {
    let chat = Chat::default();
    let ann = member(&chat, "ann").await;
    ann.say("first");
    let mut seconds = 0;
    while ann.closed_with().is_none() {
        for _ in 0..100 {
            ann.send(json!({"type": "ping"}));
        }
        pass(0.5).await;
        seconds += 1;
        assert!(seconds < 100, "the flood goes on without a close");
    }
    assert_eq!(ann.closed_with(), Some(Some(4002)));
    let mut back = connect(&chat, "ann").await;
    pass(5.0).await;
    let joined = back.ask(json!({"type": "join", "room": "lobby", "last": 1})).await;
    assert_eq!(joined["type"], "joined", "{joined}");
    assert_eq!(seqs(&back.events().await), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_too_many_bytes_is_read_at_its_rate() {
    let chat = chat(Limits::default().with(|limits| {
        limits.rates.connection = Rate::UNLIMITED;
        limits.rates.user = Rate::UNLIMITED;
        limits.rates.read_bytes = Rate::new(1_000, 20_000);
    }));
    let mut flood = connect(&chat, "flood").await;
    let mut ann = member(&chat, "ann").await;
    let ping = format!(r#"{{"type":"ping","pad":"{}"}}"#, "x".repeat(1_000 - 64 - 24));
    for _ in 0..100 {
        flood.text(ping.clone());
    }
    settle().await;
    let read = 100 - flood.unread();
    assert!((20..=21).contains(&read), "{read} frames of 1,000 bytes in a burst of 20,000");
    ann.say("hello");
    assert_eq!(ann.event().await["type"], "message", "another connection is served");
    pass(60.0).await;
    let read = 100 - flood.unread();
    assert!((80..=81).contains(&read), "{read} frames after 60 s of one frame each");
    assert_eq!(flood.closed_with(), None, "a peer that is read slowly is not silent");
    pass(20.0).await;
    assert_eq!(flood.unread(), 0);
    assert_eq!(flood.events().await.iter().filter(|event| event["type"] == "pong").count(), 100);
}

/// Returns a chat with a room of 20 messages of about 1,000 bytes, in which one connection may ask for 10,000 bytes at
/// once and for 1,000 per second.
async fn replies_at_one_message_per_second(tail_events: usize) -> Chat {
    let chat = chat(limited_replies(1_000, tail_events));
    post_20(&chat, &lobby()).await;
    chat
}

fn limited_replies(bytes_per_second: u32, tail_events: usize) -> Limits {
    Limits::default().with(|limits| {
        limits.rates.connection = Rate::UNLIMITED;
        limits.rates.user = Rate::UNLIMITED;
        limits.rates.reply_bytes = Rate::new(bytes_per_second, 10_000);
        limits.rooms.tail_events = tail_events;
        limits.wire.max_batch_bytes = 1_500;
    })
}

/// Posts 20 messages of about 1,000 bytes.
async fn post_20(chat: &Chat, room: &RoomName) {
    for _ in 0..20 {
        let text = Text::new("x".repeat(900));
        chat.post(room, &User::guest("host").expect("a name"), &text).await.expect("a message");
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_of_members_that_had_to_wait_has_each_user_whose_presence_came_before_it() {
    let chat = replies_at_one_message_per_second(256).await;
    let [mut greedy] = members(&chat, ["greedy"]).await;
    for _ in 0..15 {
        greedy.send(json!({"type": "history", "room": "lobby", "before": 21, "limit": 1}));
    }
    greedy.send(json!({"type": "members", "room": "lobby"}));
    let (mut guests, mut told) = (Vec::new(), Vec::new());
    let listed = 'listed: loop {
        guests.push(member(&chat, &format!("u{}", guests.len())).await);
        pass(0.5).await;
        for event in greedy.events().await {
            match event["type"].as_str() {
                Some("members") => break 'listed event,
                Some("presence") => told.push(event["user"].clone()),
                _ => assert!(guests.len() < 40, "no list: {event}"),
            }
        }
    };
    let listed = listed["members"].as_array().expect("users");
    assert!(told.len() > 2 && told.iter().all(|user| listed.contains(user)), "{told:?} {listed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_for_too_many_bytes_is_answered_at_its_rate_and_gets_live_events_at_once() {
    let chat = replies_at_one_message_per_second(256).await;
    let [mut greedy, ann] = members(&chat, ["greedy", "ann"]).await;
    greedy.events().await;
    for _ in 0..200 {
        greedy.send(json!({"type": "history", "room": "lobby", "before": 21, "limit": 1}));
    }
    let pages = |events: &[Value]| events.iter().filter(|event| event["type"] == "history").count();
    let first = pages(&greedy.events().await);
    assert!((8..=11).contains(&first), "{first} pages in a burst of 10,000 bytes");
    ann.say("hello");
    let events = greedy.events().await;
    assert!(events.iter().any(|event| event["body"]["text"] == "hello"), "{events:?}");
    pass(20.0).await;
    let later = pages(&greedy.events().await);
    assert!((15..=21).contains(&later), "{later} pages in 20 s");
    assert!(greedy.unread() > 90, "commands beyond the backlog are not read");
    assert_eq!(greedy.closed_with(), None);
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_the_rate_of_replies() {
    let chat = replies_at_one_message_per_second(256).await;
    let [mut greedy, _] = members(&chat, ["greedy", "ann"]).await;
    for _ in 0..40 {
        greedy.send(json!({"type": "history", "room": "lobby", "before": 21, "limit": 1}));
    }
    greedy.say("last");
    greedy.events().await;
    pass(0.1).await;
    let drain = chat.clone();
    let drain = tokio::spawn(async move { drain.drain(Duration::from_secs(20)).await });
    let mut frames = Vec::new();
    let waited = seconds_until(async { frames = greedy.until_gone().await }).await;
    assert!(waited < 2.0, "{waited} s");
    let is_sent = |frame: &Frame| matches!(frame, Frame::Text(text) if text.contains("\"type\":\"sent\""));
    assert!(frames.iter().any(is_sent), "the accepted message is answered");
    assert_eq!(drain.await.map(|drained| drained.abandoned).ok(), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_replay_runs_at_the_rate_of_its_connection_beside_live_events() {
    // The replay is read from the log, or taken from the tail of the room.
    for tail_events in [1, 256] {
        let chat = replies_at_one_message_per_second(tail_events).await;
        let mut greedy = connect(&chat, "greedy").await;
        greedy.join("hall").await;
        let joined = greedy.ask(json!({"type": "join", "room": "lobby", "last": 20})).await;
        assert_eq!(joined["seq"], 20, "{joined}");
        let first = seqs(&greedy.events().await).len();
        assert!((8..=12).contains(&first), "{first} messages in a burst of 10,000 bytes");
        let host = User::guest("host").expect("a name");
        chat.post(&"hall".parse().expect("a name"), &host, &Text::new("hello")).await.expect("a message");
        assert_eq!(seqs(&greedy.events().await), [1], "a live event of another room");
        assert!(seconds_until(greedy.ask(json!({"type": "ping"}))).await < 2.1);
        pass(5.0).await;
        let later = seqs(&greedy.events().await).len();
        assert!((3..=8).contains(&later), "{later} messages in 5 s");
        pass(10.0).await;
        assert_eq!(seqs(&greedy.events().await).last(), Some(&20));
        chat.post(&lobby(), &host, &Text::new("hello")).await.expect("a message");
        assert_eq!(seqs(&greedy.events().await), [21], "a live event after the replay");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_waits_for_the_read_of_another_log_and_for_the_rate_continues_afterwards() {
    // The peer may ask for more bytes again after 10 s. The read ends before that, or later. Without a rate, only the
    // read makes the replay wait.
    for (rate, read_time) in [(100, 3), (100, 30), (0, 3)] {
        let limits = limited_replies(rate, 1).with(|limits| limits.connection.ping_interval *= 100);
        let (store, chat) = Store::with_chat(limits);
        let rooms = ["lobby", "hall"].map(|name| name.parse::<RoomName>().expect("a name"));
        for room in &rooms {
            post_20(&chat, room).await;
        }
        let mut greedy = connect(&chat, "greedy").await;
        store.read(Mode::Slow(Duration::from_secs(read_time)));
        greedy.ask(json!({"type": "join", "room": "lobby", "last": 20})).await;
        settle().await;
        assert_eq!(store.reads(), 1, "the log of the lobby is being read");
        store.read(Mode::Works);
        greedy.ask(json!({"type": "join", "room": "hall", "last": 20})).await;
        for _ in 0..11 {
            greedy.send(json!({"type": "history", "room": "hall", "before": 21, "limit": 1}));
        }
        let events = greedy.events().await;
        assert!(events.iter().all(|event| event["type"] == "history"), "{events:?}");
        pass(600.0).await;
        let events = greedy.events().await;
        for room in &rooms {
            let of_room = |event: &&Value| event["type"] == "message" && event["room"] == room.as_str();
            let seqs: Vec<_> =
                events.iter().filter(of_room).filter_map(|event| event["seq"].as_u64()).collect();
            assert_eq!(
                seqs,
                (1..=20).collect::<Vec<_>>(),
                "{room} after {read_time} s at {rate} bytes per second"
            );
        }
    }
}
