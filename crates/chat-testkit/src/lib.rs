//! Test support for code on top of `chat-core`, with paused time.
//!
//! [`Peer`] is the client's side of a connection in memory, [`Store`] a store that fails on request,
//! [`MessagesOnly`] a store without optional parts, and [`Cluster`] several chats that share a store and a bus.
//! Nothing here is for production.
//!
//! ```
//! use chat_core::Chat;
//! use chat_testkit::member;
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
//! # runtime.block_on(async {
//! let chat = Chat::default();
//! let mut ann = member(&chat, "ann").await;
//! ann.say("hi");
//! assert_eq!(ann.event().await["type"], "message");
//! # });
//! # Ok::<(), std::io::Error>(())
//! ```

#![expect(clippy::missing_panics_doc, reason = "a helper of a test fails the test")]

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use chat_core::{
    Chat, Decision, Endpoint, Limits, RequestContext, RequestHead, RoomName, UpgradeGuard, UpgradeTicket,
    Version,
};
use serde_json::{Value, json};

mod bus;
mod cluster;
mod direct;
mod messages_only;
mod peer;
mod role_tokens;
mod store;
mod wire;

pub use bus::InProcessBus;
pub use cluster::{Cluster, SharedStore};
pub use messages_only::MessagesOnly;
pub use peer::Peer;
pub use role_tokens::{RoleTokens, connect_with_role, member_with_role};
pub use store::{Mode, Store};
pub use wire::{Frame, HIGH_WATER, Wire};

const HEADERS: [(&str, &[u8]); 5] = [
    ("Host", b"chat.example"),
    ("Connection", b"Upgrade"),
    ("Upgrade", b"websocket"),
    ("Sec-WebSocket-Version", b"13"),
    ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
];

/// Returns a valid handshake.
pub fn handshake(target: &str) -> RequestHead<'_> {
    RequestHead { method: "GET", version: Version::Http11, target, headers: HEADERS.to_vec() }
}

/// Returns a request for no upgrade.
pub fn plain<'a>(method: &'a str, target: &'a str) -> RequestHead<'a> {
    RequestHead { method, version: Version::Http11, target, headers: HEADERS[..1].to_vec() }
}

/// Returns a chat with these limits and with rooms in memory.
pub fn chat(limits: Limits) -> Chat {
    Chat::builder().limits(limits).build()
}

/// Returns the context of a request with a guard. No layer observes its response.
pub fn guarded() -> RequestContext<'static> {
    RequestContext::default().with_guard(UpgradeGuard::default().request())
}

/// Asks for an upgrade, which the chat accepts. The 101 has not passed the guard yet.
pub async fn ticket(chat: &Chat, target: &str) -> (UpgradeTicket, UpgradeGuard) {
    ticket_of(&Endpoint::new(chat.clone()), target).await
}

/// Asks an endpoint for an upgrade, as [`ticket`] does.
pub async fn ticket_of(endpoint: &Endpoint, target: &str) -> (UpgradeTicket, UpgradeGuard) {
    let guard = UpgradeGuard::default();
    let context = RequestContext::default().with_guard(guard.request());
    match endpoint.handle(&handshake(target), &context).await {
        Decision::Upgrade(upgrade) => (upgrade.accept().1, guard),
        other => panic!("{target} is not upgraded: {other:?}"),
    }
}

/// Starts a session as an adapter does. The peer's first event is the welcome.
pub async fn start(chat: &Chat, target: &str) -> Peer {
    start_on(&Endpoint::new(chat.clone()), target).await
}

/// Starts a session on an endpoint, as [`start`] does.
pub async fn start_on(endpoint: &Endpoint, target: &str) -> Peer {
    let (ticket, guard) = ticket_of(endpoint, target).await;
    assert!(guard.observe(101).is_none(), "the 101 is replaced");
    Peer::new(|wire| ticket.start(async { Ok::<_, Infallible>(wire.with_direct()) }))
}

/// Returns the session of a guest of this name, after its welcome.
pub async fn connect(chat: &Chat, name: &str) -> Peer {
    let mut peer = start(chat, &format!("/ws?name={name}")).await;
    assert_eq!(peer.event().await["type"], "welcome");
    peer
}

/// Returns the session of a guest of this name that has joined the lobby.
pub async fn member(chat: &Chat, name: &str) -> Peer {
    let mut peer = connect(chat, name).await;
    peer.join("lobby").await;
    peer
}

/// Returns the sessions of guests of these names that have joined the lobby, in this order.
pub async fn members<const N: usize>(chat: &Chat, names: [&str; N]) -> [Peer; N] {
    let mut peers = Vec::new();
    for name in names {
        peers.push(member(chat, name).await);
    }
    peers.try_into().expect("a peer for each name")
}

/// Returns the name of the room that most tests use.
pub fn lobby() -> RoomName {
    "lobby".parse().expect("a room name")
}

/// Returns a guest as events have it.
pub fn guest(name: &str) -> Value {
    json!({"id": name, "name": name})
}

/// Lets all tasks run that can run. Paused time advances only when no task can run.
pub async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Lets this much paused time pass.
pub async fn pass(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

/// Returns the seconds of paused time that a future takes.
pub async fn seconds_until(what: impl Future) -> f64 {
    let start = tokio::time::Instant::now();
    what.await;
    start.elapsed().as_secs_f64()
}

/// Returns the `seq` of each entry among these events.
pub fn seqs(events: &[Value]) -> Vec<u64> {
    events
        .iter()
        .filter(|event| event["type"] == "message" || event["type"] == "changed")
        .map(|event| event["seq"].as_u64().expect("a number"))
        .collect()
}

/// Returns the types of these events.
pub fn types(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["type"].as_str()).collect()
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
