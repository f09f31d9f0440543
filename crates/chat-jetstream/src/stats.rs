use std::sync::atomic::{AtomicU64, Ordering};

use chat_core::Health;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::{JetStreamStore, NatsBus};

/// The name of the histogram of the time of each commit, which is recorded at the commit.
pub(crate) const COMMIT_SECONDS: &str = "chat_store_commit_seconds";

/// The name of the gauge of each stream, of which there are 64 at most.
const STREAM_READY: &str = "chat_cluster_stream_ready";

/// The counters of a [`JetStreamStore`] since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Entries that this node has stored, for its own clients or for those of other nodes.
    pub messages: u64,
    /// Records in which they were stored.
    pub records: u64,
    /// Records that were refused because another node was faster. They were tried again.
    pub conflicts: u64,
    /// Entries that another node has stored for this one.
    pub routed: u64,
    /// Messages of the stream whose notices this node has missed, and has read later: records, and states of messages.
    pub missed: u64,
    /// New epochs of all rooms of a stream, because it was made again or has lost its end.
    pub new_epochs: u64,
    /// Records that could not be read, because they are damaged. Each read counts.
    pub unreadable: u64,
    /// Entries that this node has removed because they were too old.
    pub expired: u64,
    /// Records that this node has removed from the streams, because all of their entries were too old.
    pub removed: u64,
    /// Times that the keys of a room were read from the stream, because this node did not have them in memory.
    pub key_loads: u64,
    /// Searches that have looked at the messages of a room one by one, because no index has answered.
    pub scans: u64,
    /// Requests to the servers of the stream. Each second or so, a few are for the store itself.
    pub requests: u64,
}

/// The state of one of the streams of a [`JetStreamStore`], for this server of the chat.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamStatus {
    /// The name of the stream.
    pub name: String,
    /// The copies that it had when the store was opened. [`Options::replicas`](crate::Options::replicas) is for a
    /// stream that is created.
    pub copies: usize,
    /// The answers of its leader.
    pub health: Health,
}

/// The present values of [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) messages: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) conflicts: AtomicU64,
    pub(crate) routed: AtomicU64,
    pub(crate) missed: AtomicU64,
    pub(crate) new_epochs: AtomicU64,
    pub(crate) unreadable: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) removed: AtomicU64,
    pub(crate) key_loads: AtomicU64,
    pub(crate) scans: AtomicU64,
}

impl Counters {
    /// Counts a record with this number of entries.
    pub(crate) fn stored(&self, messages: usize) {
        count(&self.records, 1);
        count(&self.messages, messages);
    }

    pub(crate) fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            messages: read(&self.messages),
            records: read(&self.records),
            conflicts: read(&self.conflicts),
            routed: read(&self.routed),
            missed: read(&self.missed),
            new_epochs: read(&self.new_epochs),
            unreadable: read(&self.unreadable),
            expired: read(&self.expired),
            removed: read(&self.removed),
            key_loads: read(&self.key_loads),
            scans: read(&self.scans),
            ..Stats::default()
        }
    }
}

/// Adds to a counter.
pub(crate) fn count(counter: &AtomicU64, number: usize) {
    counter.fetch_add(number as u64, Ordering::Relaxed);
}

/// Describes the metrics of a store and of a bus to the recorder of the crate `metrics`. A host calls it once, after it
/// has installed the recorder.
pub fn describe_metrics() {
    describe_counter!("chat_store_messages_total", "Messages that the store has stored.");
    describe_counter!("chat_store_commits_total", "Records that the stream has stored for this server.");
    describe_counter!("chat_store_unreadable_total", "Damaged records, counted at each read.");
    describe_histogram!(COMMIT_SECONDS, Unit::Seconds, "Time until the stream has stored a record.");
    describe_counter!(
        "chat_cluster_conflicts_total",
        "Records that were tried again, because of another server."
    );
    describe_counter!("chat_cluster_routed_total", "Messages that another server has stored for this one.");
    describe_counter!("chat_cluster_missed_total", "Records whose notices were missed.");
    describe_counter!("chat_cluster_requests_total", "Requests to the servers of the stream.");
    describe_counter!("chat_cluster_expired_total", "Entries that were removed because they were too old.");
    describe_counter!("chat_cluster_removed_total", "Records that were removed because they were too old.");
    describe_counter!("chat_cluster_key_loads_total", "Rooms whose keys were read from the stream.");
    describe_counter!("chat_cluster_new_epochs_total", "New epochs of all rooms of a stream.");
    describe_gauge!(STREAM_READY, "1 if the leader of the stream answers.");
    describe_counter!("chat_cluster_search_scans_total", "Searches that no index has answered.");
    #[cfg(feature = "search-index")]
    describe_gauge!(
        "chat_cluster_search_index_waiting",
        "Messages of the streams that the search index of this server does not have."
    );
    describe_gauge!("chat_cluster_nodes", "Servers of the chat that this one can reach, and this one.");
}

impl JetStreamStore {
    /// Publishes the counters of the store to the recorder of the crate `metrics`. A host calls it before each scrape,
    /// or every few seconds. The time of each commit is recorded at the commit.
    pub fn publish_metrics(&self) {
        let stats = self.stats();
        counter!("chat_store_messages_total").absolute(stats.messages);
        counter!("chat_store_commits_total").absolute(stats.records);
        counter!("chat_store_unreadable_total").absolute(stats.unreadable);
        counter!("chat_cluster_conflicts_total").absolute(stats.conflicts);
        counter!("chat_cluster_routed_total").absolute(stats.routed);
        counter!("chat_cluster_missed_total").absolute(stats.missed);
        counter!("chat_cluster_requests_total").absolute(stats.requests);
        counter!("chat_cluster_expired_total").absolute(stats.expired);
        counter!("chat_cluster_removed_total").absolute(stats.removed);
        counter!("chat_cluster_key_loads_total").absolute(stats.key_loads);
        counter!("chat_cluster_new_epochs_total").absolute(stats.new_epochs);
        for stream in self.streams() {
            let is_ready = f64::from(u8::from(stream.health == Health::Ready));
            gauge!(STREAM_READY, "stream" => stream.name).set(is_ready);
        }
        counter!("chat_cluster_search_scans_total").absolute(stats.scans);
        #[cfg(feature = "search-index")]
        if let Some(waiting) = self.waiting_for_index() {
            gauge!("chat_cluster_search_index_waiting").set(waiting as f64);
        }
        // A histogram without values is exported too.
        drop(histogram!(COMMIT_SECONDS));
    }
}

impl NatsBus {
    /// Publishes the number of servers to the recorder of the crate `metrics`.
    pub fn publish_metrics(&self) {
        gauge!("chat_cluster_nodes").set((self.other_nodes() + 1) as f64);
    }
}
