use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

use crate::database::connection::CHECKPOINT_PAGES;

/// Size of a write-ahead log above which reads wait until it is emptied, in bytes: 64 MiB.
pub(crate) const WAL_LIMIT: u64 = 64 * 1024 * 1024;

/// Bytes of a page in the write-ahead log, with its header.
const WAL_PAGE: u64 = 4_096 + 24;

/// A gate that reads pass. It can be closed, so that a checkpoint finds no reader.
#[derive(Debug, Default)]
pub(crate) struct ReadGate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    reads: usize,
    closings: usize,
}

/// A read that has passed the gate.
#[derive(Debug)]
pub(crate) struct Entered<'g>(&'g ReadGate);

/// A closed gate. It opens on drop.
#[derive(Debug)]
pub(crate) struct ClosedGate(Arc<ReadGate>);

impl ReadGate {
    /// Waits while the gate is closed. Returns `None` after the deadline.
    pub(crate) fn enter(&self, deadline: Option<Instant>) -> Option<Entered<'_>> {
        let mut state = self.state.lock();
        while state.closings > 0 {
            match deadline {
                None => self.changed.wait(&mut state),
                Some(deadline) if self.changed.wait_until(&mut state, deadline).timed_out() => return None,
                Some(_) => {}
            }
        }
        state.reads += 1;
        Some(Entered(self))
    }

    /// Lets further reads wait.
    pub(crate) fn close(self: &Arc<Self>) -> ClosedGate {
        self.state.lock().closings += 1;
        ClosedGate(Arc::clone(self))
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.reads -= 1;
        let is_awaited = state.reads == 0 && state.closings > 0;
        drop(state);
        if is_awaited {
            self.0.changed.notify_all();
        }
    }
}

impl ClosedGate {
    /// Returns `true` if no read is left.
    pub(crate) fn is_drained(&self) -> bool {
        self.0.state.lock().reads == 0
    }

    /// Waits until no read is left. Returns `false` after `limit`.
    pub(crate) fn wait_until_drained(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.0.state.lock();
        while state.reads > 0 {
            if self.0.changed.wait_until(&mut state, deadline).timed_out() {
                return false;
            }
        }
        true
    }
}

impl Drop for ClosedGate {
    fn drop(&mut self) {
        self.0.state.lock().closings -= 1;
        self.0.changed.notify_all();
    }
}

/// The size of the write-ahead log of a connection that writes.
#[derive(Clone, Debug, Default)]
pub(crate) struct WalSize {
    pages: Arc<AtomicU64>,
    /// Pages at the last checkpoint.
    checkpointed: u64,
}

impl WalSize {
    /// Counts the pages of the log at each commit of the connection, which no longer starts checkpoints itself.
    pub(crate) fn watch(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        let pages = Arc::clone(&self.pages);
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, count| {
            pages.store(u64::try_from(count).unwrap_or_default(), Ordering::Relaxed);
            Ok(())
        }))
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.pages.load(Ordering::Relaxed) * WAL_PAGE
    }

    /// Returns `true` if the log has grown enough since the last checkpoint for another one.
    pub(crate) fn checkpoint_due(&self) -> bool {
        let pages = self.pages.load(Ordering::Relaxed);
        // The log has begun again if it has fewer pages than before.
        let before = if pages < self.checkpointed { 0 } else { self.checkpointed };
        pages >= CHECKPOINT_PAGES && pages >= before + CHECKPOINT_PAGES / 4
    }

    /// Copies the pages that no reader needs into the database.
    pub(crate) fn checkpoint(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.checkpointed = self.pages.load(Ordering::Relaxed);
        connection.query_row("PRAGMA main.wal_checkpoint(passive)", (), |_| Ok(()))
    }

    /// Records that the log was emptied.
    pub(crate) fn reset(&mut self) {
        self.checkpointed = 0;
        self.pages.store(0, Ordering::Relaxed);
    }
}
