//! Kicks of a node whose machine was paused, with its clock, or whose messages were held up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_nats::Client;
use chat_core::{Bus, BusEvent, BusSink, NodeId, Notice, User};
use chat_jetstream::{NatsBus, Options};
use futures_util::StreamExt;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

use crate::servers::Servers;
use crate::support::eventually;

/// The length of a pause, after which a node has not left yet.
const PAUSE: Duration = Duration::from_secs(2);

/// The time in which the receiver learns of the clock of the other node.
const SIGNS: Duration = Duration::from_millis(3_500);

/// The way from one node to another one.
#[derive(Default)]
struct Way {
    /// The messages that have passed.
    passed: AtomicU64,
    /// True while the machine of the node is paused.
    is_paused: AtomicBool,
    /// The microseconds for which its clock has stood still.
    stood_still: AtomicU64,
    /// The time until which messages are held up.
    held_up: Mutex<Option<Instant>>,
}

/// Passes the messages for all nodes of one chat to another chat.
async fn pass(client: Client, way: Arc<Way>) {
    let mut packets = client.subscribe("one.b").await.expect("a subscription");
    while let Some(message) = packets.next().await {
        if way.is_paused.load(Ordering::SeqCst) {
            continue;
        }
        let mut packet: Value = serde_json::from_slice(&message.payload).expect("JSON");
        let sent = packet["sent"].as_u64().expect("a time");
        packet["sent"] = (sent - way.stood_still.load(Ordering::SeqCst)).into();
        let until = *way.held_up.lock();
        if let Some(until) = until {
            sleep_until(until).await;
        }
        client.publish("two.b", packet.to_string().into()).await.expect("a connection");
        way.passed.fetch_add(1, Ordering::SeqCst);
    }
}

async fn bus(servers: &Servers, chat: &str, name: &str, sink: BusSink) -> (NatsBus, NodeId) {
    let options = Options::default().with(|options| options.stream = chat.to_owned());
    let bus = NatsBus::open(&servers.addresses(), &options).await.expect("a bus");
    let id: NodeId = name.parse().expect("a name");
    bus.connect(&id, sink);
    (bus, id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kick_after_a_pause_of_the_machine_is_not_late_and_one_that_is_held_up_is() {
    let servers = Servers::start(1);
    let client = servers.ready().await;
    let (way, delays) = (Arc::new(Way::default()), Arc::new(Mutex::new(Vec::new())));
    tokio::spawn(pass(client.clone(), Arc::clone(&way)));
    let heard = Arc::clone(&delays);
    let sink = BusSink::new(move |event| {
        if let BusEvent::Notice(_, Notice::Kick { version, .. }, delay) = event {
            heard.lock().push((*version, delay));
        }
    });
    let _receiver = bus(&servers, "two", "receiver", sink).await;
    let (sender, id) = bus(&servers, "one", "sender", BusSink::new(|_| {})).await;
    let kick = |version| Notice::Kick { user: User::guest("ann").expect("a name").key(), version };
    let is_heard = async |version| {
        eventually("the kick", || async { delays.lock().iter().any(|(heard, _)| *heard == version) }).await;
        delays.lock().last().expect("a kick").1
    };
    sleep(SIGNS).await;
    sender.publish(&id, &kick(1));
    let delay = is_heard(1).await;
    assert!(delay < PAUSE * 3 / 4, "{delay:?} without a pause");

    // The clock stands still for a while, and nothing is sent. The kick comes right after that.
    let micros = u64::try_from(PAUSE.as_micros()).expect("a short time");
    for (pauses, since_sign) in (1..).zip([50, 400, 800]) {
        sleep(SIGNS).await;
        let signs = way.passed.load(Ordering::SeqCst);
        eventually("a sign of life", || async { way.passed.load(Ordering::SeqCst) > signs }).await;
        sleep(Duration::from_millis(since_sign)).await;
        way.is_paused.store(true, Ordering::SeqCst);
        sleep(PAUSE).await;
        way.stood_still.store(pauses * micros, Ordering::SeqCst);
        way.is_paused.store(false, Ordering::SeqCst);
        sender.publish(&id, &kick(1 + pauses));
        let delay = is_heard(1 + pauses).await;
        assert!(delay < PAUSE * 3 / 4, "{delay:?} after a pause, {since_sign} ms after a sign of life");
    }

    sleep(SIGNS).await;
    *way.held_up.lock() = Some(Instant::now() + PAUSE);
    sender.publish(&id, &kick(9));
    let delay = is_heard(9).await;
    assert!(delay > PAUSE * 3 / 4, "{delay:?} for which it was held up");
}
