//! The bus of a node, with other nodes that the test plays.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_nats::{Client, Subscriber};
use chat_core::{Bus, BusEvent, BusSink, NodeId, Notice, UserKey};
use chat_jetstream::{ConnectOptions, NatsBus, Options};
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::servers::Servers;
use crate::support::eventually;

/// The subject of the messages for all nodes.
const ALL: &str = "chat.b";

/// The messages of a node that is wrong.
const MESSAGES: u64 = 1_000;

/// Connects the bus of a node. Returns the messages for all nodes, from its first sign of life on.
async fn connect(servers: &Servers, client: &Client, node: &str, sink: BusSink) -> (NatsBus, Subscriber) {
    connect_with(Options::default(), servers, client, node, sink).await
}

/// Connects the bus of a node with these options.
async fn connect_with(
    options: Options,
    servers: &Servers,
    client: &Client,
    node: &str,
    sink: BusSink,
) -> (NatsBus, Subscriber) {
    let bus = NatsBus::open(&servers.addresses(), &options).await.expect("a bus");
    let mut messages = client.subscribe(ALL).await.expect("a subscription");
    client.flush().await.expect("a connection");
    bus.connect(&id(node), sink);
    while next(&mut messages).await["from"] != node {}
    (bus, messages)
}

fn id(name: &str) -> NodeId {
    name.parse().expect("a name")
}

async fn next(messages: &mut Subscriber) -> Value {
    let message = messages.next().await.expect("a connection");
    serde_json::from_slice(&message.payload).expect("a message of a node")
}

fn kick(version: u64) -> Notice {
    Notice::Kick { user: UserKey::new("7"), version }
}

/// Sends a message as another node.
async fn send(client: &Client, node: &str, life: u64, content: &Value) {
    let message = json!({ "from": node, "life": life, "content": content });
    client.publish(ALL, message.to_string().into()).await.expect("a connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_wrong_all_the_time_is_asked_once_per_second() {
    let servers = Servers::start(1);
    let client = servers.ready().await;
    /// Returns the life and the content of a packet by its number.
    type Packet = fn(u64) -> (u64, Value);
    let kinds: [(&str, Packet); 3] = [
        // Each notice shows that notices before it are lost.
        ("counts", |index| (1, json!({ "notice": { "number": 10 * index, "notice": kick(index) } }))),
        ("misses", |index| {
            let is_last = index == MESSAGES;
            (
                1,
                if is_last {
                    json!({ "notice": { "number": 1, "notice": kick(1) } })
                } else {
                    json!("missed")
                },
            )
        }),
        // Two nodes have one name.
        ("names", |index| (index % 2, json!({ "notice": { "number": index, "notice": kick(index) } }))),
    ];
    for (name, message) in kinds {
        let (joined, heard): (Arc<AtomicU64>, Arc<AtomicU64>) = Default::default();
        let (joins, hears) = (Arc::clone(&joined), Arc::clone(&heard));
        let sink = BusSink::new(move |event| match event {
            BusEvent::NodeJoined(node) if node.as_str() == name => {
                joins.fetch_add(1, Ordering::SeqCst);
            }
            BusEvent::Notice(node, Notice::Kick { version, .. }, _) if node.as_str() == name => {
                hears.fetch_max(*version, Ordering::SeqCst);
            }
            _ => {}
        });
        let (_bus, _messages) = connect(&servers, &client, &format!("a-{name}"), sink).await;
        let begun = Instant::now();
        for index in 1..=MESSAGES {
            let (life, content) = message(index);
            send(&client, name, life, &content).await;
        }
        let last = if name == "misses" { 1 } else { MESSAGES };
        eventually("the last notice", || async { heard.load(Ordering::SeqCst) == last }).await;
        let joins = joined.load(Ordering::SeqCst);
        let most = 1 + begun.elapsed().as_secs();
        assert!((1..=most).contains(&joins), "{name}: asked {joins} times, not {most}");
        // What was missing during the pause is exchanged after it.
        eventually("a later exchange", || async { joined.load(Ordering::SeqCst) > joins }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_has_left_for_the_servers_when_it_has_disconnected() {
    let servers = Servers::start(1);
    let client = servers.ready().await;
    let (bus, mut messages) = connect(&servers, &client, "a", BusSink::new(|_| {})).await;
    let activity = Notice::Activity { room: "lobby".parse().expect("a name") };
    for notice in [&activity, &kick(1)] {
        bus.publish(&id("a"), notice);
    }
    bus.disconnect(&id("a")).await;
    send(&client, "b", 1, &json!("missed")).await;
    let mut contents = Vec::new();
    loop {
        let Value::Object(mut message) = next(&mut messages).await else { panic!("a message of a node") };
        if message["from"] == "b" {
            break;
        }
        contents.extend(message.remove("content").filter(|content| content["sign"].is_null()));
    }
    // The kick waits for no signs of life.
    let notices = [(1, activity), (2, kick(1))];
    let notices = notices.map(|(number, notice)| json!({ "notice": { "number": number, "notice": notice } }));
    assert_eq!(contents[..2], notices);
    assert_eq!(contents[2..], ["leaves"]);
    bus.disconnect(&id("a")).await;
}

/// Without the message that comes back, it waits as long as it may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_disconnects_waits_until_a_server_has_its_last_message() {
    let deaf = json!({ "user": "deaf", "password": "deaf", "permissions": { "subscribe": { "deny": ALL } } });
    let servers = Servers::start_with(1, |config| {
        config["authorization"]["users"].as_array_mut().expect("a list").push(deaf.clone());
    });
    let client = servers.ready().await;
    let options = Options::default().with(|options| {
        options.connect = ConnectOptions::with_user_and_password("deaf".to_owned(), "deaf".to_owned());
    });
    let (bus, _messages) = connect_with(options, &servers, &client, "a", BusSink::new(|_| {})).await;
    let begun = Instant::now();
    bus.disconnect(&id("a")).await;
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_without_a_node_can_be_disconnected() {
    let servers = Servers::start(1);
    servers.ready().await;
    let bus = NatsBus::open(&servers.addresses(), &Options::default()).await.expect("a bus");
    bus.disconnect(&id("a")).await;
}
