use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chat_core::{Limits, Links, NewMessage, Range, RawValue, ThreadError, User};
use futures_util::StreamExt;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::servers::{ALONE, Servers, request};
use crate::support::{Opened, delete, eventually, node, node_of, react};

/// Messages of the long thread: several times as many as one request reads the blocks of.
const REPLIES: usize = 700;

async fn reply(room: &Opened, root: u64, text: &str) -> u64 {
    let body = RawValue::from_string(format!(r#"{{"text":"{text}"}}"#)).expect("JSON");
    let message = NewMessage::new(User::new("ann", "ann").expect("a user"), body);
    let sent = room.room.append(message.with_links(Links::default().with_thread(root))).await;
    sent.expect("a message that is stored").seq
}

async fn page(room: &Opened, root: u64, range: Range) -> (Vec<u64>, bool) {
    let page = room.room.thread(root, range).await.expect("a page");
    (page.messages.iter().map(|stored| stored.seq).collect(), page.more)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_thread_is_read_in_pages_from_both_ends() {
    let servers = Servers::start(1);
    servers.ready().await;
    let limits = Arc::new(Limits::default());
    let stores = [node(&servers, |_| {}).await, node_of(&servers, ALONE).await];
    let lobby = Opened::open(&stores[0], "lobby", &limits).await;
    let other = Opened::open(&stores[1], "lobby", &limits).await;
    lobby.say("first").await;
    lobby.say("second").await;
    // The nodes do not see each other, so both write to the room.
    for number in 0..REPLIES / 100 {
        let room = if number % 2 == 0 { &lobby } else { &other };
        join_all((0..100).map(|_| reply(room, 1, "to the first"))).await;
        tokio::join!(reply(room, 2, "to the second"), room.say("alone"));
    }
    let events = lobby.events().await;
    let in_thread = |event: &Value, root: u64| event["thread"].as_u64() == Some(root);
    let thread: Vec<_> =
        events.iter().filter(|(_, event)| in_thread(event, 1)).map(|(seq, _)| *seq).collect();
    assert_eq!(events[&1]["replies"], json!({ "count": REPLIES, "last": thread[REPLIES - 1] }));
    assert_eq!(events[&2]["replies"]["count"], REPLIES / 100);
    for seq in [thread[0], thread[40]] {
        lobby.change("zoe", seq, delete()).await.expect("a deletion");
        lobby.change("zoe", seq + 1, react()).await.expect("a reaction");
    }
    let events = lobby.events().await;
    for room in [&lobby, &other] {
        let (mut all, mut after, mut before) = (Vec::new(), 0, u64::MAX);
        loop {
            let (seqs, more) = page(room, 1, Range::after(after, 90)).await;
            after = *seqs.last().expect("a message");
            all.extend(seqs);
            if !more {
                break;
            }
        }
        assert_eq!(all, thread);
        all.clear();
        loop {
            let (seqs, more) = page(room, 1, Range::before(before, 90)).await;
            before = seqs[0];
            all.splice(..0, seqs);
            if !more {
                break;
            }
        }
        assert_eq!(all, thread);
        for (index, seq) in thread.iter().enumerate().step_by(17) {
            let (after, before) = (index + 1, index.saturating_sub(3));
            let wanted = (&thread[after..REPLIES.min(after + 3)], after + 3 < REPLIES);
            assert_eq!(page(room, 1, Range::after(*seq, 3)).await, (wanted.0.to_vec(), wanted.1));
            let wanted = (thread[before..index].to_vec(), before > 0);
            assert_eq!(page(room, 1, Range::before(*seq, 3)).await, wanted);
        }
        let read = room.room.thread(1, Range::after(0, 50)).await.expect("a page");
        for stored in &read.messages {
            let event: Value = serde_json::from_slice(&stored.frame).expect("an event");
            assert_eq!(event, events[&stored.seq], "in its present form");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_a_thread_reads_few_records_of_other_messages() {
    let servers = Servers::start(1);
    let client = servers.ready().await;
    let limits = Arc::new(Limits::default());
    let writer = Opened::open(&node(&servers, |_| {}).await, "lobby", &limits).await;
    writer.say("first").await;
    for _ in 0..10 {
        for _ in 0..50 {
            writer.say("alone").await;
        }
        reply(&writer, 1, "in the thread").await;
    }
    // A node that has read nothing of the room.
    let reader = Opened::open(&node(&servers, |_| {}).await, "lobby", &limits).await;
    let (asked, mut requests) = (Arc::new(AtomicU64::new(0)), {
        client.subscribe("$JS.API.DIRECT.GET.chat").await.expect("a subscription")
    });
    client.flush().await.expect("a connection");
    let counted = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Some(message) = requests.next().await {
            let query: Value = serde_json::from_slice(&message.payload).expect("a query");
            let subjects = query["multi_last"].as_array().map_or(0, Vec::len) as u64;
            counted.fetch_add(query["batch"].as_u64().unwrap_or_default() + subjects, Ordering::SeqCst);
        }
    });
    assert_eq!(page(&reader, 1, Range::newest(20)).await.0.len(), 10);
    // All requests before this one were counted.
    eventually("the requests", || async { asked.load(Ordering::SeqCst) >= 20 }).await;
    request(&client, "STREAM.INFO.chat", &json!({})).await.expect("a stream");
    let asked = asked.load(Ordering::SeqCst);
    assert!((20..50).contains(&asked), "{asked} messages of the stream for 10 in the thread, of 511");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_is_removed_with_its_root() {
    let servers = Servers::start(1);
    let client = servers.ready().await;
    let limits = Limits::default().with(|limits| limits.rooms.key_window = Duration::from_millis(100));
    let limits = Arc::new(limits);
    let store = node(&servers, |options| options.retain_messages = Some(80)).await;
    let lobby = Opened::open(&store, "lobby", &limits).await;
    lobby.say("first").await;
    join_all((0..70).map(|_| reply(&lobby, 1, "hi"))).await;
    let subjects = || async {
        let query = json!({ "subjects_filter": "chat.*.*.*.>" });
        let info = request(&client, "STREAM.INFO.chat", &query).await.expect("a stream");
        info["state"]["subjects"].as_object().map_or(0, serde_json::Map::len)
    };
    assert_eq!(subjects().await, 3, "the state of the root, and two blocks");
    assert_eq!(page(&lobby, 1, Range::newest(100)).await.0.len(), 70);
    eventually("the thread is removed", || async {
        for _ in 0..100 {
            lobby.say("hi").await;
        }
        subjects().await == 0
    })
    .await;
    assert_eq!(lobby.room.thread(1, Range::newest(9)).await, Err(ThreadError::NoMessage));
}
