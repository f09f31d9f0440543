//! Panics in a commit sink and in the writer thread.

use std::sync::{Arc, mpsc};
use std::thread;

use chat_core::{AppendError, Commit, CommitSink, Room};
use tokio::runtime::Runtime;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::support::process::{is_single_test, run_single_test};
use crate::support::{StoreDir, TEST_TIMEOUT, append, limits, name, open_lobby, read_all, room, seqs};

#[tokio::test(flavor = "multi_thread")]
async fn a_panicking_sink_affects_neither_replies_nor_other_sinks() {
    let dir = StoreDir::new();
    let store = dir.open();
    let broken = CommitSink::new(|_| panic!("the sink of this test"));
    let (sender, published) = mpsc::channel();
    let sink = CommitSink::new(move |commit| {
        if let Commit::Entry { stored, .. } = commit {
            sender.send(stored.seq).expect("a receiver");
        }
    });
    let lobby: Arc<dyn Room> = store.room(name("lobby"), limits(), broken);
    let _other = store.room(name("lobby"), limits(), sink);
    for seq in 1..=20 {
        assert_eq!(append(&lobby, "hi").await.map(|receipt| receipt.seq), Ok(seq));
        // Usually before the reply. On a busy machine, the writer thread publishes at the same time.
        assert_eq!(published.recv_timeout(TEST_TIMEOUT), Ok(seq));
    }
    assert_eq!(store.stats().failing_since, None);
    assert!(store.close_blocking());
}

/// Runs in a process of its own, because it installs a global subscriber that panics.
#[test]
fn a_panic_of_the_writer_thread_refuses_appends_until_the_store_is_reopened() {
    let this = "panics::a_panic_of_the_writer_thread_refuses_appends_until_the_store_is_reopened";
    if is_single_test(this) {
        Runtime::new().expect("a runtime").block_on(panic_in_the_writer_thread());
    } else {
        run_single_test(this);
    }
}

async fn panic_in_the_writer_thread() {
    tracing::subscriber::set_global_default(PanicInWriter).expect("the only subscriber");
    let (dir, store, lobby) = open_lobby();
    assert!(append(&lobby, "stored").await.is_ok());
    // The failure makes the writer thread log an event.
    let database = dir.database();
    let fail = "CREATE TRIGGER fail BEFORE INSERT ON staged BEGIN SELECT RAISE(ABORT, 'damaged'); END";
    database.execute_batch(fail).expect("executed");
    for _ in 0..20 {
        let refused = append(&lobby, "hi").await;
        assert!(matches!(refused, Err(AppendError::Unavailable(_))), "{refused:?}");
    }
    assert!(store.stats().failing_since.is_some());
    assert_eq!(seqs(&read_all(&lobby).await), [1], "reads continue");
    store.close_blocking();
    database.execute_batch("DROP TRIGGER fail").expect("executed");
    let store = dir.open();
    assert_eq!(append(&room(&store, "lobby"), "on").await.map(|receipt| receipt.seq), Ok(2));
    assert!(store.close_blocking());
}

/// A subscriber that panics when the writer thread logs an event.
struct PanicInWriter;

impl Subscriber for PanicInWriter {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        let is_writer = thread::current().name() == Some("chat-sqlite");
        assert!(!is_writer || thread::panicking(), "the subscriber of this test");
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
