//! The size of the write-ahead log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chat_core::Search;
use chat_sqlite::{Durability, Options};
use rusqlite::Connection;

use crate::support::{StoreDir, TEST_TIMEOUT, append, lobby_with, room, wait_until};

const MIB: u64 = 1024 * 1024;

fn options() -> Options {
    Options::default().with(|options| {
        options.durability = Durability::Process;
        options.search_time_limit = TEST_TIMEOUT;
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn overlapping_searches_do_not_keep_the_log_from_being_emptied() {
    let dir = StoreDir::new();
    let store = dir.open_with(options());
    let lobby = lobby_with(&store, |limits| limits.rooms.call_timeout = TEST_TIMEOUT);
    let text = "word ".repeat(800);
    for _ in 0..200 {
        append(&lobby, &text).await.expect("appended");
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let searches: Vec<_> = (0..4)
        .map(|_| {
            let (lobby, is_over) = (Arc::clone(&lobby), Arc::clone(&is_over));
            tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    // No message has all words, but each must be examined.
                    let query = "word ordw".to_owned();
                    lobby.search(Search::new(query, 9)).await.expect("searched");
                }
            })
        })
        .collect();
    let hall = room(&store, "hall");
    // Without words, so that the index has little work.
    let text = "x".to_owned() + &" ".repeat(16 * 1024);
    let (mut written, mut largest) = (0, 0);
    while written < 112 * MIB {
        let appends = (0..32).map(|_| append(&hall, &text));
        for appended in futures_util::future::join_all(appends).await {
            appended.expect("appended");
        }
        written += 32 * 16 * 1024;
        largest = largest.max(std::fs::metadata(dir.file("chat.db-wal")).expect("a file").len());
    }
    is_over.store(true, Ordering::Relaxed);
    for search in searches {
        search.await.expect("no panic");
    }
    assert!(largest < 90 * MIB, "{} MiB", largest / MIB);
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_log_is_emptied_when_another_process_no_longer_reads() {
    let dir = StoreDir::new();
    let store = dir.open_with(options());
    let lobby = room(&store, "lobby");
    append(&lobby, "hi").await.expect("appended");
    let other = Connection::open(dir.file("chat.db")).expect("a connection");
    other.execute_batch("BEGIN; SELECT count(*) FROM messages").expect("a snapshot");
    let text = "x".to_owned() + &" ".repeat(16 * 1024);
    while store.stats().wal_bytes <= 70 * MIB {
        let appends = (0..32).map(|_| append(&lobby, &text));
        for appended in futures_util::future::join_all(appends).await {
            appended.expect("appended although the log cannot be emptied");
        }
    }
    other.execute_batch("ROLLBACK").expect("ended");
    wait_until(async || {
        append(&lobby, "hi").await.expect("appended");
        tokio::time::sleep(Duration::from_millis(50)).await;
        let bytes = std::fs::metadata(dir.file("chat.db-wal")).expect("a file").len();
        store.stats().wal_bytes < MIB && bytes < MIB
    })
    .await;
    store.close_blocking();
}
