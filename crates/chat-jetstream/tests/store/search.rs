//! Searches through the index of one node.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chat_core::{Limits, Search, SearchError, Store};
use chat_jetstream::JetStreamStore;
use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::erasure::finds;
use crate::lost_end::{copy, restore};
use crate::servers::Servers;
use crate::support::{Opened, delete, edit, eventually, node, react};

/// Opens a node with an index in a directory.
async fn indexing(servers: &Servers, dir: &Path) -> JetStreamStore {
    node(servers, |options| options.search_index = Some(dir.to_owned())).await
}

async fn find(room: &Opened, query: &str) -> Vec<u64> {
    let page = room.room.search(Search::new(query, 100)).await.expect("a page");
    page.messages.iter().map(|stored| stored.seq).collect()
}

/// Waits until an index answers the searches of a node, and has all of the room.
async fn is_indexed(store: &JetStreamStore, room: &Opened) {
    for _ in 0..600 {
        let scans = store.stats().scans;
        let _found = room.room.search(Search::new("x", 1)).await;
        if store.stats().scans == scans {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("no index answers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_finds_the_oldest_of_25_000_messages_on_each_node() {
    let servers = Servers::start(1);
    servers.ready().await;
    let (limits, dir) = (Arc::new(Limits::default()), TempDir::new().expect("a directory"));
    let store = node(&servers, |_| {}).await;
    let lobby = Opened::open(&store, "lobby", &limits).await;
    assert_eq!(lobby.say("pear 1").await, 1);
    for first in (2..=25_000).step_by(1_000) {
        let numbers = first..(first + 1_000).min(25_001);
        join_all(numbers.map(|number| lobby.append(if number == 7_000 { "pear 2" } else { "plum" }, None)))
            .await
            .into_iter()
            .for_each(|receipt| drop(receipt.expect("a receipt")));
    }
    let found = lobby.room.search(Search::new("pear", 9)).await;
    assert_eq!(found, Err(SearchError::TooExpensive), "no node has an index");
    let other = indexing(&servers, dir.path()).await;
    let elsewhere = Opened::open(&other, "lobby", &limits).await;
    is_indexed(&store, &lobby).await;
    let scans = [&store, &other].map(|store| store.stats().scans);
    for room in [&lobby, &elsewhere] {
        let found = find(room, "pear").await;
        assert!(found.len() == 2 && found[1] == 1, "{found:?}");
        let page = room.room.search(Search::new("plum", 100).before(102)).await.expect("a page");
        let seqs = page.messages.iter().map(|stored| stored.seq);
        assert!(seqs.eq((2..=101).rev()) && !page.more, "the positions before 102");
    }
    assert_eq!([&store, &other].map(|store| store.stats().scans), scans, "no search was a scan");
    let seq = lobby.say("the last pear").await;
    is_indexed(&other, &elsewhere).await;
    assert_eq!(find(&elsewhere, "last pear").await, [seq]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_text_leaves_the_index_and_an_edited_one_is_not_found() {
    let servers = Servers::start(1);
    servers.ready().await;
    let (limits, dir) = (Arc::new(Limits::default()), TempDir::new().expect("a directory"));
    let store = indexing(&servers, dir.path()).await;
    let lobby = Opened::open(&store, "lobby", &limits).await;
    is_indexed(&store, &lobby).await;
    for text in ["qzxjv", "pear", "wkyvq"] {
        lobby.say(text).await;
    }
    lobby.change("ann", 1, edit("jwxqv")).await.expect("an edit");
    lobby.change("bob", 3, react()).await.expect("a reaction");
    assert_eq!((find(&lobby, "qzxjv").await, find(&lobby, "jwxqv").await), (vec![], vec![1]));
    assert_eq!(find(&lobby, "wkyvq").await, [3]);
    for part in ["qzx", "jwx", "wky"] {
        assert!(finds(dir.path(), part), "{part} is in the index");
    }
    lobby.change("zoe", 1, delete()).await.expect("a deletion");
    eventually("the parts of the text are erased", || async {
        !finds(dir.path(), "qzx") && !finds(dir.path(), "jwx")
    })
    .await;
    assert!(finds(dir.path(), "wky"));
    assert_eq!((find(&lobby, "jwxqv").await, find(&lobby, "wkyvq").await), (vec![], vec![3]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_learns_what_has_changed_while_its_node_did_not_run() {
    let servers = Servers::start(1);
    servers.ready().await;
    let (limits, dir) = (Arc::new(Limits::default()), TempDir::new().expect("a directory"));
    let store = node(&servers, |options| options.retain_messages = Some(20)).await;
    let lobby = Opened::open(&store, "lobby", &limits).await;
    let other = indexing(&servers, dir.path()).await;
    is_indexed(&store, &lobby).await;
    for text in ["pear", "qzxjv", "plum", "grape"] {
        lobby.say(text).await;
    }
    assert_eq!(find(&lobby, "qzxjv").await, [2]);
    other.close().await.expect("a store that can be closed");
    lobby.change("zoe", 2, delete()).await.expect("a deletion");
    lobby.change("ann", 3, edit("cherry")).await.expect("an edit");
    for text in ["pear", "wkyvq", "fig"] {
        lobby.say(text).await;
    }
    // The index never gets the record of this message, but its copy.
    lobby.change("zoe", 8, delete()).await.expect("a deletion");
    let other = indexing(&servers, dir.path()).await;
    is_indexed(&store, &lobby).await;
    for (query, found) in
        [("pear", vec![7, 1]), ("plum", vec![]), ("cherry", vec![3]), ("fig", vec![9]), ("wkyvq", vec![])]
    {
        assert_eq!(find(&lobby, query).await, found, "{query}");
    }
    eventually("the parts of the text are erased", || async { !finds(dir.path(), "qzx") }).await;
    for _ in 0..600 {
        lobby.say("apple").await;
    }
    is_indexed(&store, &lobby).await;
    let scans = store.stats().scans;
    let first = lobby.room.bounds().await.expect("bounds").first;
    assert!(first > 500, "retention has removed messages");
    let all = find(&lobby, "apple").await;
    assert!(all.iter().all(|seq| *seq >= first) && all.len() >= 20 && find(&lobby, "pear").await.is_empty());
    assert_eq!(store.stats().scans, scans, "no search was a scan");
    drop(other);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_index_finds_messages_whose_record_was_replaced() {
    let servers = Servers::start(1);
    servers.ready().await;
    let (limits, dir) = (Arc::new(Limits::default()), TempDir::new().expect("a directory"));
    let store = node(&servers, |_| {}).await;
    let lobby = Opened::open(&store, "lobby", &limits).await;
    // Most of them are in one record, which the deletion replaces by a copy.
    for receipt in join_all((0..20).map(|_| lobby.append("pear", None))).await {
        receipt.expect("a receipt");
    }
    lobby.change("zoe", 12, delete()).await.expect("a deletion");
    let other = indexing(&servers, dir.path()).await;
    is_indexed(&store, &lobby).await;
    let scans = store.stats().scans;
    assert_eq!(find(&lobby, "pear").await, (1..=20).rev().filter(|seq| *seq != 12).collect::<Vec<_>>());
    assert_eq!(store.stats().scans, scans, "no search was a scan");
    drop(other);
}

/// All nodes end, and the server loses what it has stored last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_is_built_again_if_the_stream_has_lost_its_end_meanwhile() {
    let mut servers = Servers::start(1);
    servers.ready().await;
    let (limits, dir) = (Arc::new(Limits::default()), TempDir::new().expect("a directory"));
    let store = indexing(&servers, dir.path()).await;
    let lobby = Opened::open(&store, "lobby", &limits).await;
    lobby.say("pear").await;
    let before = lobby.room.bounds().await.expect("bounds");
    copy(&mut servers);
    servers.ready().await;
    for _ in 0..5 {
        while lobby.append("lost plum", None).await.is_err() {}
    }
    is_indexed(&store, &lobby).await;
    assert_eq!(find(&lobby, "plum").await.last(), Some(&2));
    store.close().await.expect("a store that can be closed");
    restore(&mut servers);
    servers.ready().await;
    let store = indexing(&servers, dir.path()).await;
    let lobby = Opened::open(&store, "lobby", &limits).await;
    eventually("a new epoch", || async {
        lobby.room.bounds().await.is_ok_and(|bounds| bounds.epoch != before.epoch)
    })
    .await;
    assert_eq!(lobby.say("other").await, 2);
    is_indexed(&store, &lobby).await;
    let scans = store.stats().scans;
    assert_eq!((find(&lobby, "plum").await, find(&lobby, "other").await), (vec![], vec![2]));
    assert_eq!(store.stats().scans, scans, "no search was a scan");
}
