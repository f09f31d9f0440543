use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use chat_core::{AppendError, ChangeError, Limits};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::servers::{Servers, request};
use crate::support::{Opened, body, node, react};

const ROOMS: [&str; 3] = ["lobby", "hall", "attic"];

/// The writers of each room on each node.
const WRITERS: usize = 2;

/// The time in which the other servers choose a leader. They need up to 12 s, and a busy machine more.
const ELECTION_LIMIT: Duration = Duration::from_secs(45);

/// The messages that must be acknowledged before the leader is killed, and after it.
const ENOUGH: usize = 200;

/// Each acknowledged key, with its room and position.
type Acknowledged = Arc<Mutex<BTreeMap<String, (usize, u64)>>>;

/// Each writer reacts to one of this many of its messages.
const PER_REACTION: usize = 5;

/// The keys of messages in two nodes are repeated until they are acknowledged, as clients do. So are reactions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_killed_loses_no_acknowledged_message() {
    let mut servers = Servers::start(3);
    let client = servers.ready().await;
    let limits = Arc::new(Limits::default());
    let nodes = [node(&servers, |options| options.replicas = 3).await, node(&servers, |_| {}).await];
    let acknowledged = Acknowledged::default();
    let (is_over, counter) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (mut opened, mut writers) = (Vec::new(), Vec::new());
    for (index, name) in ROOMS.iter().enumerate() {
        for (number, store) in nodes.iter().enumerate() {
            let room = Opened::open(store, name, &limits).await;
            for writer in 0..WRITERS {
                let writer = format!("n{number}-w{writer}");
                let shared = (Arc::clone(&acknowledged), Arc::clone(&is_over), Arc::clone(&counter));
                writers.push(tokio::spawn(write(room.clone(), index, writer, shared)));
            }
            opened.push((index, room));
        }
    }
    enough(&counter, ENOUGH).await;
    let info = request(&client, "STREAM.INFO.chat", &json!({})).await.expect("a stream");
    let leader = info["cluster"]["leader"].as_str().expect("a leader");
    let leader: usize = leader.trim_start_matches('n').parse().expect("the name of a server");
    servers.kill(leader);
    // Appends that were on their way when the leader was killed may still be answered.
    sleep(Duration::from_secs(1)).await;
    enough(&counter, counter.load(Ordering::SeqCst) + ENOUGH).await;
    servers.revive(leader);
    enough(&counter, counter.load(Ordering::SeqCst) + ENOUGH).await;
    is_over.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.expect("a writer that does not fail");
    }
    // A node that knows nothing reads all.
    let store = node(&servers, |_| {}).await;
    let acknowledged = acknowledged.lock().clone();
    assert!(acknowledged.len() >= 3 * ENOUGH);
    for (index, name) in ROOMS.iter().enumerate() {
        let room = Opened::open(&store, name, &limits).await;
        let (entries, events) = (room.entries().await, room.events().await);
        let head = entries.len() as u64;
        assert_eq!(entries, (1..=head).collect::<Vec<_>>(), "no hole");
        let stored: Vec<_> = events.iter().map(|(seq, event)| (*seq, body(event))).collect();
        let by_text: BTreeMap<_, _> = stored.iter().map(|(seq, text)| (text, *seq)).collect();
        assert_eq!(by_text.len(), stored.len(), "each text once");
        for (text, (_, seq)) in acknowledged.iter().filter(|(_, (room, _))| *room == index) {
            assert_eq!(by_text.get(text), Some(seq), "{text}");
            let reactions = &events[seq]["reactions"];
            assert!(!has_reaction(text) || reactions[0]["count"] == 1, "{text}: {reactions}");
        }
        for (_, room) in opened.iter().filter(|(room, _)| *room == index) {
            room.hears(head).await;
        }
    }
}

async fn write(
    room: Opened,
    index: usize,
    writer: String,
    (acknowledged, is_over, counter): (Acknowledged, Arc<AtomicBool>, Arc<AtomicUsize>),
) {
    let mut number = 0;
    while !is_over.load(Ordering::SeqCst) {
        number += 1;
        let text = format!("{writer}-r{index}-{number}");
        let receipt = loop {
            match room.append(&text, Some(&text)).await {
                Ok(receipt) => break receipt,
                Err(AppendError::Unavailable(_)) => sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("{text}: {error}"),
            }
        };
        while has_reaction(&text) {
            match room.change(&writer, receipt.seq, react()).await {
                Ok(_) => break,
                Err(ChangeError::Unavailable(_)) => sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("a reaction to {text}: {error}"),
            }
        }
        acknowledged.lock().insert(text, (index, receipt.seq));
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

/// Returns true if the writer reacts to this message of its own.
fn has_reaction(text: &str) -> bool {
    let number: usize = text.rsplit('-').next().and_then(|number| number.parse().ok()).expect("a number");
    number.is_multiple_of(PER_REACTION)
}

async fn enough(counter: &AtomicUsize, count: usize) {
    let until = Instant::now() + ELECTION_LIMIT;
    while counter.load(Ordering::SeqCst) < count {
        let acknowledged = counter.load(Ordering::SeqCst);
        assert!(Instant::now() < until, "{acknowledged} of {count} messages within {ELECTION_LIMIT:?}");
        sleep(Duration::from_millis(20)).await;
    }
}
