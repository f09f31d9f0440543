use std::fmt::Display;
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::StoreState;
use super::clock::{Clock, Now};
use super::counters::COMMIT_SECONDS;
use super::error::{WriteError, is_transient};
use crate::database::connection::{checkpoint, open_writer};
use crate::database::{
    CommitMark, CommitMarkFile, ErasureList, FileId, FileLock, Identity, LockedDatabase, boot_id,
};
use crate::read::{ClosedGate, WAL_LIMIT, WalSize};
use crate::{Durability, Options};

/// Time after which the time of the store is written although nothing else is.
const TIME_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// The longest wait for reads that must end before the write-ahead log is emptied.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// Bytes below which the write-ahead log is not emptied to win disk space.
const EMPTYING_MINIMUM: u64 = 1024 * 1024;

/// Time between two attempts to empty the write-ahead log.
const EMPTYING_INTERVAL: Duration = Duration::from_secs(5);

/// Time between two attempts to empty it after a deletion, so that its pages with the deleted content are gone.
const ERASURE_INTERVAL: Duration = Duration::from_secs(1);

/// Time between two warnings about failed checkpoints.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// The connection that writes. It counts each transaction and updates the commit mark after each commit.
pub(crate) struct WriteConnection {
    state: Arc<StoreState>,
    path: PathBuf,
    file: Option<FileId>,
    durability: Durability,
    lock_wait: Duration,
    identity: Identity,
    connection: Connection,
    /// `true` after an error that a new connection may not have.
    must_reconnect: bool,
    mark: CommitMarkFile,
    erasures: ErasureList,
    /// `true` if the last write of the mark succeeded.
    is_marked: bool,
    boot: Option<String>,
    clock: Clock,
    wal: WalSize,
    /// Closed while reads end, so that the write-ahead log can be emptied, and the time of the closing.
    closed: Option<(ClosedGate, Instant)>,
    /// The earliest time of the next attempt to empty the log.
    next_emptying: Instant,
    /// `true` if disk space is needed.
    must_empty: bool,
    /// `true` if the log contains the content of a deleted message.
    must_erase: bool,
    /// The earliest time of the next erasure.
    next_erasure: Instant,
    checkpoint_warned: Option<Instant>,
    last_commit: Instant,
    // Held until this connection is closed.
    _lock: FileLock,
}

impl WriteConnection {
    pub(crate) fn new(database: LockedDatabase, options: &Options, state: Arc<StoreState>) -> Self {
        let LockedDatabase { paths, mut connection, identity, times, mark, erasures, lock, .. } = database;
        let wal = state.wal.clone();
        watch(&wal, &mut connection);
        Self {
            state,
            file: FileId::of(&paths.database),
            path: paths.database,
            durability: options.durability,
            lock_wait: options.lock_wait,
            identity,
            connection,
            must_reconnect: false,
            mark,
            erasures,
            is_marked: true,
            boot: boot_id(),
            clock: Clock::new(times),
            wal,
            closed: None,
            next_emptying: Instant::now(),
            must_empty: false,
            must_erase: false,
            next_erasure: Instant::now(),
            checkpoint_warned: None,
            last_commit: Instant::now(),
            _lock: lock,
        }
    }

    pub(crate) fn now(&mut self) -> Now {
        self.clock.now()
    }

    /// Returns `true` if the time of the store must be written, so that little of it is lost in a crash.
    pub(crate) fn is_time_due(&self) -> bool {
        self.last_commit.elapsed() >= TIME_INTERVAL
    }

