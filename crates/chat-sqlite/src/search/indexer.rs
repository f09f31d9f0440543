use std::collections::BTreeSet;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

use super::database::is_damage;
use super::index::{IndexBacklog, STEP_BYTES, erase, erased, must_erase, prune};
use crate::database::connection::{checkpoint, used_bytes};
use crate::database::{Paths, remove_database};
use crate::read::{ReadGate, UnreadableMessages, WAL_LIMIT, WalSize};
use crate::threads::lower_priority;

/// Pause after a step during which messages were appended, as a multiple of its duration. Appends then have most of the
/// processor and of the disk.
const PAUSE_FACTOR: u32 = 3;

/// The longest wait for reads that must end before the write-ahead log is emptied.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// Pause after an erasure, as a multiple of its duration: it writes the whole index.
const ERASURE_PAUSE: u32 = 20;

/// The longest pause after an erasure.
const MAX_ERASURE_PAUSE: Duration = Duration::from_secs(10 * 60);

/// Time between two attempts after a failure.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The thread that builds the search index beside the writer.
#[derive(Debug)]
pub(crate) struct Indexer {
    queue: Arc<IndexQueue>,
    wal: WalSize,
    /// Bytes of the index.
    bytes: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

/// The changes that the writer reports to the indexer.
#[derive(Debug, Default)]
struct IndexQueue {
    changes: Mutex<Changes>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Changes {
    rooms: BTreeSet<i64>,
    bytes: usize,
    /// `true` if a user has deleted messages.
    has_deletions: bool,
    /// `true` if retention has deleted messages or rooms.
    has_deleted: bool,
    is_closed: bool,
    /// `true` if the thread waits for any message, and not for a time.
    is_idle: bool,
}

impl Indexer {
    /// Starts the thread.
    pub(crate) fn spawn(
        connection: Connection,
        paths: Paths,
        gate: Arc<ReadGate>,
        unreadable: Arc<UnreadableMessages>,
    ) -> io::Result<Self> {
        let queue = Arc::<IndexQueue>::default();
        let (wal, bytes) = (WalSize::default(), Arc::<AtomicU64>::default());
        let worker = Worker {
            connection,
            paths,
            gate,
            unreadable,
            queue: Arc::clone(&queue),
            wal: wal.clone(),
            bytes: Arc::clone(&bytes),
        };
        let thread =
            thread::Builder::new().name("chat-sqlite-index".to_owned()).spawn(move || worker.run())?;
        Ok(Self { queue, wal, bytes, thread: Some(thread) })
    }

    /// Returns the bytes of the index and of its write-ahead log.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed) + self.wal.bytes()
    }

    /// Adds committed entries: their number of bytes, the ids of their rooms, and `true` if there are deletions.
    pub(crate) fn add(&self, bytes: usize, rooms: impl IntoIterator<Item = i64>, has_deletions: bool) {
        let mut changes = self.queue.changes.lock();
        let was_due = changes.are_due();
        changes.rooms.extend(rooms);
        changes.bytes += bytes;
        changes.has_deletions |= has_deletions;
        let is_due = changes.are_due();
        drop(changes);
        // Most commits wake nobody.
        if is_due && !was_due {
            self.queue.changed.notify_one();
        }
    }

    /// Reports that messages or rooms were deleted.
    pub(crate) fn note_deleted(&self) {
        self.queue.changes.lock().has_deleted = true;
        self.queue.changed.notify_one();
    }

