//! A node that does not run for a while.

use std::sync::Arc;
use std::time::Duration;

use chat_core::{Bus, BusEvent, BusSink, NodeId};
use chat_jetstream::{NatsBus, Options};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

use crate::servers::Servers;
use crate::support::eventually;

/// A time without a sign of life after which a node has left, and that of some signs.
const STALL: Duration = Duration::from_secs(6);
const SIGNS: Duration = Duration::from_secs(3);

/// Starts a runtime with one thread, so that nothing of it runs while a task blocks it.
fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

async fn bus(servers: String, name: &str, sink: BusSink) -> NatsBus {
    let bus = NatsBus::open(&servers, &Options::default()).await.expect("a bus");
    bus.connect(&name.parse().expect("a name"), sink);
    bus
}

/// The nodes that have joined and that have left.
#[derive(Default)]
struct Seen {
    joined: Vec<NodeId>,
    left: Vec<NodeId>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_has_stalled_takes_no_other_one_for_gone() {
    let servers = Servers::start(1);
    servers.ready().await;
    let (stalls, seen) = (runtime(), Arc::<Mutex<Seen>>::default());
    let heard = Arc::clone(&seen);
    let sink = BusSink::new(move |event| match event {
        BusEvent::NodeJoined(node) => heard.lock().joined.push(node.clone()),
        BusEvent::NodeLeft(node) => heard.lock().left.push(node.clone()),
        _ => {}
    });
    let addresses = servers.addresses();
    let stalled = stalls.spawn(async move { bus(addresses, "stalls", sink).await });
    let _stalled = stalled.await.expect("a bus");
    let other = bus(servers.addresses(), "lives", BusSink::new(|_| {})).await;
    eventually("the other node", || async { !seen.lock().joined.is_empty() }).await;
    for _ in 0..2 {
        stalls.spawn(async { std::thread::sleep(STALL) }).await.expect("the end of the stall");
        sleep(SIGNS).await;
        assert_eq!(seen.lock().left, [], "a node that lives");
    }
    // The end of a node is noticed.
    drop(other);
    eventually("the end of the other node", || async { !seen.lock().left.is_empty() }).await;
    stalls.shutdown_background();
}
