//! Locks of other programs, long reads, a removed database, and a full queue.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use chat_core::{Limits, Range, Room};
use chat_sqlite::Options;

use crate::support::{
    StoreDir, TEST_TIMEOUT, append, append_with_key, assert_unavailable, ignore_commits, name, open_lobby,
    open_lobby_with, read_all, room, seqs, spawn_appends, wait_until,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_append_fails_after_the_lock_wait_and_reads_continue() {
    let (dir, store, lobby) = open_lobby();
    append(&lobby, "before").await.expect("appended");
    let blocker = dir.lock();
    let refused = append_with_key(&lobby, "k", "hi").await;
    assert_unavailable(&refused, "locked");
    assert_eq!(seqs(&read_all(&lobby).await), [1], "reads continue");
    assert!(store.stats().failing_since.is_some());
    blocker.execute_batch("ROLLBACK").expect("unlocked");
    assert_eq!(append_with_key(&lobby, "k", "hi").await.map(|appended| appended.seq), Ok(2));
    assert_eq!(store.stats().failing_since, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_read_does_not_delay_appends() {
    let (dir, _store, lobby) = open_lobby_with(|options| options.max_concurrent_reads = 2);
    append(&lobby, "hi").await.expect("appended");
    // A reader of another program keeps its snapshot, which prevents checkpoints.
    let reader = dir.database();
    reader.execute_batch("BEGIN; SELECT * FROM messages").expect("reads");
    let reads: Vec<_> = (0..50)
        .map(|_| {
            let lobby = Arc::clone(&lobby);
            tokio::spawn(async move { lobby.read(Range::After { seq: 0, limit: 100 }).await })
        })
        .collect();
    for n in 2..=50 {
        assert_eq!(append(&lobby, "hi").await.map(|appended| appended.seq), Ok(n));
    }
    for read in reads {
        assert!(read.await.expect("no panic").is_ok(), "reads wait for each other");
    }
    drop(reader);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_database_refuses_appends_until_it_is_restored() {
    let (dir, store, lobby) = open_lobby();
    assert_eq!(append(&lobby, "kept").await.map(|appended| appended.seq), Ok(1));
    fs::rename(dir.file("chat.db"), dir.file("aside")).expect("removed");
    let refused = append(&lobby, "refused").await;
    assert_unavailable(&refused, "removed");
    fs::rename(dir.file("aside"), dir.file("chat.db")).expect("restored");
    assert_eq!(append(&lobby, "kept").await.map(|appended| appended.seq), Ok(2));
    fs::rename(dir.file("chat.db"), dir.file("aside")).expect("removed");
    assert!(!store.close_blocking(), "the database cannot be closed cleanly");
    fs::rename(dir.file("aside"), dir.file("chat.db")).expect("restored");
    assert_eq!(seqs(&read_all(&room(&dir.open(), "lobby")).await), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_becomes_writable_again_without_appends() {
    let dir = StoreDir::new();
    let often = Duration::from_millis(10);
    let store = dir.open_with(Options::default().with(|options| {
        options.sweep_interval = often;
        options.lock_wait = often;
    }));
    let blocker = dir.lock();
    wait_until(async || store.stats().failing_since.is_some()).await;
    blocker.execute_batch("ROLLBACK").expect("unlocked");
    wait_until(async || store.stats().failing_since.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_beyond_the_queue_limit_wait_until_their_timeout() {
    let dir = StoreDir::new();
    let store = dir.open_with(Options::default().with(|options| {
        options.max_queued_appends = 4;
        options.max_batch_messages = 2;
        options.lock_wait = TEST_TIMEOUT;
    }));
    let lobby = room(&store, "lobby");
    let appends = spawn_appends(&lobby, 0..100, |_| "hi");
    for append in appends {
        assert!(append.await.expect("no panic").is_ok());
    }
    assert_eq!(seqs(&read_all(&lobby).await), (1..=100).collect::<Vec<_>>());
    let impatient = Limits::default().with(|limits| limits.rooms.call_timeout = Duration::from_millis(50));
    let impatient: Arc<dyn Room> = store.room(name("lobby"), Arc::new(impatient), ignore_commits());
    let blocker = dir.lock();
    let waiting = spawn_appends(&lobby, 0..4, |_| "hi");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let refused = append(&impatient, "hi").await;
    assert_unavailable(&refused, "queue is full");
    drop(blocker);
    for append in waiting {
        drop(append.await.expect("no panic"));
    }
}