    /// Ends the thread, after its current step.
    pub(crate) fn stop(&mut self) {
        self.queue.changes.lock().is_closed = true;
        self.queue.changed.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("indexer thread panicked; searches scan the messages that are not indexed");
        }
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Changes {
    /// Returns `true` if the thread must look at them now.
    fn are_due(&self) -> bool {
        let is_long = self.bytes >= if self.is_idle { 1 } else { STEP_BYTES };
        is_long || self.has_deletions || self.has_deleted || self.is_closed
    }
}

impl IndexQueue {
    /// Waits until `until`, or until changes are due.
    fn take(&self, until: Option<Instant>) -> Changes {
        let mut changes = self.changes.lock();
        changes.is_idle = until.is_none();
        while !changes.are_due() {
            match until {
                None => self.changed.wait(&mut changes),
                Some(until) if self.changed.wait_until(&mut changes, until).timed_out() => break,
                Some(_) => {}
            }
        }
        let is_closed = changes.is_closed;
        Changes { is_closed, ..mem::replace(&mut *changes, Changes { is_closed, ..Changes::default() }) }
    }
}

struct Worker {
    connection: Connection,
    paths: Paths,
    gate: Arc<ReadGate>,
    unreadable: Arc<UnreadableMessages>,
    queue: Arc<IndexQueue>,
    wal: WalSize,
    bytes: Arc<AtomicU64>,
}

impl Worker {
    fn run(mut self) {
        lower_priority();
        if let Err(error) = self.wal.watch(&mut self.connection) {
            tracing::error!(%error, "size of the search index's write-ahead log is unknown");
        }
        let mut backlog = IndexBacklog::unknown(Instant::now());
        // Messages may have been deleted while the index did not run.
        let mut must_prune = true;
        let mut not_before = Instant::now();
        let mut next_erasure = Instant::now();
        let mut has_erasure = true;
        loop {
            let due =
                if must_prune { Some(not_before) } else { backlog.due().map(|due| due.max(not_before)) };
            let erasure = has_erasure.then(|| next_erasure.max(not_before));
            let due = due.into_iter().chain(erasure).min();
            let changes = self.queue.take(due);
            if changes.is_closed {
                return;
            }
            must_prune |= changes.has_deleted;
            backlog.add(changes.bytes, changes.rooms, changes.has_deletions, Instant::now());
            let started = Instant::now();
            if started < not_before {
                continue;
            }
            if must_prune {
                must_prune = self.transact(prune).unwrap_or_else(|error| {
                    tracing::debug!(%error, "entries of deleted messages stay in the search index");
                    false
                });
            }
            if backlog.due().is_some_and(|due| due <= started) {
                self.step(&mut backlog);
                has_erasure = true;
            }
            if has_erasure && next_erasure <= started {
                let since = Instant::now();
                has_erasure = self.erase();
                next_erasure = Instant::now() + (since.elapsed() * ERASURE_PAUSE).min(MAX_ERASURE_PAUSE);
            }
            let has_appends = self.queue.changes.lock().bytes > 0;
            not_before =
                Instant::now() + if has_appends { started.elapsed() * PAUSE_FACTOR } else { Duration::ZERO };
            self.empty_wal();
        }
    }

    /// Erases the terms of deleted messages, and of earlier bodies. Returns `true` if it must be tried again.
    fn erase(&mut self) -> bool {
        match must_erase(&self.connection) {
            Ok(true) => {}
            Ok(false) => return false,
            Err(error) => {
                tracing::debug!(%error, "search index not erased");
                return false;
            }
        }
        let mut is_first = true;
        loop {
            match self.transact(|connection| erase(connection, is_first)) {
                Ok(true) => is_first = false,
                Ok(false) => break,
                Err(error) => {
                    tracing::debug!(%error, "search index not erased");
                    return true;
                }
            }
            if self.queue.changes.lock().is_closed {
                return true;
            }
        }
        // The write-ahead log still contains the terms.
        let closed = self.gate.close();
        if !closed.wait_until_drained(DRAIN_TIME) || !checkpoint(&self.connection).unwrap_or(false) {
            return true;
        }
        self.wal.reset();
        drop(closed);
        self.transact(erased).is_err()
    }

    fn step(&mut self, backlog: &mut IndexBacklog) {
        let unreadable = Arc::clone(&self.unreadable);
        match self.transact(|connection| backlog.step(connection, &unreadable)) {
            Ok(()) => {}
            Err(error) if is_damage(&error) => {
                backlog.stop();
                tracing::error!(%error, "search index damaged; searches scan all messages until the next start builds it again");
                if let Err(error) = remove_database(&self.paths.index) {
                    tracing::error!(%error, "search index not removed: remove it before the next start");
                }
            }
            Err(error) => backlog.step_failed(may_concern_one_room(&error), Instant::now()),
        }
    }

    fn transact<T>(&mut self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        // A step reads the messages, so it is a reader of the store.
        let _entered = self.gate.enter(None);
        let transaction = self.connection.transaction()?;
        let value = work(&transaction)?;
        self.bytes.store(used_bytes(&transaction)?, Ordering::Relaxed);
        transaction.commit()?;
        Ok(value)
    }

    /// Lets reads wait while a long write-ahead log is emptied.
    fn empty_wal(&mut self) {
        if self.wal.checkpoint_due()
            && let Err(error) = self.wal.checkpoint(&self.connection)
        {
            tracing::debug!(%error, "checkpoint of the search index failed");
        }
        if self.wal.bytes() <= WAL_LIMIT {
            return;
        }
        let closed = self.gate.close();
        if closed.wait_until_drained(DRAIN_TIME) && checkpoint(&self.connection).unwrap_or(false) {
            self.wal.reset();
        } else {
            drop(closed);
            thread::sleep(RETRY_INTERVAL.min(DRAIN_TIME) / 10);
        }
    }
}

fn may_concern_one_room(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode as Code;
    !matches!(
        error.sqlite_error_code(),
        Some(
            Code::DatabaseBusy
                | Code::DatabaseLocked
                | Code::DiskFull
                | Code::SystemIoFailure
                | Code::ReadOnly
                | Code::CannotOpen
        )
    )
}
