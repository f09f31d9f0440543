use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::clock::unix_millis;

/// The histogram that gets the time of each commit.
pub(crate) const COMMIT_SECONDS: &str = "chat_store_commit_seconds";

/// Counters of a store since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Stored messages.
    pub appends: u64,
    /// Committed transactions.
    pub commits: u64,
    /// Appends that are neither published nor refused yet.
    pub queued: u64,
    /// Messages that differ from their checksum. Reads omit them.
    pub unreadable: u64,
    /// Bytes in the write-ahead log. It normally stays below about 20 MiB, and reads wait above 64 MiB.
    pub wal_bytes: u64,
    /// True if the disk quota is reached, so that messages are refused.
    pub is_full: bool,
    /// Time of the first failed write in milliseconds since the Unix epoch, or `None` if the last write succeeded.
    pub failing_since: Option<u64>,
}

/// The counters behind [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    appends: AtomicU64,
    commits: AtomicU64,
    is_full: AtomicBool,
    /// 0 if the last write succeeded.
    failing_since: AtomicU64,
}

impl Counters {
    pub(crate) fn record_append(&self) {
        self.appends.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn record_commit(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        if self.failing_since.swap(0, Ordering::Relaxed) != 0 {
            tracing::info!("store writable again");
        }
    }

    pub(crate) fn record_failure(&self, cause: &str) {
        let now = unix_millis().max(1);
        if self.failing_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::error!(cause, "store not writable; appends are refused until a write succeeds");
        }
    }

    pub(crate) fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::Relaxed);
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.failing_since.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn stats(&self, queued: u64, unreadable: u64, wal_bytes: u64) -> Stats {
        let failing_since = self.failing_since.load(Ordering::Relaxed);
        Stats {
            appends: self.appends.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
            queued,
            unreadable,
            wal_bytes,
            is_full: self.is_full.load(Ordering::Relaxed),
            failing_since: (failing_since != 0).then_some(failing_since),
        }
    }
}
