//! Messages of one connection in flight: they share commits and keep their order.

use crate::support::{StoreDir, TEST_TIMEOUT};
use chat_core::{Chat, Limits, Rate};
use chat_sqlite::Options;
use chat_testkit as session;
use serde_json::json;

const MESSAGES: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_one_connection_share_commits_and_keep_their_order() {
    let dir = StoreDir::new();
    let store = dir.open();
    let limits = Limits::default().with(|limits| {
        limits.rooms.call_timeout = TEST_TIMEOUT;
        limits.rates.connection = Rate::UNLIMITED;
        limits.rates.user = Rate::UNLIMITED;
    });
    let chat = Chat::builder().limits(limits).store(store.clone()).build();
    let mut ann = session::member(&chat, "ann").await;
    for number in 1..=MESSAGES {
        let body = json!({"text": number.to_string()});
        ann.send(json!({"type": "send", "room": "lobby", "ref": number.to_string(), "body": body}));
    }
    let (mut sent, mut messages) = (Vec::new(), Vec::new());
    while sent.len() < MESSAGES || messages.len() < MESSAGES {
        let event = ann.event().await;
        match event["type"].as_str() {
            Some("sent") => sent.push((event["ref"].clone(), event["seq"].clone())),
            Some("message") => messages.push((event["body"]["text"].clone(), event["seq"].clone())),
            _ => {}
        }
    }
    let expected: Vec<_> = (1..=MESSAGES).map(|number| (json!(number.to_string()), json!(number))).collect();
    assert_eq!((&sent, &messages), (&expected, &expected));
    let commits = store.stats().commits;
    assert!(commits < 100, "{commits} commits");
}

/// The queue is much shorter than the messages in flight, so most of them wait for a place in it.
#[tokio::test(flavor = "multi_thread")]
async fn messages_that_wait_for_a_full_queue_keep_their_order() {
    let dir = StoreDir::new();
    let store = dir.open_with(Options::default().with(|options| options.max_queued_appends = 70));
    let limits = Limits::default().with(|limits| {
        limits.rooms.call_timeout = TEST_TIMEOUT;
        limits.rates.connection = Rate::UNLIMITED;
        limits.rates.user = Rate::UNLIMITED;
        limits.connection.max_backlog_commands = MESSAGES;
    });
    let chat = Chat::builder().limits(limits).store(store.clone()).build();
    let mut writers = Vec::new();
    for number in 0..3 {
        let mut peer = session::connect(&chat, &format!("writer-{number}")).await;
        peer.join("lobby").await;
        writers.push(tokio::spawn(async move {
            for number in 1..=MESSAGES {
                let body = json!({"text": number.to_string()});
                peer.send(json!({"type": "send", "room": "lobby", "ref": number.to_string(), "body": body}));
            }
            let mut seqs = Vec::new();
            while seqs.len() < MESSAGES {
                let event = peer.event().await;
                if event["type"] == "sent" {
                    seqs.push(event["seq"].as_u64().expect("a seq"));
                }
            }
            assert!(seqs.is_sorted(), "{seqs:?}");
        }));
    }
    for writer in writers {
        writer.await.expect("in order");
    }
    assert_eq!(store.stats().appends, 3 * u64::try_from(MESSAGES).expect("a number"));
}
