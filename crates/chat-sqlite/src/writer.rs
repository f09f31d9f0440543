use std::mem;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use chat_core::AppendError;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::Options;
use crate::clock::Clock;
use crate::database::{Database, Failure};
use crate::hub::Hub;
use crate::index::Backlog;
use crate::ledger::{Ledger, Outcome, Prepared};
use crate::open::Opened;
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
    database: Database,
    clock: Clock,
    backlog: Backlog,
    sweep: Option<Sweep>,
    next_sweep: Instant,
}

impl Writer {
    pub(crate) fn new(opened: Opened, options: Options, hub: Arc<Hub>) -> Self {
        Self {
            database: Database::new(opened, &options, Arc::clone(&hub)),
            hub,
            clock: Clock::new(),
            backlog: Backlog::unknown(Instant::now()),
            sweep: None,
            next_sweep: Instant::now() + options.sweep_interval,
            options,
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
        self.database.close()
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
        let (added, outcomes) = self.database.transact(|transaction| {
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
        let indexed =
            self.database.transact(|transaction| Ok((backlog.step(transaction, &hub.unreadable)?, ())));
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
        let swept = self.database.transact(|transaction| {
            let swept = sweep.step(transaction, keep, now)?;
            Ok((swept.rows > 0, swept))
        });
        match swept {
            Ok(swept) if !swept.over => self.sweep = Some(sweep),
            Ok(_) => self.next_sweep = Instant::now() + self.options.sweep_interval,
            Err(failure) => {
                self.next_sweep = Instant::now() + self.options.sweep_interval;
                self.fail(&failure.cause);
            }
        }
    }
}
