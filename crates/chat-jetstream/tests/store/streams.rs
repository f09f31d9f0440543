//! A chat with its rooms in several streams.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::Client;
use chat_core::{AppendError, Health, Limits, Store};
use chat_jetstream::{ConnectOptions, JetStreamStore, OpenError, Options};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::servers::{Servers, request};
use crate::support::{Opened, eventually, node};

/// The messages that must be stored in the other streams while one has no leader: few of those that a machine which is
/// not busy stores in that time.
const ENOUGH: usize = 20;

/// The time in which the other servers choose a leader. They need up to 12 s, and a busy machine more.
const ELECTION_LIMIT: Duration = Duration::from_secs(45);

/// The rooms from which one of each stream is taken.
const ROOMS: usize = 100;

async fn open(addresses: &str, stream: &str, streams: usize) -> Result<JetStreamStore, OpenError> {
    let options = Options::default().with(|options| {
        (options.stream, options.streams, options.replicas) = (stream.to_owned(), streams, 1);
    });
    JetStreamStore::open(addresses, options).await
}

async fn info(client: &Client, stream: &str) -> Value {
    request(client, &format!("STREAM.INFO.{stream}"), &json!({})).await.expect("an answer")
}

/// Returns a room of each stream, which gets a message. The numbers of messages in the streams show which one it is in.
async fn room_of_each(client: &Client, store: &JetStreamStore) -> BTreeMap<String, String> {
    let names: Vec<_> = store.streams().into_iter().map(|stream| stream.name).collect();
    let (limits, mut rooms) = (Arc::new(Limits::default()), BTreeMap::new());
    let lengths = async || {
        let infos = join_all(names.iter().map(|name| info(client, name))).await;
        infos.iter().map(|info| info["state"]["messages"].as_u64().expect("a number")).collect::<Vec<_>>()
    };
    for number in 0..ROOMS {
        let (room, before) = (format!("room-{number}"), lengths().await);
        Opened::open(store, &room, &limits).await.say("1").await;
        let grown = before.iter().zip(lengths().await).position(|(before, after)| *before < after);
        rooms.entry(names[grown.expect("a stream that has grown")].clone()).or_insert(room);
        if rooms.len() == names.len() {
            return rooms;
        }
    }
    panic!("{ROOMS} rooms are in the streams {:?} only", rooms.keys());
}

/// Returns the number of the server that leads a stream.
async fn leader(client: &Client, stream: &str) -> Option<usize> {
    let info = info(client, stream).await;
    info["cluster"]["leader"].as_str()?.trim_start_matches('n').parse().ok()
}

/// Opens two nodes that use all servers but one.
async fn nodes_without(servers: &Servers, server: usize, streams: usize) -> [JetStreamStore; 2] {
    let addresses = (0..3).filter(|number| *number != server);
    let addresses: Vec<_> =
        addresses.map(|number| format!("nats://127.0.0.1:{}", servers.port(number))).collect();
    let open = || async {
        let options = Options::default().with(|options| {
            options.streams = streams;
            options.connect = ConnectOptions::new().ignore_discovered_servers();
        });
        JetStreamStore::open(&addresses.join(","), options).await.expect("a store")
    };
    [open().await, open().await]
}

