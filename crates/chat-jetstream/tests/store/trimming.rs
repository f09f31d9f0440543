use std::sync::Arc;
use std::time::Duration;

use chat_core::Limits;
use serde_json::json;

use crate::servers::{ALONE, Servers, request};
use crate::support::{Opened, delete, eventually, node, node_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_cannot_be_read_are_removed_once_their_keys_are_old() {
    let servers = Servers::start(1);
    let client = servers.ready().await;
    let limits = Limits::default().with(|limits| limits.rooms.key_window = Duration::from_millis(100));
    let limits = Arc::new(limits);
    let store = node(&servers, |options| options.retain_messages = Some(20)).await;
    let lobby = Opened::open(&store, "lobby", &limits).await;
    let said = std::sync::atomic::AtomicU64::new(0);
    eventually("old records are removed", || async {
        for _ in 0..100 {
            said.store(lobby.say("hi").await, std::sync::atomic::Ordering::SeqCst);
        }
        let info = request(&client, "STREAM.INFO.chat", &json!({})).await.expect("a stream");
        let (stored, said) =
            (info["state"]["messages"].as_u64(), said.load(std::sync::atomic::Ordering::SeqCst));
        said > 600 && stored.is_some_and(|stored| (20..said / 2).contains(&stored))
    })
    .await;
    let head = said.into_inner();
    let bounds = lobby.room.bounds().await.expect("bounds");
    assert_eq!((bounds.head, bounds.first), (head, head - 19));
    assert_eq!(lobby.texts().await.len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_node_knows_the_key_of_a_message_that_retention_has_removed() {
    repeat_on_a_new_node(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_node_knows_the_key_of_a_deleted_message_that_retention_has_removed() {
    repeat_on_a_new_node(true).await;
}

async fn repeat_on_a_new_node(is_deleted: bool) {
    let servers = Servers::start(1);
    servers.ready().await;
    let limits = Arc::new(Limits::default());
    let store = node(&servers, |options| options.retain_messages = Some(5)).await;
    let lobby = Opened::open(&store, "lobby", &limits).await;
    assert_eq!(lobby.append("first", Some("k")).await.expect("a receipt").seq, 1);
    if is_deleted {
        // A copy is all that is left of its record.
        lobby.change("zoe", 1, delete()).await.expect("a deletion");
    }
    for _ in 0..300 {
        lobby.say("hi").await;
    }
    // It asks no other node.
    let other = node_of(&servers, ALONE).await;
    let lobby = Opened::open(&other, "lobby", &limits).await;
    let repeated = lobby.append("first", Some("k")).await.expect("a receipt");
    assert!(repeated.duplicate && repeated.seq == 1, "{repeated:?}");
    // A deletion makes space for one more entry.
    assert_eq!(lobby.room.bounds().await.expect("bounds").first, 297);
}
