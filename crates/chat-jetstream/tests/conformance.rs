//! The suite of `chat-store-conformance` on one server and on three. The rooms are open on one node, or on two in turn,
//! and in one stream or in three. In some clusters, the second node keeps a search index.

#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/servers.rs"]
mod servers;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{CommitSink, Health, Limits, MarkerError, Room, RoomName, Store, Unavailable, UserKey};
use chat_jetstream::{ConnectOptions, JetStreamStore, Options};
use chat_store_conformance::{Backend, Fixture, certify_concurrently};
use serde_json::json;
use tempfile::TempDir;

use proxy::Proxy;
use servers::{Servers, request};

/// The number of nodes.
const NODES: usize = 2;

/// The cases that run at the same time. They mostly wait for the servers.
const THREADS: usize = 8;

/// The time for a node to notice that its connection is cut.
const CUT_TIME: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let (one, three) = (Servers::start(1), Servers::start(3));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::join!(one.ready(), three.ready()) });
    let backends = [
        backend("one_server", &one, Setup { streams: 1, replicas: 1, in_turn: false, has_index: false }),
        backend(
            "one_server_in_turn",
            &one,
            Setup { streams: 1, replicas: 1, in_turn: true, has_index: true },
        ),
        backend(
            "three_streams_in_turn",
            &one,
            Setup { streams: 3, replicas: 1, in_turn: true, has_index: true },
        ),
        backend("three_servers", &three, Setup { streams: 1, replicas: 3, in_turn: false, has_index: true }),
    ];
    let verdict = certify_concurrently(THREADS, backends);
    drop((one, three));
    verdict
}

/// The streams of the rooms, and the nodes that open rooms.
#[derive(Clone, Copy)]
struct Setup {
    streams: usize,
    replicas: usize,
    /// True if rooms are opened on all nodes in turn, whatever node the suite asks for.
    in_turn: bool,
    /// True if the second node keeps a search index.
    has_index: bool,
}

fn backend(name: &str, servers: &Servers, setup: Setup) -> Backend {
    let server = servers.port(0);
    let open = move |limits: Arc<Limits>| Cluster::open(server, setup, limits);
    Backend::new(name, open)
}

/// Two nodes of a chat with a stream of its own. Each has its own way to the server.
struct Cluster {
    nodes: Vec<Arc<JetStreamStore>>,
    ways: Vec<Proxy>,
    stream: String,
    setup: Setup,
    limits: Arc<Limits>,
    /// The directory of the search index of the second node.
    index: Option<TempDir>,
    /// Opens rooms on all nodes in turn, whatever node the suite asks for.
    in_turn: Option<Arc<InTurn>>,
}

impl Cluster {
    async fn open(server: u16, setup: Setup, limits: Arc<Limits>) -> Self {
        static STREAMS: AtomicUsize = AtomicUsize::new(0);
        let stream = format!("t{}", STREAMS.fetch_add(1, Ordering::Relaxed));
        let mut ways = Vec::new();
        for _ in 0..NODES {
            ways.push(Proxy::start(server).await);
        }
        let index = setup.has_index.then(|| TempDir::new().expect("a directory"));
        let mut cluster = Self { nodes: Vec::new(), ways, stream, setup, limits, index, in_turn: None };
        cluster.connect().await;
        cluster
    }

    async fn connect(&mut self) {
        self.nodes.clear();
        for (number, way) in self.ways.iter().enumerate() {
            let options = Options::default().with(|options| {
                options.stream.clone_from(&self.stream);
                options.streams = self.setup.streams;
                options.replicas = self.setup.replicas;
                options.retain_messages = Some(self.limits.rooms.log_messages as u64);
                options.max_keys_per_user = self.limits.rooms.log_keys;
                let index = self.index.as_ref().filter(|_| number == 1);
                options.search_index = index.map(|dir| dir.path().to_owned());
                // The servers would tell the addresses of each other, which no way leads to.
                options.connect = ConnectOptions::new().ignore_discovered_servers();
            });
            let node = JetStreamStore::open(&way.address(), options).await.expect("a store");
            self.nodes.push(Arc::new(node));
        }
        let in_turn = InTurn { nodes: self.nodes.clone(), next: AtomicUsize::new(0) };
        self.in_turn = self.setup.in_turn.then(|| Arc::new(in_turn));
    }
}

#[async_trait]
impl Fixture for Cluster {
    fn store(&self, node: usize) -> Option<Arc<dyn Store>> {
        if let Some(in_turn) = &self.in_turn {
            return (node < NODES).then(|| Arc::clone(in_turn) as Arc<dyn Store>);
        }
        self.nodes.get(node).map(|node| Arc::clone(node) as Arc<dyn Store>)
    }

    async fn restart(&mut self) {
        for node in &self.nodes {
            let _closed_before = node.close().await;
        }
        self.connect().await;
    }

    fn set_reachable(&self, reachable: bool) -> bool {
        let affected = if self.setup.in_turn { NODES } else { 1 };
        self.ways[..affected].iter().for_each(|way| way.set_open(reachable));
        if !reachable {
            // The suite expects it at once.
            let waited = tokio::task::block_in_place(|| {
                let pause = Duration::from_millis(1);
                let pauses = CUT_TIME.as_millis() / pause.as_millis();
                (0..pauses).find(|_| {
                    std::thread::sleep(pause);
                    self.nodes[..affected].iter().all(|node| node.health() != Health::Ready)
                })
            });
            return waited.is_some();
        }
        true
    }

    async fn renew(&self) -> bool {
        let client = async_nats::connect(self.ways[0].address()).await.expect("a connection");
        for number in 1..=self.setup.streams {
            let stream = if number == 1 { self.stream.clone() } else { format!("{}-{number}", self.stream) };
            let deleted = request(&client, &format!("STREAM.DELETE.{stream}"), &json!({})).await;
            if deleted.is_none_or(|deleted| deleted["success"] != true) {
                return false;
            }
        }
        true
    }
}

/// A store that opens rooms on all nodes in turn.
struct InTurn {
    nodes: Vec<Arc<JetStreamStore>>,
    next: AtomicUsize,
}

#[async_trait]
impl Store for InTurn {
    async fn open(
        &self,
        room: &RoomName,
        limits: &Arc<Limits>,
        sink: CommitSink,
    ) -> Result<Arc<dyn Room>, Unavailable> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.nodes[next % NODES].open(room, limits, sink).await
    }

    async fn follow(&self, user: &UserKey, room: &RoomName, on: bool, max: usize) -> Result<(), MarkerError> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.nodes[next % NODES].follow(user, room, on, max).await
    }

    async fn followed(&self, user: &UserKey) -> Result<Vec<RoomName>, MarkerError> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.nodes[next % NODES].followed(user).await
    }

    fn health(&self) -> Health {
        let states = self.nodes.iter().map(|node| node.health());
        states.reduce(|first, other| if first == Health::Ready { other } else { first }).expect("a node")
    }

    async fn close(&self) -> Result<(), Unavailable> {
        for node in &self.nodes {
            Store::close(&**node).await?;
        }
        Ok(())
    }
}
