use std::fmt::Display;
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::StoreState;
use super::error::{WriteError, is_transient};
use crate::database::connection::{checkpoint, open_writer};
use crate::database::{CommitMark, CommitMarkFile, FileId, FileLock, Identity, LockedDatabase, boot_id};
use crate::{Durability, Options};

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
    /// `true` if the last write of the mark succeeded.
    is_marked: bool,
    boot: Option<String>,
    // Held until this connection is closed.
    _lock: FileLock,
}

impl WriteConnection {
    pub(crate) fn new(database: LockedDatabase, options: &Options, state: Arc<StoreState>) -> Self {
        let LockedDatabase { paths, connection, identity, mark, lock } = database;
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
            is_marked: true,
            boot: boot_id(),
            _lock: lock,
        }
    }

    /// Runs a transaction. `work` returns `true` if it has written. Then the transaction is committed and marked.
    pub(crate) fn transact<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<(bool, T)>,
    ) -> Result<T, WriteError> {
        self.prepare()?;
        let is_failing = self.state.counters.is_failing();
        let result = (|| {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let (has_written, value) = work(&transaction)?;
            // Only a commit shows that the store is writable again.
            if !has_written && !is_failing {
                transaction.rollback()?;
                return Ok((None, value));
            }
            let commits = count_commit(&transaction)?;
            transaction.commit()?;
            Ok((Some(commits), value))
        })();
        match result {
            Ok((commits, value)) => {
                if let Some(commits) = commits {
                    self.identity.commits = commits;
                    self.state.counters.record_commit();
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

    /// Empties the write-ahead log. Returns `false` if that failed.
    ///
    /// If a reader prevents it, the next start does it. That is not a failure.
    pub(crate) fn close(mut self) -> bool {
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
        let connection = open_writer(&self.path, self.durability, self.lock_wait)?;
        let found = Identity::read(&connection)?;
        if found.store != self.identity.store
            || found.epoch != self.identity.epoch
            || found.commits < self.identity.commits
        {
            return Err(WriteError::Replaced);
        }
        // The old connection must not close before the new one is open. As the last connection, it would make the next
        // one recover a commit from the write-ahead log whose synchronization has failed and that was refused.
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

/// Increments the number of commits and returns it.
fn count_commit(transaction: &Transaction<'_>) -> rusqlite::Result<u64> {
    transaction
        .prepare_cached("UPDATE store SET commits = commits + 1 RETURNING commits")?
        .query_row((), |row| row.get(0))
}
