//! A storm of joins: a node with most of the clients is killed, and all of them return to the other one at once.
//!
//! `CHAT_STORM_CLIENTS=5000` is the full run.

use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use chat_client::{Client, ClientEvent, Events, Joined, Text};
use chat_proto::RoomName;
use chat_proto::command::JoinFrom;
use chat_tests::metrics::values;
use chat_tests::{Daemon, eventually};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::{Mutex, watch};
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::{Instant, sleep, timeout};

use crate::balancer::Balancer;
use crate::metrics::{admin, scrape, token};
use crate::nodes::{ACTIX, AXUM, node_with, servers, state};

/// The members of each room.
const MEMBERS: usize = 10;

/// The time for one command, and for each wait.
const PATIENCE: Duration = Duration::from_secs(180);

/// Each room gets a message in this time, for each room that there is.
const PAUSE_PER_ROOM: Duration = Duration::from_millis(5);

/// Connections that are made at once before the storm.
const CONNECTING: usize = 32;

/// The rooms and clients of the test.
struct Crowd {
    rooms: Vec<Arc<Room>>,
    members: Vec<JoinHandle<Result<()>>>,
    back: Back,
}

/// The clients that are back in their rooms, and the times of it.
type Back = Arc<Mutex<BTreeMap<usize, Instant>>>;

struct Room {
    name: RoomName,
    /// True until the senders end.
    is_sending: watch::Sender<bool>,
    /// The position of the last message, once no further one comes.
    end: watch::Sender<Option<u64>>,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_of_a_node_that_is_killed_are_back_on_the_other_one_without_a_time_out() -> Result<()> {
    let clients: usize = env::var("CHAT_STORM_CLIENTS").map_or(Ok(500), |clients| clients.parse())?;
    let (servers, _client) = servers(1).await;
    let token = token()?;
    let a = node_with(AXUM, "a", &servers, &admin(&token)?)?;
    let b = node_with(ACTIX, "b", &servers, &admin(&token)?)?;
    for node in [&a, &b] {
        eventually(|| async { Ok(state(node).await?["nodes"] == 2) }).await?;
    }
    let (to_a, to_b) = (
        Balancer::start(&[a.address(), b.address()]).await?,
        Balancer::start(&[b.address(), a.address()]).await?,
    );
    // All members of every second room are on the first node, so that the other one has to open it.
    let is_on_a = |client: usize| (client / MEMBERS).is_multiple_of(2) || client.is_multiple_of(2);
    let url = |client| if is_on_a(client) { to_a.url() } else { to_b.url() };
    let mut crowd = Crowd::join(clients, url).await?;
    let returning = (0..clients).filter(|client| is_on_a(*client)).count();

    let before = counters(&b).await?;
    let killed = Instant::now();
    block_in_place(|| a.crash())?;
    let times = crowd.wait_until_back(returning, killed).await?;
    let after = counters(&b).await?;
    crowd.finish().await?;

    let grown = |name: &str| after.get(name).unwrap_or(&0.0) - before.get(name).unwrap_or(&0.0);
    let joins = grown("chat_joins_total");
    let unavailable = grown("chat_errors_total{code=\"unavailable\"}");
    let time = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!(
        "{clients} clients, {returning} return: half within {:?}, 99 % within {:?}, all within {:?}; {joins} joins, \
         {} requests to the servers of the stream, of them for {} records; {} pages of logs, {unavailable} answers \
         unavailable, {} store timeouts; peak memory of the node {} MiB",
        time(50),
        time(99),
        time(100),
        grown("chat_cluster_requests_total"),
        grown("chat_store_commits_total"),
        grown("chat_catch_up_pages_total"),
        grown("chat_store_timeouts_total"),
        b.footprint()?.peak_kib / 1024,
    );
    ensure!(joins >= returning as f64, "{joins} joins");
    ensure!(grown("chat_store_timeouts_total") == 0.0, "{after:#?}");
    ensure!(unavailable <= clients as f64 / 100.0, "{unavailable} answers were `unavailable`");
    block_in_place(|| b.stop())?;
    Ok(())
}

async fn counters(node: &Daemon) -> Result<BTreeMap<String, f64>> {
    values(&scrape(node).await?)
}

impl Crowd {
    /// Connects clients, and lets each join a room. The first member of a room sends, and all receive.
    async fn join(clients: usize, url: impl Fn(usize) -> String) -> Result<Self> {
        let mut rooms = Vec::new();
        for number in 0..clients.div_ceil(MEMBERS) {
            let (name, end) = (format!("room-{number}").parse()?, watch::Sender::new(None));
            rooms.push(Arc::new(Room { name, is_sending: watch::Sender::new(true), end }));
        }
        let back = Arc::default();
        let joining = stream::iter((0..clients).map(|client| {
            let (url, room, back) = (url(client), Arc::clone(&rooms[client / MEMBERS]), Arc::clone(&back));
            let pause = PAUSE_PER_ROOM * u32::try_from(rooms.len()).unwrap_or(u32::MAX);
            async move { join(client, &url, room, pause, back).await }
        }));
        let members = joining.buffer_unordered(CONNECTING).try_collect().await?;
        Ok(Self { rooms, members, back })
    }

