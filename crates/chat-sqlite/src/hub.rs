use std::sync::atomic::{AtomicU64, Ordering};

use chat_core::Limits;

use crate::Stats;
use crate::clock::unix_millis;
use crate::pages::Unreadable;
use crate::teller::Teller;

/// Where the writer and the readers tell what has happened.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    pub(crate) teller: Teller,
    /// How long keys are remembered, in milliseconds; 0 as long as no room has said.
    key_window: AtomicU64,
    pub(crate) counters: Counters,
    pub(crate) unreadable: Unreadable,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    appends: AtomicU64,
    commits: AtomicU64,
    /// 0 if it does not fail.
    failing_since: AtomicU64,
}

impl Hub {
    pub(crate) fn note_key_window(&self, limits: &Limits) {
        let window = u64::try_from(limits.rooms.key_window.as_millis()).unwrap_or(u64::MAX);
        self.key_window.fetch_max(window, Ordering::Relaxed);
    }

    /// None if it is not known yet.
    pub(crate) fn key_window(&self) -> Option<u64> {
        Some(self.key_window.load(Ordering::Relaxed)).filter(|window| *window > 0)
    }
}

impl Counters {
    pub(crate) fn appended(&self) {
        self.appends.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn committed(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self, cause: &str) {
        let now = unix_millis().max(1);
        if self.failing_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::error!(cause, "the store cannot be written to");
        }
    }

    pub(crate) fn healed(&self) {
        if self.failing_since.swap(0, Ordering::Relaxed) != 0 {
            tracing::info!("the store can be written to again");
        }
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.failing_since.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn stats(&self, unreadable: &Unreadable) -> Stats {
        let failing_since = self.failing_since.load(Ordering::Relaxed);
        Stats {
            appends: self.appends.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
            unreadable: unreadable.count(),
            failing_since: (failing_since != 0).then_some(failing_since),
        }
    }
}
