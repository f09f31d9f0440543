use std::fmt::Display;
use std::fs::File;
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use chat_core::AppendError;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::Options;
use crate::clock::Clock;
use crate::connect;
use crate::hub::Hub;
use crate::index::Backlog;
use crate::ledger::{self, Ledger, Outcome, Prepared};
use crate::mark::{Mark, MarkFile, boot};
use crate::open::{Opened, checkpoint};
use crate::schema::{self, Identity};
use crate::sweep::{Keep, Sweep};
use crate::teller::{Answer, Committed};

/// How soon a store that fails is tried again at the latest.
const RETRY: Duration = Duration::from_secs(1);

/// An append that waits for its turn.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) message: Prepared,
    pub(crate) answer: oneshot::Sender<Answer>,
    /// Its place in the queue.
    pub(crate) place: OwnedSemaphorePermit,
}

/// The thread that writes: all that waits in one transaction, then the answers.
pub(crate) struct Writer {
    hub: Arc<Hub>,
    options: Options,
    database: PathBuf,
    identity: Identity,
    connection: Connection,
    /// Whether the last transaction met with a failure that a fresh connection may not have.
    is_suspect: bool,
    mark: MarkFile,
    /// Whether the mark could be written when it was last tried.
    is_marked: bool,
    /// The life of the machine, which does not change in that of a process.
    boot: Option<String>,
    clock: Clock,
    backlog: Backlog,
    sweep: Option<Sweep>,
    next_sweep: Instant,
    // Held until the thread ends.
    _lock: File,
}

/// Why a transaction was not committed.
#[derive(Debug)]
struct Failure {
    cause: String,
    /// Whether it may lie in one of the messages rather than in the store.
    is_particular: bool,
}

impl Writer {
    pub(crate) fn new(opened: Opened, options: Options, hub: Arc<Hub>) -> Self {
        Self {
            hub,
            database: opened.paths.database,
            identity: opened.identity,
            connection: opened.connection,
            is_suspect: false,
            mark: opened.mark,
            is_marked: true,
            boot: boot(),
            clock: Clock::new(),
            backlog: Backlog::unknown(Instant::now()),
            sweep: None,
            next_sweep: Instant::now() + options.sweep_interval,
            options,
            _lock: opened.lock,
        }
    }

    /// Serves until nobody can ask any more; whether everything is left in order.
    pub(crate) fn run(mut self, jobs: &Receiver<Job>) -> bool {
        loop {
            match jobs.recv_timeout(self.rest()) {
                Ok(first) => {
                    let waiting = std::iter::once(first).chain(jobs.try_iter());
                    let batch = waiting.take(self.options.max_batch.max(1)).collect();
                    self.commit(batch);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.index();
            self.sweep();
        }
        self.end()
    }

    /// How long there is nothing to do but to wait for appends.
    fn rest(&self) -> Duration {
        if self.sweep.is_some() {
            return Duration::ZERO;
        }
        let next = self.backlog.due().map_or(self.next_sweep, |due| due.min(self.next_sweep));
        next.saturating_duration_since(Instant::now())
    }

    fn commit(&mut self, mut batch: Vec<Job>) {
        // Nobody waits any more: whoever asked was told that it failed, or is gone.
        batch.retain(|job| !job.answer.is_closed());
        if batch.is_empty() {
            return;
        }
        match self.write(&batch) {
            Ok(outcomes) => {
                for (job, outcome) in batch.into_iter().zip(outcomes) {
                    self.answer(job, outcome);
                }
            }
            Err(failure) if failure.is_particular && batch.len() > 1 => {
                for job in batch {
                    self.commit(vec![job]);
                }
            }
            Err(Failure { cause, .. }) => {
                self.fail(&cause);
                for job in batch {
                    self.answer(job, Outcome::Refused(AppendError::Unavailable(cause.clone())));
                }
            }
        }
    }

    fn answer(&self, job: Job, outcome: Outcome) {
        let Job { message, answer, place } = job;
        let result = match outcome {
            Outcome::Stored(appended, stored) => {
                self.hub.counters.appended();
                self.hub.teller.push(Committed { room: message.room, stored, place });
                Ok(appended)
            }
            Outcome::Known(appended) => Ok(appended),
            Outcome::Refused(error) => Err(error),
        };
        self.hub.teller.answer(answer, result);
    }

    fn write(&mut self, batch: &[Job]) -> Result<Vec<Outcome>, Failure> {
        let (now, max_keys) = (self.clock.now(), self.options.max_keys);
        let (added, outcomes) = self.transact(|transaction| {
            let mut ledger = Ledger::new(transaction, now, max_keys);
            let outcomes =
                batch.iter().map(|job| ledger.append(&job.message)).collect::<rusqlite::Result<Vec<_>>>()?;
            let added = ledger.finish()?;
            Ok((added.bytes > 0, (added, outcomes)))
        })?;
        if added.bytes > 0 {
            self.backlog.grow(added, Instant::now());
        }
        Ok(outcomes)
    }

    /// Brings messages into the index, if it is time.
    fn index(&mut self) {
        if self.backlog.due().is_none_or(|due| due > Instant::now()) {
            return;
        }
        let mut backlog = mem::take(&mut self.backlog);
        let hub = Arc::clone(&self.hub);
        let indexed = self.transact(|transaction| Ok((backlog.step(transaction, &hub.unreadable)?, ())));
        if let Err(failure) = indexed {
            backlog.fail(failure.is_particular, Instant::now());
            if !failure.is_particular {
                self.fail(&failure.cause);
            }
        }
        self.backlog = backlog;
    }

    /// Takes note that the store fails: if nobody appends, the next sweep finds out whether it still does.
    fn fail(&mut self, cause: &str) {
        self.hub.counters.failed(cause);
        self.next_sweep = self.next_sweep.min(Instant::now() + RETRY);
    }

    /// Takes a step of the round that forgets what is old, or begins one, if it is time.
    fn sweep(&mut self) {
        if self.sweep.is_none() && self.next_sweep > Instant::now() {
            return;
        }
        let mut sweep = self.sweep.take().unwrap_or_default();
        let keep = Keep {
            age: self.options.retain_age,
            messages: self.options.retain_messages,
            key_window: self.hub.key_window(),
        };
        let now = self.clock.now();
        let swept = self.transact(|transaction| {
            let swept = sweep.step(transaction, keep, now)?;
            Ok((swept.rows > 0, swept))
        });
        match swept {
            Ok(swept) if !swept.over => {
                self.sweep = Some(sweep);
            }
            Ok(_) => self.next_sweep = Instant::now() + self.options.sweep_interval,
            Err(failure) => {
                self.next_sweep = Instant::now() + self.options.sweep_interval;
                self.fail(&failure.cause);
            }
        }
    }

    /// Runs a transaction, which says whether it has written anything; then it is committed, and marked.
    fn transact<T>(
        &mut self,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<(bool, T)>,
    ) -> Result<T, Failure> {
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

    /// Puts a fresh connection in place of one that failed.
    fn reconnect(&mut self) -> Result<(), Failure> {
        let connection = connect::writing(&self.database, self.options.durability, self.options.lock_wait)?;
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
            durability: self.options.durability,
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
    fn end(&mut self) -> bool {
        if self.is_suspect
            && let Err(failure) = self.reconnect()
        {
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
