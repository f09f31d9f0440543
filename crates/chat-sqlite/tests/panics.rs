//! What a panic costs: in a host's outlet its own, in the thread that writes the store until it is opened again.

mod support;

use std::sync::{Arc, mpsc};
use std::thread;

use chat_core::{AppendError, CommitSink, Room};
use support::{Home, all, room, say, seqs};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

#[tokio::test(flavor = "multi_thread")]
async fn an_outlet_that_panics_costs_neither_the_answers_nor_what_the_others_hear() {
    let home = Home::new();
    let store = home.open();
    let broken = CommitSink::new(|_| panic!("as a host's outlet might"));
    let (heard, hears) = mpsc::channel();
    let outlet = CommitSink::new(move |stored| heard.send(stored.seq).expect("somebody listens"));
    let lobby: Arc<dyn Room> = store.room(support::name("lobby"), support::limits(), broken);
    let _other = store.room(support::name("lobby"), support::limits(), outlet);
    for seq in 1..=20 {
        assert_eq!(say(&lobby, "hi").await.map(|appended| appended.seq), Ok(seq));
        assert_eq!(hears.try_recv(), Ok(seq), "told before it is answered");
    }
    assert_eq!(store.stats().failing_since, None);
    assert!(store.close());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_panic_in_the_thread_that_writes_appends_are_refused_and_the_store_says_so() {
    tracing::subscriber::set_global_default(NoWriters).expect("the only one");
    let home = Home::new();
    let store = home.open();
    let lobby = room(&store, "lobby");
    assert!(say(&lobby, "kept").await.is_ok());
    // The thread that writes has something to log now.
    let blocker = home.database();
    let spoil = "CREATE TRIGGER spoil BEFORE INSERT ON messages BEGIN SELECT RAISE(ABORT, 'spoilt'); END";
    blocker.execute_batch(spoil).expect("spoilt");
    for _ in 0..20 {
        let refused = say(&lobby, "hi").await;
        assert!(matches!(refused, Err(AppendError::Unavailable(_))), "{refused:?}");
    }
    assert!(store.stats().failing_since.is_some());
    assert_eq!(seqs(&all(&lobby).await), [1], "it is still read from");
    store.close();
    blocker.execute_batch("DROP TRIGGER spoil").expect("mended");
    let store = home.open();
    assert_eq!(say(&room(&store, "lobby"), "on").await.map(|appended| appended.seq), Ok(2));
    assert!(store.close());
}

/// A log that panics when a store writes to it.
struct NoWriters;

impl Subscriber for NoWriters {
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
        assert!(!is_writer || thread::panicking(), "as a host's log might");
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
