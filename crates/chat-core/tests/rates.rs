//! The rates of commands and of bytes.

use chat_core::{Chat, Limits, Rate};
use chat_testkit::{Peer, chat, connect, member, pass, seqs, settle};
use serde_json::{Value, json};

/// Sends pings at once. Returns the numbers of pongs and of refusals.
async fn burst(peer: &mut Peer, count: usize) -> (usize, usize) {
    for number in 0..count {
        peer.send(json!({"type": "ping", "ref": number.to_string()}));
    }
    let replies = peer.events().await;
    assert_eq!(replies.len(), count, "each command has one reply");
    for (number, reply) in replies.iter().enumerate() {
        assert_eq!(reply["ref"], number.to_string(), "{reply}");
    }
    let pongs = replies.iter().filter(|reply| reply["type"] == "pong").count();
    let refused = replies.iter().filter(|reply| is_refusal(reply)).count();
    (pongs, refused)
}

fn is_refusal(reply: &Value) -> bool {
    reply["code"] == "rate_limited" && reply["retry_after_ms"].as_u64().is_some_and(|wait| wait > 0)
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_commands_beyond_the_rate_is_refused_with_the_time_to_wait() {
    let chat = Chat::default();
    let mut ann = connect(&chat, "ann").await;
    assert_eq!(burst(&mut ann, 300).await, (200, 100));
    pass(1.0).await;
    assert_eq!(burst(&mut ann, 60).await, (50, 10));
    assert_eq!(ann.closed_with(), None);
}

#[tokio::test(start_paused = true)]
async fn the_connections_of_a_user_share_a_rate_also_after_a_reconnect() {
    let chat = Chat::default();
    for pongs in [200, 200, 0] {
        let mut ann = connect(&chat, "ann").await;
        assert_eq!(burst(&mut ann, 200).await, (pongs, 200 - pongs));
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
