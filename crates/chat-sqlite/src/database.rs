use std::fmt::Display;
use std::fs;
use std::mem;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use crate::hub::Hub;
use crate::mark::{Mark, MarkFile, boot};
use crate::open::{Lock, Opened, checkpoint};
use crate::schema::{self, Identity};
use crate::{Durability, Options, connect, ledger};

/// The database as the one who writes to it has it: each transaction is counted, and marked once it is committed.
pub(crate) struct Database {
    hub: Arc<Hub>,
    path: PathBuf,
    /// Which file it is.
    file: Option<(u64, u64)>,
    durability: Durability,
    lock_wait: Duration,
    identity: Identity,
    connection: Connection,
    /// Whether the last transaction met with a failure that a fresh connection may not have.
    is_suspect: bool,
    mark: MarkFile,
    /// Whether the mark could be written when it was last tried.
    is_marked: bool,
    /// The life of the machine, which does not change in that of a process.
    boot: Option<String>,
    // Held until nobody writes any more.
    _lock: Lock,
}

/// Why a transaction was not committed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) cause: String,
    /// Whether it may lie in one of the messages rather than in the store.
    pub(crate) is_particular: bool,
}

impl Database {
    pub(crate) fn new(opened: Opened, options: &Options, hub: Arc<Hub>) -> Self {
        Self {
            hub,
            file: file(&opened.paths.database),
            path: opened.paths.database,
            durability: options.durability,
            lock_wait: options.lock_wait,
            identity: opened.identity,
            connection: opened.connection,
            is_suspect: false,
            mark: opened.mark,
            is_marked: true,
            boot: boot(),
            _lock: opened.lock,
        }
    }

    /// Runs a transaction, which says whether it has written anything; then it is committed, and marked.
    pub(crate) fn transact<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<(bool, T)>,
    ) -> Result<T, Failure> {
        self.look()?;
        if self.is_suspect {
            self.reconnect()?;
        }
        let is_failing = self.hub.counters.is_failing();
        let result = (|| {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let (has_written, value) = work(&transaction)?;
            // Whether it fails still, only a commit can tell.
            if !has_written && !is_failing {
                transaction.rollback()?;
                return Ok((None, value));
            }
            let commits = ledger::count(&transaction)?;
            transaction.commit()?;
            Ok((Some(commits), value))
        })();
        match result {
            Ok((commits, value)) => {
                if let Some(commits) = commits {
                    self.identity.commits = commits;
                    self.hub.counters.committed();
                    self.hub.counters.healed();
                    self.mark(true);
                }
                Ok(value)
            }
            Err(error) => {
                // What is full, or locked by others, is so for a new connection too. All else may be cured by it.
                self.is_suspect = !is_passing(&error) || !self.connection.is_autocommit();
                Err(Failure::from(error))
            }
        }
    }

    /// Sees that what is written goes to the file that has the database's name, and not to one that nobody finds again.
    fn look(&self) -> Result<(), Failure> {
        if file(&self.path) == self.file {
            return Ok(());
        }
        let cause = "the database was removed or exchanged while it was in use".to_owned();
        Err(Failure { cause, is_particular: false })
    }

    /// Puts a fresh connection in place of one that failed.
    fn reconnect(&mut self) -> Result<(), Failure> {
        let connection = connect::writing(&self.path, self.durability, self.lock_wait)?;
        let found = schema::identity(&connection)?;
        if found.store != self.identity.store
            || found.epoch != self.identity.epoch
            || found.commits < self.identity.commits
        {
            return Err(Failure {
                cause: "the database was exchanged while it was in use".to_owned(),
                is_particular: false,
            });
        }
        // Only now the old one goes: if it were the last to close the write-ahead log, the next would find a commit in it
        // whose synchronizing has failed, and take it for one that has not.
        self.connection = connection;
        self.is_suspect = false;
        Ok(())
    }

    /// Writes down how far the database has got; whether that could be done.
    fn mark(&mut self, open: bool) -> bool {
        let mark = Mark {
            store: self.identity.store.clone(),
            commits: self.identity.commits,
            open,
            durability: self.durability,
            boot: self.boot.clone(),
        };
        let written = if open { self.mark.write(&mark) } else { self.mark.write_through(&mark) };
        match &written {
            Ok(()) => self.is_marked = true,
            // What is committed stays so. Without the mark a later loss might go unnoticed.
            Err(error) if mem::replace(&mut self.is_marked, false) => {
                tracing::error!(%error, "the mark beside the database cannot be written");
            }
            Err(_) => {}
        }
        written.is_ok()
    }

    /// Brings everything into the database; whether that could be done, or is up to somebody who reads.
    pub(crate) fn close(mut self) -> bool {
        let ready = self.look().and_then(|()| if self.is_suspect { self.reconnect() } else { Ok(()) });
        if let Err(failure) = ready {
            return untidy(&failure.cause);
        }
        match checkpoint(&self.connection) {
            Ok(true) => self.mark(false),
            Ok(false) => {
                tracing::info!("the store is left to be tidied up when it is next opened");
                true
            }
            Err(error) => untidy(&error),
        }
    }
}

/// What tells a file from all others, if it is there.
fn file(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

fn untidy(cause: &dyn Display) -> bool {
    tracing::warn!(%cause, "the store cannot be tidied up");
    false
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        let code = error.sqlite_error_code();
        let lies_in_the_store = matches!(
            code,
            Some(
                ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::DiskFull
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::ReadOnly
                    | ErrorCode::CannotOpen
                    | ErrorCode::NotADatabase
            )
        );
        Self { cause: error.to_string(), is_particular: !lies_in_the_store }
    }
}

fn is_passing(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DiskFull))
}
