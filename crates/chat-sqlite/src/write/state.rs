use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Stats;
use super::counters::Counters;
use super::notifier::CommitNotifier;
use crate::read::{ReadGate, UnreadableMessages, WalSize};

/// The state that the writer thread shares with the rooms.
#[derive(Debug, Default)]
pub(crate) struct StoreState {
    pub(crate) notifier: CommitNotifier,
    pub(crate) counters: Counters,
    pub(crate) unreadable: Arc<UnreadableMessages>,
    pub(crate) gate: Arc<ReadGate>,
    pub(crate) wal: WalSize,
    /// Time for which keys are remembered, in milliseconds. 0 until the first room is opened.
    key_window: AtomicU64,
    /// The largest number of entries that an open room may hold as they were published.
    tail_events: AtomicU64,
}

impl StoreState {
    /// Raises the key window to that of a room.
    pub(crate) fn extend_key_window(&self, millis: u64) {
        self.key_window.fetch_max(millis, Ordering::Relaxed);
    }

    /// Returns the longest key window of all rooms in milliseconds, or `None` if no room was opened.
    pub(crate) fn key_window(&self) -> Option<u64> {
        Some(self.key_window.load(Ordering::Relaxed)).filter(|window| *window > 0)
    }

    /// Raises the number of entries that a room may hold to that of a room.
    pub(crate) fn extend_tail(&self, events: usize) {
        self.tail_events.fetch_max(events as u64, Ordering::Relaxed);
    }

    /// Returns the largest number of entries that a room may hold as they were published.
    pub(crate) fn tail_events(&self) -> u64 {
        self.tail_events.load(Ordering::Relaxed)
    }

    pub(crate) fn stats(&self, queued: usize) -> Stats {
        self.counters.stats(queued as u64, self.unreadable.count(), self.wal.bytes())
    }
}
