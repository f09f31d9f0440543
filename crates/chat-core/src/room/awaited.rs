use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::sync::{Mutex, MutexGuard};

/// The messages that a flush of a large room waits for when it is due, because they come soon.
///
/// - The *appends* to the room that its log has not answered yet. Each is waited for once: appends that hang do not
///   delay a second flush, and appends that come while a flush waits do not extend its wait.
/// - The next messages of the *writers*: of members who have written shortly before the last flush, and not since it
///   began. In a busy room, members answer what they have just got.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    // May be locked while the state of the room is, and not the other way round.
    counts: Mutex<Counts>,
    /// Notified when a wait is over.
    ended: Notify,
}

#[derive(Debug, Default)]
struct Counts {
    /// The number of waits that have begun.
    waits: u64,
    /// The appends since the last wait began.
    new: usize,
    /// The appends of the last wait that are not answered.
    appends: usize,
    /// The last writers, each with the number of flushes that had begun when the log got the message. It is lower than
    /// `flushes` for those who are silent since the last flush began.
    writers: HashMap<u64, u64>,
    /// The number of flushes that have begun.
    flushes: u64,
    /// The time at which the room was flushed, if no flush goes on.
    flushed: Option<Instant>,
    /// The writers of the last wait that have not written.
    silent: usize,
}

/// An append that its log has not answered. It is dropped with the answer, or when nobody waits for the answer.
#[derive(Debug)]
struct PendingAppend<'a> {
    awaited: &'a Awaited,
    /// The number of waits that began before it.
    waits: u64,
}

impl Awaited {
    /// Waits for the answer to an append. An answer that is there at once costs nothing.
    pub(super) async fn count<T>(&self, answer: impl Future<Output = T>) -> T {
        let (mut answer, mut pending) = (pin!(answer), None);
        poll_fn(|cx| {
            let polled = answer.as_mut().poll(cx);
            if polled.is_pending() {
                pending.get_or_insert_with(|| self.begin());
            }
            polled
        })
        .await
    }

    fn begin(&self) -> PendingAppend<'_> {
        let mut counts = self.counts.lock();
        counts.new += 1;
        PendingAppend { awaited: self, waits: counts.waits }
    }

    /// Records that the log has a message of a member.
    pub(super) fn note_writer(&self, member: u64) {
        let mut counts = self.counts.lock();
        let flushes = counts.flushes;
        let was_silent = counts.writers.insert(member, flushes).is_some_and(|last| last < flushes);
        if was_silent && counts.silent > 0 {
            counts.silent -= 1;
            self.note_progress(counts);
        }
    }

    /// Records that a flush begins.
    pub(super) fn begin_flush(&self) {
        let mut counts = self.counts.lock();
        counts.flushes += 1;
        counts.flushed = None;
        let flushes = counts.flushes;
        counts.writers.retain(|_, last| *last + 1 >= flushes);
    }

    /// Records that everything is flushed.
    pub(super) fn end_flushes(&self) {
        self.counts.lock().flushed = Some(Instant::now());
    }

    /// Begins to wait for the appends that no flush has waited for, and for the writers that are silent since the last
    /// flush, unless it has ended longer ago than `busy_for`. Returns false if there are none.
    pub(super) fn begin_wait(&self, busy_for: Option<Duration>) -> bool {
        let mut counts = self.counts.lock();
        let is_busy = |limit| counts.flushed.is_none_or(|flushed| flushed.elapsed() <= limit);
        let (is_busy, flushes) = (busy_for.is_some_and(is_busy), counts.flushes);
        if !is_busy {
            counts.writers.retain(|_, last| *last == flushes);
        }
        let silent = counts.writers.values().filter(|last| **last < flushes).count();
        if counts.new == 0 && silent == 0 {
            return false;
        }
        counts.waits += 1;
        counts.appends = std::mem::take(&mut counts.new);
        counts.silent = silent;
        true
    }

    /// Waits for what the last call of [`begin_wait`](Self::begin_wait) has found. One task at a time waits.
    pub(super) async fn over(&self) {
        // An earlier wait, which was given up, may have left its notification.
        while !self.counts.lock().is_over() {
            self.ended.notified().await;
        }
    }

    fn note_progress(&self, counts: MutexGuard<'_, Counts>) {
        let is_over = counts.is_over();
        // No waker is called while the lock is held.
        drop(counts);
        if is_over {
            self.ended.notify_one();
        }
    }
}

impl Counts {
    fn is_over(&self) -> bool {
        self.appends == 0 && self.silent == 0
    }
}

impl Drop for PendingAppend<'_> {
    fn drop(&mut self) {
        let mut counts = self.awaited.counts.lock();
        if self.waits == counts.waits {
            counts.new -= 1;
        } else if self.waits + 1 == counts.waits {
            counts.appends -= 1;
            self.awaited.note_progress(counts);
        }
    }
}
