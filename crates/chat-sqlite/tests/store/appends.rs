//! Appends, and pages of a room's history.

use std::sync::{Arc, mpsc};
use std::task::{Context, Waker};
use std::time::Duration;

use chat_core::{Commit, CommitSink, Limits, Range, Room};
use chat_sqlite::{Options, SqliteStore};

use crate::support::{
    StoreDir, TEST_TIMEOUT, append, draft, guest, ignore_commits, limits, lobby_with, name, open_lobby,
    open_lobby_with, read_all, seqs, spawn_appends,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_room_is_created_by_its_first_message() {
    let (dir, store, lobby) = open_lobby();
    let bounds = lobby.bounds().await.expect("bounds");
    assert_eq!((bounds.head, bounds.first, bounds.epoch.len()), (0, 1, 16));
    let page = lobby.read(Range::newest(9)).await.expect("a page");
    assert_eq!((page.messages.len(), page.more, page.epoch), (0, false, bounds.epoch));
    store.close_blocking();
    assert_eq!(SqliteStore::rooms(dir.path()).expect("rooms"), [], "a read creates no room");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_appends_are_committed_in_one_transaction() {
    let (dir, store, lobby) = open_lobby_with(|options| options.lock_wait = TEST_TIMEOUT);
    // Appends wait while another program has locked the database.
    let blocker = dir.lock();
    let appends = spawn_appends(&lobby, 0..64, |n| n.to_string());
    tokio::time::sleep(Duration::from_millis(300)).await;
    blocker.execute_batch("ROLLBACK").expect("unlocked");
    let mut assigned = Vec::new();
    for append in appends {
        assigned.push(append.await.expect("no panic").expect("appended").seq);
    }
    assigned.sort_unstable();
    assert_eq!(assigned, (1..=64).collect::<Vec<_>>());
    let stats = store.stats();
    assert_eq!((stats.appends, stats.failing_since), (64, None));
    assert!(stats.commits <= 16, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_appends_leave_no_holes() {
    let (_dir, store, lobby) = open_lobby();
    let mut acknowledged = 0;
    for n in 0..200u64 {
        let append = tokio::spawn({
            let lobby = Arc::clone(&lobby);
            async move { append(&lobby, "hi").await }
        });
        if n % 2 == 0 {
            tokio::time::sleep(Duration::from_micros(n * 3)).await;
            append.abort();
        }
        acknowledged += u64::from(matches!(append.await, Ok(Ok(_))));
    }
    let messages = read_all(&lobby).await;
    assert_eq!(seqs(&messages), (1..=messages.len() as u64).collect::<Vec<_>>());
    assert!(acknowledged >= 100 && messages.len() as u64 >= acknowledged);
    assert_eq!(store.stats().appends, messages.len() as u64);
}

#[test]
fn an_append_that_is_not_polled_is_published() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let _entered = runtime.enter();
    let dir = StoreDir::new();
    let store = dir.open();
    let (sender, published) = mpsc::channel();
    let sink = CommitSink::new(move |commit| {
        if let Commit::Entry { epoch, stored } = commit {
            sender.send((epoch.to_owned(), stored.seq)).expect("a receiver");
        }
    });
    let lobby = store.room(name("lobby"), limits(), sink);
    let mut append = Box::pin(append(&lobby, "hi"));
    assert!(append.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let (epoch, seq) = published.recv_timeout(Duration::from_secs(60)).expect("a report");
    let receipt = runtime.block_on(append).expect("appended");
    assert_eq!((receipt.epoch, receipt.seq), (epoch, seq));
    assert!(published.try_recv().is_err(), "published once");
    assert!(store.close_blocking());
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_limited_and_report_further_messages() {
    let dir = StoreDir::new();
    let store = dir.open();
    let lobby = lobby_with(&store, |limits| limits.wire.max_batch_bytes = 1_000);
    for n in 1..=9 {
        let text = if n == 5 { "x".repeat(2_000) } else { "x".repeat(300) };
        append(&lobby, &text).await.expect("appended");
    }
    for (range, expected, more) in [
        (Range::After { seq: 0, limit: 9 }, vec![1, 2], true),
        (Range::After { seq: 2, limit: 1 }, vec![3], true),
        (Range::After { seq: 4, limit: 9 }, vec![5], true),
        (Range::After { seq: 7, limit: 9 }, vec![8, 9], false),
        (Range::After { seq: 8, limit: 0 }, vec![], true),
        (Range::After { seq: 9, limit: 9 }, vec![], false),
        (Range::After { seq: u64::MAX, limit: 9 }, vec![], false),
        (Range::Before { seq: u64::MAX, limit: 9 }, vec![8, 9], true),
        (Range::Before { seq: 6, limit: 9 }, vec![5], true),
        (Range::Before { seq: 3, limit: 2 }, vec![1, 2], false),
        (Range::Before { seq: 1, limit: 2 }, vec![], false),
        (Range::Before { seq: 0, limit: 2 }, vec![], false),
    ] {
        let page = lobby.read(range).await.expect("a page");
        assert_eq!((seqs(&page.messages), page.more), (expected, more), "{range:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn extreme_options_are_accepted() {
    let largest = Options::default().with(|options| {
        options.retain_age = Some(Duration::MAX);
        options.retain_messages = Some(u64::MAX);
        options.sweep_interval = Duration::MAX;
        options.max_keys_per_user = u64::MAX;
        options.max_queued_appends = usize::MAX;
        options.max_batch_messages = usize::MAX;
        options.max_concurrent_reads = usize::MAX;
        options.lock_wait = Duration::MAX;
    });
    let smallest = Options::default().with(|options| {
        options.sweep_interval = Duration::ZERO;
        options.max_keys_per_user = 0;
        options.max_queued_appends = 0;
        options.max_batch_messages = 0;
        options.max_concurrent_reads = 0;
        options.lock_wait = Duration::ZERO;
    });
    for options in [largest, smallest] {
        let dir = StoreDir::new();
        let store = dir.open_with(options);
        let limits = Limits::default().with(|limits| limits.rooms.call_timeout = Duration::MAX);
        let lobby: Arc<dyn Room> = store.room(name("lobby"), Arc::new(limits), ignore_commits());
        for seq in 1..=3 {
            // With the smallest limit, each user has one key.
            let message = draft(&guest(&format!("user-{seq}")), Some("k"), "hi");
            assert_eq!(lobby.append(message).await.map(|appended| appended.seq), Ok(seq));
        }
        assert_eq!(seqs(&read_all(&lobby).await), [1, 2, 3]);
        store.close_blocking();
    }
}