    /// Runs a transaction. `work` returns `true` if it has written. Then the transaction is committed and marked.
    /// Before that, `work` adds its deletions to the erasure list.
    pub(crate) fn transact<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>, &mut ErasureList) -> rusqlite::Result<(bool, T)>,
    ) -> Result<T, WriteError> {
        self.prepare()?;
        let is_failing = self.state.counters.is_failing();
        let (now, started) = (self.clock.now(), Instant::now());
        let result = (|| {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let (has_written, value) = work(&transaction, &mut self.erasures)?;
            // Only a commit shows that the store is writable again.
            if !has_written && !is_failing {
                transaction.rollback()?;
                return Ok((None, value));
            }
            let commits = count_commit(&transaction, now)?;
            transaction.commit()?;
            Ok((Some(commits), value))
        })();
        match result {
            Ok((commits, value)) => {
                if let Some(commits) = commits {
                    self.identity.commits = commits;
                    self.last_commit = Instant::now();
                    self.state.counters.record_commit();
                    metrics::histogram!(COMMIT_SECONDS).record(started.elapsed());
                    self.write_mark(true);
                }
                Ok(value)
            }
            Err(error) => {
                self.must_reconnect = !is_transient(&error) || !self.connection.is_autocommit();
                Err(WriteError::Sqlite(error))
            }
        }
    }

    /// Copies the write-ahead log into the database when it is long. If it is too long, reads wait until it is emptied.
    ///
    /// Returns `true` if it must be called again soon.
    pub(crate) fn checkpoint(&mut self) -> bool {
        if self.wal.checkpoint_due()
            && let Err(error) = self.wal.checkpoint(&self.connection)
        {
            self.checkpoint_failed(&error.to_string());
        }
        let now = Instant::now();
        let is_erasing = self.must_erase && (self.closed.is_some() || now >= self.next_erasure);
        let is_long = self.wal.bytes() > if self.must_empty { EMPTYING_MINIMUM } else { WAL_LIMIT };
        if !is_long && !is_erasing {
            self.must_empty = false;
            self.closed = None;
            // An erasure that is not due yet needs another call.
            return false;
        }
        match &self.closed {
            None if now < self.next_emptying && !is_erasing => false,
            None => {
                self.closed = Some((self.state.gate.close(), now));
                true
            }
            Some((closed, _)) if closed.is_drained() => {
                self.next_erasure = now + ERASURE_INTERVAL;
                self.empty_wal();
                self.closed = None;
                false
            }
            Some((_, since)) if since.elapsed() < DRAIN_TIME => true,
            Some(_) => {
                self.closed = None;
                self.next_erasure = now + ERASURE_INTERVAL;
                self.next_emptying = now + EMPTYING_INTERVAL;
                self.checkpoint_failed("a read does not end");
                false
            }
        }
    }

    /// Lets the next [`checkpoint`](Self::checkpoint) empty the write-ahead log although it is not too long, because
    /// disk space is needed.
    pub(crate) fn request_emptying(&mut self) {
        self.must_empty = true;
    }

    /// Lets a [`checkpoint`](Self::checkpoint) soon empty the write-ahead log, because it contains the content of a
    /// deleted message.
    pub(crate) fn request_erasure(&mut self) {
        self.must_erase = true;
    }

    /// Returns the time until the next [`checkpoint`](Self::checkpoint) must be called for an erasure.
    pub(crate) fn erasure_due(&self) -> Option<Duration> {
        self.must_erase.then(|| self.next_erasure.saturating_duration_since(Instant::now()))
    }

    /// Lets reads go on that wait for a checkpoint.
    pub(crate) fn admit_reads(&mut self) {
        self.closed = None;
    }

    fn empty_wal(&mut self) {
        let emptied =
            self.connection.busy_timeout(Duration::ZERO).and_then(|()| checkpoint(&self.connection));
        let restored = self.connection.busy_timeout(self.lock_wait);
        match emptied.and_then(|emptied| restored.map(|()| emptied)) {
            Ok(true) => {
                self.wal.reset();
                self.must_empty = false;
                self.must_erase = false;
            }
            Ok(false) => {
                self.next_emptying = Instant::now() + EMPTYING_INTERVAL;
                self.checkpoint_failed("another process reads the database");
            }
            Err(error) => {
                self.next_emptying = Instant::now() + EMPTYING_INTERVAL;
                self.checkpoint_failed(&error.to_string());
            }
        }
    }

    fn checkpoint_failed(&mut self, cause: &str) {
        if self.checkpoint_warned.is_none_or(|warned| warned.elapsed() >= WARNING_INTERVAL) {
            self.checkpoint_warned = Some(Instant::now());
            let wal_bytes = self.wal.bytes();
            tracing::warn!(cause, wal_bytes, "checkpoint failed; the write-ahead log grows");
        }
    }

    /// Empties the write-ahead log. Returns `false` if that failed.
    ///
    /// If a reader prevents it, the next start does it. That is not a failure.
    pub(crate) fn close(mut self) -> bool {
        self.admit_reads();
        if let Err(error) = self.prepare() {
            return self.close_failed(&error);
        }
        match checkpoint(&self.connection) {
            Ok(true) => self.write_mark(false),
            Ok(false) => {
                let database = self.path.display();
                tracing::info!(%database, "store closed while another process reads it; the next start cleans up");
                true
            }
            Err(error) => self.close_failed(&error),
        }
    }

    fn prepare(&mut self) -> Result<(), WriteError> {
        // A write to a file without a name would be lost.
        if FileId::of(&self.path) != self.file {
            return Err(WriteError::Replaced);
        }
        if self.must_reconnect { self.reconnect() } else { Ok(()) }
    }

    fn reconnect(&mut self) -> Result<(), WriteError> {
        let mut connection = open_writer(&self.path, self.durability, self.lock_wait)?;
        let found = Identity::read(&connection)?;
        if found.store != self.identity.store
            || found.epoch != self.identity.epoch
            || found.commits < self.identity.commits
        {
            return Err(WriteError::Replaced);
        }
        // The old connection must not close before the new one is open. As the last connection, it would make the next
        // one recover a commit from the write-ahead log whose synchronization has failed and that was refused.
        watch(&self.wal, &mut connection);
        self.connection = connection;
        self.must_reconnect = false;
        Ok(())
    }

    /// Writes the number of commits to the mark. Returns `false` if that failed.
    fn write_mark(&mut self, is_open: bool) -> bool {
        let mark = CommitMark {
            store: self.identity.store.clone(),
            commits: self.identity.commits,
            is_open,
            durability: self.durability,
            boot: self.boot.clone(),
        };
        let written = if is_open { self.mark.write(&mark) } else { self.mark.write_and_sync(&mark) };
        match &written {
            Ok(()) => self.is_marked = true,
            // The commit itself is safe.
            Err(error) if mem::replace(&mut self.is_marked, false) => {
                tracing::error!(%error, "commit mark not written; a later loss of messages may stay unnoticed");
            }
            Err(_) => {}
        }
        written.is_ok()
    }

    fn close_failed(&self, cause: &dyn Display) -> bool {
        tracing::warn!(%cause, database = %self.path.display(), "store not closed cleanly; the next start repairs it");
        false
    }
}

fn watch(wal: &WalSize, connection: &mut Connection) {
    if let Err(error) = wal.watch(connection) {
        tracing::warn!(%error, "size of the write-ahead log is unknown");
    }
}

/// Increments the number of commits and returns it. Records the time of the store.
fn count_commit(transaction: &Transaction<'_>, now: Now) -> rusqlite::Result<u64> {
    // With RETURNING, or without a condition, SQLite would make a temporary table and a journal for each commit.
    transaction
        .prepare_cached("UPDATE store SET commits = commits + 1, seen_at = ?1, open_ms = ?2 WHERE one = 1")?
        .execute((now.store, now.open_ms))?;
    transaction.prepare_cached("SELECT commits FROM store WHERE one = 1")?.query_row((), |row| row.get(0))
}
