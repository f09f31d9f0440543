//! Locks of other programs, long reads, a removed database, and a full queue.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use chat_core::{AppendError, Limits, Range, Room};
use chat_sqlite::Options;

use crate::support::{
    StoreDir, TEST_TIMEOUT, append, append_with_key, ignore_commits, name, read_all, room, seqs, wait_until,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_append_fails_after_the_lock_wait_and_reads_continue() {
    let dir = StoreDir::new();
    let store = dir.open();
    let lobby = room(&store, "lobby");
    append(&lobby, "before").await.expect("appended");
    let blocker = dir.database();
    blocker.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let refused = append_with_key(&lobby, "k", "hi").await;
    assert!(
        matches!(&refused, Err(AppendError::Unavailable(cause)) if cause.cause().contains("locked")),
        "{refused:?}"
    );
    assert_eq!(seqs(&read_all(&lobby).await), [1], "reads continue");
    assert!(store.stats().failing_since.is_some());
    blocker.execute_batch("ROLLBACK").expect("unlocked");
    assert_eq!(append_with_key(&lobby, "k", "hi").await.map(|appended| appended.seq), Ok(2));
    assert_eq!(store.stats().failing_since, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_read_does_not_delay_appends() {
    let dir = StoreDir::new();
    let store = dir.open_with(Options::default().with(|options| options.max_concurrent_reads = 2));
    let lobby = room(&store, "lobby");
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
    let dir = StoreDir::new();
    let store = dir.open();
    let lobby = room(&store, "lobby");
    assert_eq!(append(&lobby, "kept").await.map(|appended| appended.seq), Ok(1));
    fs::rename(dir.file("chat.db"), dir.file("aside")).expect("removed");
    let refused = append(&lobby, "refused").await;
    assert!(
        matches!(&refused, Err(AppendError::Unavailable(cause)) if cause.cause().contains("removed")),
        "{refused:?}"
    );
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
    let blocker = dir.database();
    blocker.execute_batch("BEGIN IMMEDIATE").expect("locked");
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
    let appends: Vec<_> = (0..100)
        .map(|_| {
            let lobby = Arc::clone(&lobby);
            tokio::spawn(async move { append(&lobby, "hi").await })
        })
        .collect();
    for append in appends {
        assert!(append.await.expect("no panic").is_ok());
    }
    assert_eq!(seqs(&read_all(&lobby).await), (1..=100).collect::<Vec<_>>());
    let impatient = Limits::default().with(|limits| {
        limits.rooms.call_timeout = Duration::from_millis(50);
    });
    let impatient: Arc<dyn Room> = store.room(name("lobby"), Arc::new(impatient), ignore_commits());
    let blocker = dir.database();
    blocker.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let lobby = Arc::clone(&lobby);
            tokio::spawn(async move { append(&lobby, "hi").await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let refused = append(&impatient, "hi").await;
    assert!(
        matches!(&refused, Err(AppendError::Unavailable(cause)) if cause.cause().contains("queue is full")),
        "{refused:?}"
    );
    drop(blocker);
    for append in waiting {
        drop(append.await.expect("no panic"));
    }
}