#[tokio::test]
async fn another_number_of_streams_is_refused_and_nothing_is_created() {
    let servers = Servers::start(1);
    let client = servers.ready().await;
    let addresses = servers.addresses();
    drop(open(&addresses, "chat", 3).await.expect("a store"));
    for wanted in [1, 2, 4] {
        let refused = open(&addresses, "chat", wanted).await.expect_err("no store");
        assert!(matches!(refused, OpenError::OtherStreams { found: 3, .. }), "{refused}");
        let text = refused.to_string();
        assert!(
            text.starts_with(&format!("the chat has its rooms in 3 streams instead of {wanted}")),
            "{text}"
        );
    }
    assert_eq!(info(&client, "chat-4").await["error"]["code"], 404);
    for number in 1..=3 {
        let name = if number == 1 { "chat".to_owned() } else { format!("chat-{number}") };
        let of = info(&client, &name).await["config"]["metadata"]["chat-stream"].take();
        assert_eq!(of, format!("{number}-of-3"));
    }
    // No chat has the name of a stream of another chat.
    let refused = open(&addresses, "chat-2", 1).await.expect_err("no store");
    assert!(matches!(refused, OpenError::InvalidName), "{refused}");
    let config = json!({ "name": "other-2", "subjects": ["orders.*"] });
    request(&client, "STREAM.CREATE.other-2", &config).await.expect("a stream");
    let refused = open(&addresses, "other", 2).await.expect_err("no store");
    assert!(matches!(refused, OpenError::ForeignStream(name) if name == "other-2"));
    for streams in [0, 65] {
        let refused = open("nats://127.0.0.1:1", "chat", streams).await;
        assert!(matches!(refused, Err(OpenError::InvalidStreams)), "{streams}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_lost_begins_new_epochs_of_its_own_rooms_only() {
    let servers = Servers::start(1);
    let client = servers.ready().await;
    let limits = Arc::new(Limits::default());
    let store = open(&servers.addresses(), "chat", 3).await.expect("a store");
    let rooms = room_of_each(&client, &store).await;
    let mut opened = BTreeMap::new();
    for (stream, room) in &rooms {
        let room = Opened::open(&store, room, &limits).await;
        let epoch = room.room.bounds().await.expect("bounds").epoch;
        opened.insert(stream, (room, epoch));
    }
    request(&client, "STREAM.DELETE.chat-2", &json!({})).await.expect("an answer");
    for (stream, (room, before)) in opened {
        let is_lost = stream == "chat-2";
        if is_lost {
            room.is_renewed().await;
        }
        let after = room.room.bounds().await.expect("bounds");
        assert_eq!((after.epoch != before, after.head), (is_lost, u64::from(!is_lost)), "{stream}");
        assert_eq!(room.say("2").await, after.head + 1, "{stream}");
    }
    assert_eq!(store.stats().new_epochs, 1);
    let of = info(&client, "chat-2").await["config"]["metadata"]["chat-stream"].take();
    assert_eq!(of, "2-of-3", "it is made again as it was");
}

/// Each stream has one copy, so those of the server that is killed have no leader until it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_without_a_leader_is_named_and_impairs_its_own_rooms_only() {
    const STREAMS: usize = 6;
    let mut servers = Servers::start(3);
    let client = servers.ready().await;
    let limits = Arc::new(Limits::default());
    let first = node(&servers, |options| options.streams = STREAMS).await;
    let rooms = room_of_each(&client, &first).await;
    drop(first);
    let mut leaders = BTreeMap::new();
    for stream in rooms.keys() {
        leaders.insert(stream.clone(), leader(&client, stream).await.expect("a leader"));
    }
    let victim = leaders["chat-2"];
    assert!(leaders.values().any(|leader| *leader != victim), "all streams on one server: {leaders:?}");
    let nodes = nodes_without(&servers, victim, STREAMS).await;
    let (mut alive, mut dead) = (Vec::new(), Vec::new());
    for (stream, room) in &rooms {
        let on_both =
            [Opened::open(&nodes[0], room, &limits).await, Opened::open(&nodes[1], room, &limits).await];
        if leaders[stream] == victim {
            dead.push(on_both);
        } else {
            alive.push(on_both);
        }
    }
    servers.kill(victim);
    let refused = join_all(dead.iter().flatten().map(|room| room.append("no", Some("no")))).await;
    assert!(refused.iter().all(|refused| matches!(refused, Err(AppendError::Unavailable(_)))), "{refused:?}");
    // The server may have led the others too. Until they have another leader, no stream answers questions.
    for store in &nodes {
        let is_named = |health| {
            leaders.iter().any(|(stream, leader)| {
                let cause = format!("the leader of the stream {stream} does not answer");
                *leader == victim && health == Health::Degraded(cause)
            })
        };
        let is_ready =
            |stream: &str| store.streams().iter().any(|of| of.name == stream && of.health == Health::Ready);
        let are_ready = || leaders.iter().all(|(stream, leader)| is_ready(stream) != (*leader == victim));
        eventually("an impaired store", || async { is_named(store.health()) && are_ready() }).await;
    }
    for [one, other] in &alive {
        for seq in (2..20).step_by(2) {
            assert_eq!((one.say("one").await, other.say("other").await), (seq, seq + 1));
        }
        for room in [one, other] {
            room.hears(19).await;
            assert!(room.room.known_bounds().is_some_and(|bounds| bounds.head == 19));
        }
    }
    servers.revive(victim);
    for [one, other] in &dead {
        eventually("a stored message", || async { one.append("no", Some("no")).await.is_ok() }).await;
        let again = other.append("no", Some("no")).await.expect("a receipt");
        assert_eq!((again.seq, again.duplicate), (2, true));
    }
    for store in &nodes {
        eventually("a store that is ready", || async { store.health() == Health::Ready }).await;
    }
}

/// The leader of one stream is killed, and the others elect one. Meanwhile, messages to the other streams are stored. A
/// busy machine may refuse some of them, so they are repeated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_of_other_streams_go_on_while_one_stream_elects_its_leader() {
    const STREAMS: usize = 3;
    const VICTIM: usize = 1;
    let mut servers = Servers::start(3);
    let client = servers.ready().await;
    let limits = Arc::new(Limits::default());
    let first = node(&servers, |options| (options.streams, options.replicas) = (STREAMS, 3)).await;
    let rooms = room_of_each(&client, &first).await;
    drop(first);
    for stream in rooms.keys() {
        let wanted = if stream == "chat-2" { VICTIM } else { 0 };
        let preferred = json!({ "placement": { "preferred": format!("n{wanted}") } });
        eventually("the wanted leader", || async {
            let is_wanted = leader(&client, stream).await == Some(wanted);
            if !is_wanted {
                request(&client, &format!("STREAM.LEADER.STEPDOWN.{stream}"), &preferred).await;
                sleep(Duration::from_millis(200)).await;
            }
            is_wanted
        })
        .await;
    }
    let nodes = nodes_without(&servers, VICTIM, STREAMS).await;
    let (is_over, mut writers) = (Arc::new(AtomicBool::new(false)), Vec::new());
    let stored: BTreeMap<_, _> =
        rooms.keys().map(|name| (name.clone(), Arc::new(AtomicUsize::new(0)))).collect();
    for (stream, room) in &rooms {
        for (number, store) in nodes.iter().enumerate() {
            let (room, is_over) = (Opened::open(store, room, &limits).await, Arc::clone(&is_over));
            let stored = Arc::clone(&stored[stream]);
            writers.push(tokio::spawn(async move {
                for message in 0.. {
                    let key = format!("{number}-{message}");
                    while room.append(&key, Some(&key)).await.is_err() {
                        sleep(Duration::from_millis(20)).await;
                    }
                    stored.fetch_add(1, Ordering::SeqCst);
                    if is_over.load(Ordering::SeqCst) {
                        return;
                    }
                }
            }));
        }
    }
    let counts = || -> BTreeMap<String, usize> {
        stored.iter().map(|(name, count)| (name.clone(), count.load(Ordering::SeqCst))).collect()
    };
    let until = async |what: &str, holds: &dyn Fn(&BTreeMap<String, usize>) -> bool| {
        let until = Instant::now() + ELECTION_LIMIT;
        loop {
            let counts = counts();
            if holds(&counts) {
                return counts;
            }
            assert!(Instant::now() < until, "{what}: not within {ELECTION_LIMIT:?}: {counts:?}");
            sleep(Duration::from_millis(5)).await;
        }
    };
    let more = async |before: BTreeMap<String, usize>| {
        until("more messages", &|now| now.iter().all(|(name, count)| *count >= before[name] + ENOUGH)).await
    };
    more(counts()).await;
    servers.kill(VICTIM);
    let (before, start) = (counts(), Instant::now());
    let seen = RefCell::new(Vec::new());
    let has_leader = |now: &BTreeMap<String, usize>| {
        seen.borrow_mut().push((start.elapsed(), now.clone()));
        // One append of each node was on its way when the leader was killed, and may still be answered.
        now["chat-2"] > before["chat-2"] + nodes.len()
    };
    let after = until("a leader", &has_leader).await;
    // The nodes have noticed by then that a stream has no leader.
    let half = start.elapsed() / 2;
    let seen = seen.into_inner();
    let (_, middle) = seen.iter().find(|(time, _)| *time >= half).expect("counts of the second half");
    for (stream, count) in after.iter().filter(|(stream, _)| *stream != "chat-2") {
        let stored = count - middle[stream];
        assert!(
            stored >= ENOUGH,
            "{stream}: {stored} messages in the last {half:?} without a leader of chat-2"
        );
    }
    more(after).await;
    is_over.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.expect("a writer");
    }
}
