//! The metrics of a store, for the crate `metrics`.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::SqliteStore;
use crate::write::COMMIT_SECONDS;

/// Describes the metrics of a store to the recorder of the crate `metrics`. A host calls it once, after it has
/// installed the recorder.
pub fn describe_metrics() {
    describe_counter!("chat_store_messages_total", "Messages that the store has stored.");
    describe_counter!("chat_store_commits_total", "Committed transactions.");
    describe_counter!("chat_store_unreadable_total", "Messages that differ from their checksum.");
    describe_gauge!("chat_store_queued_appends", "Appends that are neither published nor refused yet.");
    describe_gauge!("chat_store_wal_bytes", "Bytes in the write-ahead log.");
    describe_gauge!("chat_store_full", "1 while the disk quota refuses messages, otherwise 0.");
    describe_gauge!("chat_store_failing", "1 from a failed write until a write succeeds, otherwise 0.");
    describe_histogram!(COMMIT_SECONDS, Unit::Seconds, "Time of a transaction that was committed.");
}

impl SqliteStore {
    /// Publishes the counters of the store to the recorder of the crate `metrics`. A host calls it before each scrape,
    /// or every few seconds. The time of each commit is recorded at the commit.
    ///
    /// ```
    /// use chat_sqlite::{Options, SqliteStore, describe_metrics};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// // Once, after `metrics::set_global_recorder`.
    /// describe_metrics();
    /// let store = SqliteStore::open(dir.path(), Options::default())?;
    /// // Before each scrape.
    /// store.publish_metrics();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish_metrics(&self) {
        let stats = self.stats();
        counter!("chat_store_messages_total").absolute(stats.appends);
        counter!("chat_store_commits_total").absolute(stats.commits);
        counter!("chat_store_unreadable_total").absolute(stats.unreadable);
        gauge!("chat_store_queued_appends").set(stats.queued as f64);
        gauge!("chat_store_wal_bytes").set(stats.wal_bytes as f64);
        gauge!("chat_store_full").set(f64::from(u8::from(stats.is_full)));
        gauge!("chat_store_failing").set(f64::from(u8::from(stats.failing_since.is_some())));
        // A histogram without values is exported too.
        drop(histogram!(COMMIT_SECONDS));
    }
}
