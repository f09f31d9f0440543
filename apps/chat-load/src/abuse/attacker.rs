use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use parking_lot::Mutex;
use rustix::process::nice;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::attacks::Attack;
use super::peer::Peer;

/// The time limit of the preparation of an attack.
const PREPARATION: Duration = Duration::from_secs(60);

/// The time limit for a connection, a response or a welcome.
const PATIENCE: Duration = Duration::from_secs(5);

/// The time by which an attack is longer at most, until each expected reply has come.
const EXTENSION: Duration = Duration::from_secs(30);

/// The pause before a connection that has ended is made again.
const PAUSE: Duration = Duration::from_millis(50);

/// The priority of the attack is lower than that of the members that are measured, if they share a CPU.
const NICENESS: i32 = 5;

/// The state that all connections of an attack share.
#[derive(Debug)]
pub(super) struct Attacker {
    server: SocketAddr,
    /// Frames or requests per second of each connection.
    pub(super) rate: f64,
    addresses: usize,
    /// The number of each kind of reply.
    replies: Mutex<BTreeMap<String, u64>>,
    received: AtomicU64,
    sent: AtomicU64,
}

impl Attacker {
    pub(super) fn new(server: SocketAddr, rate: f64, addresses: usize) -> Arc<Self> {
        let (replies, received, sent) = (Mutex::default(), AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { server, rate, addresses, replies, received, sent })
    }

    /// Counts a reply by its name.
    pub(super) fn count(&self, reply: &str) {
        let mut replies = self.replies.lock();
        match replies.get_mut(reply) {
            Some(count) => *count += 1,
            None => drop(replies.insert(reply.to_owned(), 1)),
        }
    }

    /// Waits until each of these replies has come.
    async fn seen(&self, expected: &[&str]) {
        while !expected.iter().all(|reply| self.replies.lock().contains_key(*reply)) {
            sleep(PAUSE).await;
        }
    }

    pub(super) fn count_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn count_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn replies(&self) -> BTreeMap<String, u64> {
        self.replies.lock().clone()
    }

    /// Returns the bytes that were received and sent.
    pub(super) fn traffic(&self) -> (u64, u64) {
        (self.received.load(Ordering::Relaxed), self.sent.load(Ordering::Relaxed))
    }

    /// Returns the address of connection `n`. None of them is the address of the members that are measured.
    fn source(&self, n: usize) -> IpAddr {
        let [a, b, ..] = u32::try_from(n % self.addresses).unwrap_or(0).to_le_bytes();
        IpAddr::V4(Ipv4Addr::new(127, 1, b, a.saturating_add(1)))
    }

    /// Connects. `receive_buffer` is the size of the kernel's buffer, if it must be small.
    pub(super) async fn connect(&self, n: usize, receive_buffer: Option<u32>) -> Option<TcpStream> {
        let connected = async {
            let socket = TcpSocket::new_v4()?;
            if let Some(bytes) = receive_buffer {
                socket.set_recv_buffer_size(bytes)?;
            }
            socket.bind(SocketAddr::new(self.source(n), 0))?;
            let stream = socket.connect(self.server).await?;
            stream.set_nodelay(true)?;
            std::io::Result::Ok(stream)
        };
        match timeout(PATIENCE, connected).await {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                self.count(&format!("no connection: {}", error.kind()));
                None
            }
            Err(_) => {
                self.count("no connection in time");
                None
            }
        }
    }

    /// Sends a request on a connection of its own, and counts the status of the response.
    pub(super) async fn request(&self, n: usize, request: &[u8]) {
        let Some(mut stream) = self.connect(n, None).await else { return };
        let mut start = [0; 12];
        let answered = async {
            stream.write_all(request).await?;
            self.count_sent(request.len());
            stream.read_exact(&mut start).await
        };
        match timeout(PATIENCE, answered).await {
            Ok(Ok(_)) => self.count(&String::from_utf8_lossy(&start[9..])),
            Ok(Err(_)) => self.count("no response"),
            Err(_) => self.count("no response in time"),
        }
        self.count_received(start.len());
    }

    /// Connects as a guest. Counts the status of the response.
    pub(super) async fn guest(self: &Arc<Self>, n: usize, name: &str) -> Option<Peer> {
        let stream = self.connect(n, None).await?;
        timeout(PATIENCE, Peer::upgrade(self, stream, name)).await.ok().flatten()
    }

    /// Connects like [`guest`](Self::guest), with a small receive buffer.
    pub(super) async fn narrow_guest(self: &Arc<Self>, n: usize, name: &str) -> Option<Peer> {
        let stream = self.connect(n, Some(16 * 1024)).await?;
        timeout(PATIENCE, Peer::upgrade(self, stream, name)).await.ok().flatten()
    }
}

/// A thread that prepares an attack, waits for its begin, and runs it.
#[derive(Debug)]
pub(super) struct AttackThread {
    prepared: oneshot::Receiver<()>,
    begin: oneshot::Sender<Duration>,
    thread: JoinHandle<Result<()>>,
}

impl AttackThread {
    pub(super) fn start(
        attack: &'static Attack,
        expected: Vec<&'static str>,
        attacker: &Arc<Attacker>,
    ) -> Result<Self> {
        let attacker = Arc::clone(attacker);
        let (is_prepared, prepared) = oneshot::channel();
        let (begin, begins) = oneshot::channel();
        let run = move || {
            // Where the system does not allow it, the members wait longer for a CPU.
            let _allowed = nice(NICENESS).is_ok();
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async move {
                if let Some(prepare) = attack.prepare {
                    let each = (0..attack.connections).map(|n| prepare(Arc::clone(&attacker), n));
                    let all = each.collect::<JoinSet<()>>().join_all();
                    timeout(PREPARATION, all).await.context("the attack is not prepared in time")?;
                    attacker.replies.lock().clear();
                }
                let _waiting = is_prepared.send(()).is_ok();
                let Ok(duration) = begins.await else { return Ok(()) };
                let each = (0..attack.connections).map(|n| repeat(attack, Arc::clone(&attacker), n));
                let connections: JoinSet<()> = each.collect();
                sleep(duration).await;
                // On a busy machine, some replies need more time. The report names those that are missing.
                let _seen = timeout(EXTENSION, attacker.seen(&expected)).await.is_ok();
                // An attack has no other end.
                drop(connections);
                Ok(())
            })
        };
        let thread = thread::Builder::new().name("attack".to_owned()).spawn(run)?;
        Ok(Self { prepared, begin, thread })
    }

    /// Waits until the attack is prepared.
    pub(super) async fn prepared(&mut self) -> Result<()> {
        (&mut self.prepared).await.context("the attack cannot be prepared")
    }

    /// Begins the attack. Returns the thread, which ends with the attack.
    pub(super) fn begin(self, duration: Duration) -> JoinHandle<Result<()>> {
        // If the thread has ended, its result says the reason.
        let _began = self.begin.send(duration).is_ok();
        self.thread
    }
}

/// Runs a connection of an attack again and again.
async fn repeat(attack: &'static Attack, attacker: Arc<Attacker>, n: usize) {
    loop {
        (attack.run)(Arc::clone(&attacker), n).await;
        sleep(PAUSE).await;
    }
}
