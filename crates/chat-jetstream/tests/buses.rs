//! The suite for buses, with a way to the server for each node, which can be cut.

#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/servers.rs"]
mod servers;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use chat_core::{Bus, BusSink, NodeId, Notice};
use chat_jetstream::{NatsBus, Options};
use chat_store_conformance::bus::{Backend, Fixture, certify};
use parking_lot::Mutex;

use proxy::Proxy;
use servers::Servers;

fn main() -> ExitCode {
    let servers = Servers::start(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(servers.ready());
    let server = servers.port(0);
    certify([Backend::new("nats", move || async move { Network::new(server) })])
}

/// The buses of one chat.
struct Network {
    server: u16,
    stream: String,
    ways: Arc<Mutex<BTreeMap<NodeId, Arc<Proxy>>>>,
}

impl Network {
    fn new(server: u16) -> Self {
        static CHATS: AtomicUsize = AtomicUsize::new(0);
        let stream = format!("chat{}", CHATS.fetch_add(1, Ordering::Relaxed));
        Self { server, stream, ways: Arc::default() }
    }

    fn set_open(&self, node: &NodeId, is_open: bool) {
        self.ways.lock().get(node).expect("a node that is connected").set_open(is_open);
    }
}

#[async_trait]
impl Fixture for Network {
    async fn bus(&self) -> Arc<dyn Bus> {
        let way = Arc::new(Proxy::start(self.server).await);
        let options = Options::default().with(|options| options.stream.clone_from(&self.stream));
        let bus = NatsBus::open(&way.address(), &options).await.expect("a bus");
        Arc::new(OnItsWay { bus, way, ways: Arc::clone(&self.ways) })
    }

    async fn lose(&self, node: &NodeId) {
        self.set_open(node, false);
    }

    async fn restore(&self, node: &NodeId) {
        self.set_open(node, true);
    }
}

/// A bus whose way to the server is known by the name of its node.
struct OnItsWay {
    bus: NatsBus,
    way: Arc<Proxy>,
    ways: Arc<Mutex<BTreeMap<NodeId, Arc<Proxy>>>>,
}

#[async_trait]
impl Bus for OnItsWay {
    fn connect(&self, node: &NodeId, sink: BusSink) {
        self.ways.lock().insert(node.clone(), Arc::clone(&self.way));
        self.bus.connect(node, sink);
    }

    fn publish(&self, node: &NodeId, notice: &Notice) {
        self.bus.publish(node, notice);
    }

    async fn disconnect(&self, node: &NodeId) {
        self.bus.disconnect(node).await;
    }
}
