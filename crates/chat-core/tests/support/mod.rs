//! What the tests share: a connection in memory, the peer that the test plays on its other side, and the way
//! to a session.

#![allow(dead_code, reason = "every test file uses another part of this")]

use std::future::Future;
use std::time::Duration;

use chat_core::{Chat, Decision, Endpoint, Limits, Message, RequestHead, RoomName, Ticket, Version, Watch};
use serde_json::{Value, json};

pub(crate) mod peer;
pub(crate) mod store;
pub(crate) mod wire;

#[allow(unused_imports, reason = "see above")]
pub(crate) use {peer::Peer, wire::Frame};

const HEADERS: [(&str, &[u8]); 5] = [
    ("Host", b"chat.example"),
    ("Connection", b"Upgrade"),
    ("Upgrade", b"websocket"),
    ("Sec-WebSocket-Version", b"13"),
    ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
];

/// A handshake that nothing is wrong with.
pub(crate) fn handshake(target: &str) -> RequestHead<'_> {
    RequestHead { method: "GET", version: Version::Http11, target, headers: HEADERS.to_vec() }
}

/// A request that asks for no upgrade.
pub(crate) fn plain<'a>(method: &'a str, target: &'a str) -> RequestHead<'a> {
    RequestHead { method, version: Version::Http11, target, headers: HEADERS[..1].to_vec() }
}

/// A chat with these limits, its rooms in memory.
pub(crate) fn chat(limits: Limits) -> Chat {
    Chat::builder().limits(limits).build()
}

/// Asks for an upgrade, which is granted; the 101 has not passed the watch yet.
pub(crate) fn ticket<M: Message>(chat: &Chat<M>, target: &str) -> (Ticket<M>, Watch) {
    let watch = Watch::default();
    match Endpoint::new(chat.clone()).handle(&handshake(target), Some(&watch)) {
        Decision::Upgrade(upgrade) => (upgrade.accept().1, watch),
        Decision::Answer(answer) => panic!("{answer:?}"),
        Decision::Pass => panic!("not for the chat"),
    }
}

/// Starts a session the way that an adapter does; the welcome is the peer's first event.
pub(crate) fn start<M: Message>(chat: &Chat<M>, target: &str) -> Peer {
    let (ticket, watch) = ticket(chat, target);
    assert!(watch.leaving(101).is_none());
    Peer::new(|wire| ticket.start(async { Ok::<_, std::convert::Infallible>(wire) }))
}

/// A session of a guest of this name, welcomed already.
pub(crate) async fn connect<M: Message>(chat: &Chat<M>, name: &str) -> Peer {
    let mut peer = start(chat, &format!("/ws?name={name}"));
    assert_eq!(peer.event().await["type"], "welcome");
    peer
}

/// A session of a guest of this name, in the lobby already.
pub(crate) async fn member<M: Message>(chat: &Chat<M>, name: &str) -> Peer {
    let mut peer = connect(chat, name).await;
    peer.join("lobby").await;
    peer
}

pub(crate) fn lobby() -> RoomName {
    "lobby".parse().expect("a room name")
}

/// What a guest looks like in an event.
pub(crate) fn guest(name: &str) -> Value {
    json!({"id": name, "name": name})
}

/// Lets everything run that can run: paused time goes on only when nothing else does.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

pub(crate) async fn pass(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

/// How much paused time it takes.
pub(crate) async fn seconds_until(what: impl Future) -> f64 {
    let start = tokio::time::Instant::now();
    what.await;
    start.elapsed().as_secs_f64()
}

/// The `seq`s of the messages among these events.
pub(crate) fn seqs(events: &[Value]) -> Vec<u64> {
    events
        .iter()
        .filter(|event| event["type"] == "message")
        .map(|event| event["seq"].as_u64().expect("a number"))
        .collect()
}

/// Their types.
pub(crate) fn types(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["type"].as_str()).collect()
}
