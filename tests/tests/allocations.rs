//! The allocations of a delivery and of an idle connection, counted by the allocator, and the turns of the sessions. A
//! turn is one poll of the task that serves a connection. `docs/performance.md` has the measured values.

use std::alloc::System;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use chat_adapter::SharedSocket;
use chat_core::{Chat, Identity, Limits, RateLimits, UpgradeMode, User};
use chat_tests::{Adapter, Server, SocketRooms, eventually};
use chat_websocket::WebSocket;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_blocking;

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The time between two pings of an idle connection.
const PING_INTERVAL: Duration = Duration::from_millis(500);

/// Connections that do the same for some time.
#[derive(Clone, Copy, Debug)]
enum Load {
    /// One message after the other in rooms.
    Messages { rooms: usize, members: usize, messages: usize },
    /// Only pings.
    Pings { rooms: usize, members: usize, pings: usize },
}

const LARGE_ROOM: Load = Load::Messages { rooms: 1, members: 200, messages: 40 };
const SMALL_ROOMS: Load = Load::Messages { rooms: 20, members: 3, messages: 40 };
const IDLE: Load = Load::Pings { rooms: 50, members: 10, pings: 3 };

/// The cost of one delivery, or of one ping.
#[derive(Clone, Copy, Debug)]
struct Cost {
    allocations: f64,
    /// `None` on an adapter, which starts the sessions itself.
    turns: Option<f64>,
}

/// One test, because the allocator counts the whole process.
#[tokio::test(flavor = "multi_thread")]
async fn deliveries_and_pings_cost_few_allocations_and_turns() -> Result<()> {
    let hijack = UpgradeMode::Hijack;
    let (mut are_within, mut measured) = (true, String::new());
    let bounds = [(0.15, None), (6.6, None), (6.0, None)];
    for (adapter, [large, small, idle]) in [
        (None, [(0.15, Some(0.02)), (6.6, Some(0.4)), (5.5, Some(2.1))]),
        (Some(Adapter::Tungstenite), bounds),
        (Some(Adapter::Axum(hijack)), bounds),
        (Some(Adapter::Actix(hijack)), bounds),
    ] {
        for (load, (allocations, turns)) in [(LARGE_ROOM, large), (SMALL_ROOMS, small), (IDLE, idle)] {
            let (cost, bound) = (measure(adapter, load).await?, Cost { allocations, turns });
            are_within &= cost.allocations <= allocations && cost.turns <= turns;
            measured += &format!("{adapter:?}, {load:?}: {cost:.3?}, bound {bound:.3?}\n");
        }
    }
    ensure!(are_within, "{measured}");
    Ok(())
}

/// Measures the cost of a load on an adapter, or on the host of this test.
async fn measure(adapter: Option<Adapter>, load: Load) -> Result<Cost> {
    let limits = Limits::default().with(|limits| {
        limits.rates = RateLimits::unlimited();
        limits.connection.max_per_user = 0;
        limits.connection.max_per_address = 0;
        if matches!(load, Load::Pings { .. }) {
            limits.connection.ping_interval = PING_INTERVAL;
        }
    });
    let chat = Chat::builder().limits(limits).build();
    let turns = Arc::new(AtomicUsize::new(0));
    let (address, _server) = match adapter {
        Some(adapter) => {
            let server = Server::start(adapter, &chat).await?;
            (server.address(), Some(server))
        }
        None => {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?;
            tokio::spawn(accept(listener, chat.clone(), Arc::clone(&turns)));
            (address, None)
        }
    };
    let polls = Arc::clone(&turns);
    let (allocations, turns) = spawn_blocking(move || run(address, load, &polls)).await??;
    // The ends of these sessions must not count for the next load.
    eventually(|| async { Ok(chat.counts().connections == 0) }).await?;
    Ok(Cost { allocations, turns: adapter.is_none().then_some(turns) })
}

/// Runs a load. Returns the allocations and the turns for one delivery or ping.
fn run(address: SocketAddr, load: Load, turns: &AtomicUsize) -> Result<(f64, f64)> {
    let now = || {
        let stats = HEAP.stats();
        (stats.allocations + stats.reallocations, turns.load(Ordering::Relaxed))
    };
    let (before, units, after) = match load {
        Load::Messages { rooms, members, messages } => {
            let mut rooms = SocketRooms::join(address, rooms, members)?;
            let messages = rooms.prepare(messages);
            let before = now();
            rooms.deliver(&messages)?;
            (before, rooms.deliveries(&messages), now())
        }
        Load::Pings { rooms, members, pings } => {
            let mut rooms = SocketRooms::join(address, rooms, members)?;
            rooms.answer_pings(1)?;
            let before = now();
            rooms.answer_pings(pings)?;
            (before, rooms.members() * pings, now())
        }
    };
    let per_unit = |before: usize, after: usize| (after - before) as f64 / units as f64;
    Ok((per_unit(before.0, after.0), per_unit(before.1, after.1)))
}

/// A host that counts the turns of its sessions. The connections are those of `chat-tungstenite`.
async fn accept(listener: TcpListener, chat: Chat, turns: Arc<AtomicUsize>) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let (socket, user) = upgrade(stream).await?;
        let writer = socket.direct();
        let connection = WebSocket::accept(socket, Bytes::new(), chat.limits()).await.with_direct(writer);
        let session = Box::pin(chat.admit(Identity::from(user))?.serve(connection));
        tokio::spawn(Counted { session, turns: Arc::clone(&turns) });
    }
}

/// Answers a request for an upgrade.
async fn upgrade(mut stream: TcpStream) -> Result<(SharedSocket, User)> {
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(stream.read_buf(&mut head).await? > 0, "no request");
    }
    let head = String::from_utf8(head)?;
    let name = head.split(['=', ' ']).nth(2).context("no name")?;
    stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").await?;
    Ok((SharedSocket::new(stream), User::guest(name)?))
}

/// A session that counts its turns.
struct Counted<S> {
    session: Pin<Box<S>>,
    turns: Arc<AtomicUsize>,
}

impl<S: Future<Output = ()>> Future for Counted<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.turns.fetch_add(1, Ordering::Relaxed);
        self.session.as_mut().poll(cx)
    }
}
