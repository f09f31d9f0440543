//! Disks that are full, blocked or broken.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chat_core::{AppendError, Room};
use chat_sqlite::{Options, SqliteStore};

use crate::support::disk::Disk;
use crate::support::{StoreDir, append, append_all, append_with_key, read_all, room, seqs, set_file_length};

/// Appends until an append fails. Returns the acknowledged `seq`.
async fn fill(room: &Arc<dyn Room>) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    loop {
        match append(room, &"x".repeat(1_500)).await {
            Ok(appended) => acknowledged.push(appended.seq),
            Err(AppendError::Unavailable(_)) => return acknowledged,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_appends_until_it_has_space() {
    let dir = StoreDir::new();
    let disk = Disk::mount(&dir.path(), "600k");
    let dir = disk.path().join("store");
    let store = SqliteStore::open(&dir, Options::default()).expect("a store");
    let lobby = room(&store, "lobby");
    let acknowledged = fill(&lobby).await;
    assert!(!acknowledged.is_empty());
    for _ in 0..3 {
        assert!(append_with_key(&lobby, "k", &"x".repeat(1_500)).await.is_err());
        assert_eq!(seqs(&read_all(&lobby).await), acknowledged, "reads return the acknowledged messages");
    }
    assert!(store.stats().failing_since.is_some());
    disk.remount("size=4m");
    let next = acknowledged.len() as u64 + 1;
    let stored = append_with_key(&lobby, "k", &"x".repeat(1_500)).await.expect("appended");
    assert_eq!((stored.seq, stored.duplicate), (next, false), "no seq is skipped");
    assert_eq!(store.stats().failing_since, None);
    store.close_blocking();
    let store = SqliteStore::open(&dir, Options::default()).expect("a store");
    assert_eq!(seqs(&read_all(&room(&store, "lobby")).await), (1..=next).collect::<Vec<_>>());
    store.close_blocking();
    assert!(SqliteStore::check(&dir, |_| ()).expect("a report").is_sound());
}

/// In each round the disk has one more free page, so it becomes full at each write of opening and appending.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_at_any_write_loses_no_message() {
    let dir = StoreDir::new();
    let disk = Disk::mount(&dir.path(), "4m");
    let dir = disk.path().join("store");
    let ballast = disk.path().join("ballast");
    let (mut refused, mut filled) = (0, 0);
    for free in 0..110 {
        drop(fs::remove_dir_all(&dir));
        drop(fs::remove_file(&ballast));
        // Fills the disk except for `free` pages.
        let _full = fs::write(&ballast, vec![1; 4 * 1024 * 1024]);
        let taken = fs::metadata(&ballast).expect("a file").len();
        set_file_length(&ballast, taken - free * 4_096);
        let mut acknowledged = Vec::new();
        match SqliteStore::open(&dir, Options::default()) {
            Ok(store) => {
                acknowledged = fill(&room(&store, "lobby")).await;
                store.close_blocking();
                filled += 1;
            }
            Err(_) => refused += 1,
        }
        fs::remove_file(&ballast).expect("removed");
        // A process that another test starts can hold the removed file, and its blocks, for a moment.
        let until = Instant::now() + Duration::from_secs(10);
        let store = loop {
            match SqliteStore::open(&dir, Options::default()) {
                Ok(store) => break store,
                Err(_) if Instant::now() < until => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(error) => panic!("{free}: {error}"),
            }
        };
        let lobby = room(&store, "lobby");
        let messages = seqs(&read_all(&lobby).await);
        // The last message may be stored although it was not acknowledged.
        let kept = acknowledged.len();
        assert!(messages[..kept] == acknowledged && messages.len() <= kept + 1, "{free}: {messages:?}");
        assert_eq!(messages, (1..=messages.len() as u64).collect::<Vec<_>>(), "{free}");
        append(&lobby, "on").await.expect("appended");
        store.close_blocking();
        let report = SqliteStore::check(&dir, |_| ()).expect("a report");
        assert!(report.is_sound(), "{free}: {report:?}");
    }
    assert!(refused > 5 && filled > 20, "{refused} {filled}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_waits_for_a_blocked_disk_and_its_retry_is_safe() {
    let dir = StoreDir::new();
    let disk = Disk::on_a_device(&dir.path());
    let store = SqliteStore::open(disk.path().join("store"), Options::default()).expect("a store");
    let lobby = room(&store, "lobby");
    append(&lobby, "before").await.expect("appended");
    disk.freeze();
    let given_up = tokio::time::timeout(Duration::from_millis(300), append_with_key(&lobby, "k", "hi")).await;
    let waiting = tokio::spawn({
        let lobby = Arc::clone(&lobby);
        async move { append_with_key(&lobby, "k", "hi").await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(
        given_up.is_err() && !waiting.is_finished(),
        "no append is acknowledged while the disk is blocked"
    );
    disk.thaw();
    let appended = waiting.await.expect("no panic").expect("appended");
    assert_eq!(appended.seq, 2);
    assert_eq!(seqs(&read_all(&lobby).await), [1, 2], "the retry stored nothing");
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_disk_refuses_appends_but_not_reads() {
    let dir = StoreDir::new();
    let disk = Disk::on_a_device(&dir.path());
    let store = SqliteStore::open(disk.path().join("store"), Options::default()).expect("a store");
    let lobby = room(&store, "lobby");
    let acknowledged: Vec<_> = (1..=5).collect();
    append_all(&lobby, acknowledged.iter().map(|_| "before")).await;
    assert_eq!(seqs(&read_all(&lobby).await), acknowledged);
    // Aborts the journal. The file system becomes read-only, as after an I/O error.
    disk.remount("abort");
    for _ in 0..3 {
        assert!(matches!(append(&lobby, "after").await, Err(AppendError::Unavailable(_))));
    }
    assert_eq!(seqs(&read_all(&lobby).await), acknowledged);
    assert!(store.stats().failing_since.is_some());
    store.close_blocking();
}
