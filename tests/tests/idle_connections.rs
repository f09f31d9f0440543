//! The heap of an idle connection, counted by the allocator. The bounds have 25 % to spare.

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;

use anyhow::{Context, Result, ensure};
use chat_conformance::client::Frame;
use chat_core::{Chat, Limits, RateLimits, RoomName, Text, UpgradeMode, User};
use chat_tests::{Adapter, Server, eventually, handshake};
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::task::spawn_blocking;

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The connections that are measured.
const CONNECTIONS: usize = 400;

/// The connections before the first measurement. They fill the caches and pools of a server.
const WARM_UP: usize = 200;

/// The members of a room.
const MEMBERS: usize = 10;

/// The messages of a room.
const PAGE: usize = 50;

/// Bytes of a large command.
const LARGE: usize = 15 * 1024;

/// The cost of one connection.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// Bytes on the heap while the connection is idle.
    bytes: usize,
    /// Blocks on the heap while the connection is idle.
    blocks: usize,
    /// Allocations of a connect and a join.
    allocations: usize,
}

/// The heap at one time.
#[derive(Clone, Copy, Debug)]
struct Heap {
    bytes: usize,
    blocks: usize,
    allocations: usize,
}

impl Heap {
    fn now() -> Self {
        let stats = HEAP.stats();
        Self {
            bytes: stats.bytes_allocated - stats.bytes_deallocated,
            blocks: stats.allocations - stats.deallocations,
            allocations: stats.allocations,
        }
    }

    /// Returns the cost of one of the connections since an earlier time.
    fn cost_since(self, before: Self) -> Cost {
        let of_one = |now: usize, before: usize| now.saturating_sub(before) / CONNECTIONS;
        Cost {
            bytes: of_one(self.bytes, before.bytes),
            blocks: of_one(self.blocks, before.blocks),
            allocations: of_one(self.allocations, before.allocations),
        }
    }
}

/// One test, because the allocator counts the whole process.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_holds_few_bytes_before_and_after_large_messages() -> Result<()> {
    let hijack = UpgradeMode::Hijack;
    for (adapter, bound, used) in [
        (Adapter::Tungstenite, Cost { bytes: 4_140, blocks: 20, allocations: 140 }, 4_140),
        (Adapter::Axum(hijack), Cost { bytes: 4_140, blocks: 20, allocations: 155 }, 4_140),
        (Adapter::Actix(hijack), Cost { bytes: 4_400, blocks: 23, allocations: 130 }, 4_400),
    ] {
        check(adapter, bound, used).await?;
    }
    Ok(())
}

/// Checks the cost of connections. After large messages, each may hold `used` bytes.
async fn check(adapter: Adapter, bound: Cost, used: usize) -> Result<()> {
    let chat = chat().await?;
    let server = Server::start(adapter, &chat).await?;
    let address = server.address();
    let _warm_up = spawn_blocking(move || join_all(address, 0..WARM_UP)).await??;
    let before = Heap::now();
    let members = spawn_blocking(move || join_all(address, WARM_UP..WARM_UP + CONNECTIONS)).await??;
    let cost = Heap::now().cost_since(before);
    ensure!(cost.allocations <= bound.allocations, "{adapter:?}: {cost:?}, bound {bound:?}");
    becomes_idle(before, bound).await.with_context(|| format!("{adapter:?} after the joins"))?;
    let _members = spawn_blocking(move || use_all(members)).await??;
    let bound = Cost { bytes: used, ..bound };
    becomes_idle(before, bound).await.with_context(|| format!("{adapter:?} after large messages"))
}

/// Returns a chat without limits of one client, whose rooms have a page of history.
async fn chat() -> Result<Chat> {
    let limits = Limits::default().with(|limits| {
        limits.rates = RateLimits::unlimited();
        limits.connection.max_per_user = 0;
        limits.connection.max_per_address = 0;
    });
    let (chat, user) = (Chat::builder().limits(limits).build(), User::new("host", "Host")?);
    for room in 0..(WARM_UP + CONNECTIONS) / MEMBERS {
        let room: RoomName = format!("room-{room}").parse()?;
        for _ in 0..PAGE {
            chat.post(&room, &user, &Text::new("a message of a usual length, as people write them")).await?;
        }
    }
    Ok(chat)
}

/// Waits until each connection holds no more than this.
async fn becomes_idle(before: Heap, bound: Cost) -> Result<()> {
    let is_idle = || async {
        let cost = Heap::now().cost_since(before);
        Ok(cost.bytes <= bound.bytes && cost.blocks <= bound.blocks)
    };
    let waited = eventually(is_idle).await;
    waited.with_context(|| format!("{:?}, bound {bound:?}", Heap::now().cost_since(before)))
}

/// Connects users that join rooms. The clients hold nothing on the heap.
fn join_all(address: SocketAddr, users: Range<usize>) -> Result<Vec<TcpStream>> {
    let mut members = Vec::with_capacity(users.len());
    for user in users {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(handshake("").as_bytes())?;
        read_until(&mut stream, b"ping_interval")?;
        send(&mut stream, &json!({"type": "join", "ref": "j", "room": format!("room-{}", user / MEMBERS)}))?;
        read_until(&mut stream, b"\"joined\"")?;
        members.push(stream);
    }
    Ok(members)
}

/// Sends a large command on each connection, and reads a page of history.
fn use_all(mut members: Vec<TcpStream>) -> Result<Vec<TcpStream>> {
    for (user, stream) in members.iter_mut().enumerate() {
        let room = format!("room-{}", (WARM_UP + user) / MEMBERS);
        let text = "x".repeat(LARGE);
        send(stream, &json!({"type": "typing", "room": room, "active": false, "unknown": text}))?;
        send(stream, &json!({"type": "history", "ref": "h", "room": room, "last": PAGE}))?;
        read_until(stream, b"\"ref\":\"h\"")?;
    }
    Ok(members)
}

fn send(stream: &mut TcpStream, command: &Value) -> Result<()> {
    Ok(stream.write_all(&Frame::json(command).encode())?)
}

/// Reads until a text has arrived.
fn read_until(stream: &mut TcpStream, text: &[u8]) -> Result<()> {
    let (mut seen, mut length) = ([0; 64 * 1024], 0);
    while !seen[..length].windows(text.len()).any(|part| part == text) {
        let read = stream.read(&mut seen[length..])?;
        ensure!(read > 0, "closed: {}", String::from_utf8_lossy(&seen[..length]));
        length += read;
    }
    Ok(())
}