    /// Waits until this many clients are back in their rooms. Returns the times that it took, ascending.
    async fn wait_until_back(&mut self, count: usize, since: Instant) -> Result<Vec<Duration>> {
        let all_back = async {
            while self.back.lock().await.len() < count {
                if let Some(index) = self.members.iter().position(JoinHandle::is_finished) {
                    self.members.swap_remove(index).await??;
                    bail!("a member has ended");
                }
                sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        };
        let waited = timeout(PATIENCE, all_back).await;
        let back = self.back.lock().await;
        waited.with_context(|| format!("{} of {count} clients are back", back.len()))??;
        let mut times: Vec<_> = back.values().map(|at| *at - since).collect();
        times.sort_unstable();
        Ok(times)
    }

    /// Ends the senders. Each member must have all messages of its room.
    async fn finish(self) -> Result<()> {
        for room in &self.rooms {
            room.is_sending.send_replace(false);
        }
        for member in self.members {
            timeout(PATIENCE, member).await.context("a member lacks messages")???;
        }
        Ok(())
    }
}

/// Joins a room. Returns the task of the member.
async fn join(
    client: usize,
    url: &str,
    room: Arc<Room>,
    pause: Duration,
    back: Back,
) -> Result<JoinHandle<Result<()>>> {
    let builder = Client::builder(url).name(format!("client-{client}")).command_timeout(PATIENCE);
    let (sender, events) = builder.event_buffer(10_000).connect().await?;
    // All have the same first position, whatever was sent before.
    let joined = sender.join(&room.name, JoinFrom::Now).await?;
    Ok(tokio::spawn(async move {
        let receiving = receive(events, &room, joined.seq + 1, (client, &back));
        if client.is_multiple_of(MEMBERS) {
            tokio::try_join!(send(&sender, &room, pause), receiving)?;
        } else {
            receiving.await?;
        }
        Ok(sender.close().await?)
    }))
}

/// Sends messages, each until it is acknowledged.
async fn send(client: &Client, room: &Room, pause: Duration) -> Result<()> {
    let mut last = 0;
    while *room.is_sending.borrow() || last == 0 {
        let sent = client.send(&room.name, &Text::new("hi")).await?;
        ensure!(sent.seq == last + 1, "{} in place of {}", sent.seq, last + 1);
        last = sent.seq;
        sleep(pause).await;
    }
    room.end.send_replace(Some(last));
    Ok(())
}

/// Receives until the last message. Each must be there once and in order.
async fn receive(
    mut events: Events,
    room: &Room,
    mut next: u64,
    (client, back): (usize, &Back),
) -> Result<()> {
    let mut end = room.end.subscribe();
    loop {
        if end.borrow_and_update().is_some_and(|last| next > last) {
            return Ok(());
        }
        let event = tokio::select! {
            event = events.next() => event.context("the client has ended")?,
            _ = end.changed() => continue,
        };
        match event {
            ClientEvent::Message(message) => {
                ensure!(message.seq == next, "{} in place of {next}", message.seq);
                next += 1;
            }
            ClientEvent::Resumed(Joined { recovered, .. }) => {
                ensure!(recovered, "not recovered");
                back.lock().await.insert(client, Instant::now());
            }
            ClientEvent::Gap { from, to, .. } => bail!("a gap from {from} to {to}"),
            ClientEvent::Closed(closed) => bail!("{closed:?}"),
            _ => {}
        }
    }
}
