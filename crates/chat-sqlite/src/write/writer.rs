use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{io, mem};

use chat_core::{AppendError, Unavailable};

use super::batch::{AppendBatch, Outcome};
use super::clock::Clock;
use super::connection::WriteConnection;
use super::error::WriteError;
use super::notifier::CommittedMessage;
use super::queue::{AppendQueue, AppendRequest};
use super::retention::{RetentionPolicy, RetentionSweep};
use super::state::StoreState;
use crate::Options;
use crate::database::LockedDatabase;
use crate::search::IndexBacklog;

/// The longest time until a failing store is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Time for which the tasks that append can publish their messages. Then the writer thread publishes them.
const PUBLISH_DELAY: Duration = Duration::from_millis(10);

/// Starts the writer thread. It ends after its queue was closed, and returns `true` if the store is closed cleanly.
pub(crate) fn spawn(
    database: LockedDatabase,
    options: Options,
    state: &Arc<StoreState>,
) -> io::Result<(AppendQueue, JoinHandle<bool>)> {
    let (queue, requests) = AppendQueue::new(options.max_queued_appends);
    let writer = Writer::new(database, options, Arc::clone(state));
    let guard = PanicGuard(Arc::clone(state));
    let thread = thread::Builder::new().name("chat-sqlite".to_owned()).spawn(move || {
        let _guard = guard;
        writer.run(&requests)
    })?;
    Ok((queue, thread))
}

/// Records a panic of the writer thread. All waiting and further appends are refused then.
struct PanicGuard(Arc<StoreState>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.counters.record_failure("the writer thread panicked: restart the process");
        }
    }
}

struct Writer {
    state: Arc<StoreState>,
    options: Options,
    connection: WriteConnection,
    clock: Clock,
    backlog: IndexBacklog,
    sweep: Option<RetentionSweep>,
    next_sweep: Instant,
}

impl Writer {
    fn new(database: LockedDatabase, options: Options, state: Arc<StoreState>) -> Self {
        Self {
            connection: WriteConnection::new(database, &options, Arc::clone(&state)),
            state,
            clock: Clock::new(),
            backlog: IndexBacklog::unknown(Instant::now()),
            sweep: None,
            next_sweep: Instant::now() + options.sweep_interval,
            options,
        }
    }

    fn run(mut self, requests: &Receiver<AppendRequest>) -> bool {
        loop {
            match requests.recv_timeout(self.idle_time()) {
                Ok(first) => {
                    let waiting = std::iter::once(first).chain(requests.try_iter());
                    let batch = waiting.take(self.options.max_batch_messages.max(1)).collect();
                    self.commit(batch);
                }
                Err(RecvTimeoutError::Timeout) => self.state.notifier.publish_backlog(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.index();
            self.sweep();
        }
        self.connection.close()
    }

    /// Returns the time until the next index step, sweep, or publication.
    fn idle_time(&self) -> Duration {
        if self.sweep.is_some() {
            return Duration::ZERO;
        }
        let next = self.backlog.due().map_or(self.next_sweep, |due| due.min(self.next_sweep));
        let idle = next.saturating_duration_since(Instant::now());
        if self.state.notifier.has_backlog() { idle.min(PUBLISH_DELAY) } else { idle }
    }

    fn commit(&mut self, mut batch: Vec<AppendRequest>) {
        // The callers of these appends do not wait any more.
        batch.retain(|request| !request.reply.is_closed());
        if batch.is_empty() {
            return;
        }
        match self.write(&batch) {
            Ok(outcomes) => {
                for (request, outcome) in batch.into_iter().zip(outcomes) {
                    self.reply(request, outcome);
                }
            }
            Err(error) if error.may_concern_one_room() && batch.len() > 1 => {
                for request in batch {
                    self.commit(vec![request]);
                }
            }
            Err(error) => {
                let cause = error.to_string();
                self.record_failure(&cause);
                for request in batch {
                    let error = AppendError::from(Unavailable::new(&*cause));
                    self.reply(request, Outcome::Refused(error));
                }
            }
        }
    }

    fn reply(&self, request: AppendRequest, outcome: Outcome) {
        let AppendRequest { message, reply, permit } = request;
        let result = match outcome {
            Outcome::Stored(receipt, stored) => {
                self.state.counters.record_append();
                self.state.notifier.enqueue(CommittedMessage { room: message.room, stored, permit });
                Ok(receipt)
            }
            Outcome::Duplicate(receipt) => Ok(receipt),
            Outcome::Refused(error) => Err(error),
        };
        self.state.notifier.reply(reply, result);
    }

    fn write(&mut self, requests: &[AppendRequest]) -> Result<Vec<Outcome>, WriteError> {
        let (now, max_keys) = (self.clock.now(), self.options.max_keys_per_room);
        let (appended, outcomes) = self.connection.transact(|transaction| {
            let mut batch = AppendBatch::new(transaction, now, max_keys);
            let outcomes = requests
                .iter()
                .map(|request| batch.append(&request.message))
                .collect::<rusqlite::Result<Vec<_>>>()?;
            let appended = batch.finish()?;
            Ok((appended.bytes > 0, (appended, outcomes)))
        })?;
        if appended.bytes > 0 {
            self.backlog.add(appended.bytes, appended.rooms, Instant::now());
        }
        Ok(outcomes)
    }

    /// Runs a step of the search index if it is due.
    fn index(&mut self) {
        if self.backlog.due().is_none_or(|due| due > Instant::now()) {
            return;
        }
        let mut backlog = mem::take(&mut self.backlog);
        let state = Arc::clone(&self.state);
        let indexed =
            self.connection.transact(|transaction| Ok((backlog.step(transaction, &state.unreadable)?, ())));
        if let Err(error) = indexed {
            let room_may_be_cause = error.may_concern_one_room();
            backlog.step_failed(room_may_be_cause, Instant::now());
            if !room_may_be_cause {
                self.record_failure(&error.to_string());
            }
        }
        self.backlog = backlog;
    }

    /// Starts or continues a retention sweep if it is due.
    fn sweep(&mut self) {
        if self.sweep.is_none() && self.next_sweep > Instant::now() {
            return;
        }
        let mut sweep = self.sweep.take().unwrap_or_default();
        let policy = RetentionPolicy {
            age: self.options.retain_age,
            messages: self.options.retain_messages,
            key_window: self.state.key_window(),
        };
        let now = self.clock.now();
        let step = self.connection.transact(|transaction| {
            let step = sweep.step(transaction, policy, now)?;
            Ok((step.deleted_rows > 0, step))
        });
        match step {
            Ok(step) if !step.is_last => self.sweep = Some(sweep),
            Ok(_) => self.next_sweep = Instant::now() + self.options.sweep_interval,
            Err(error) => {
                self.next_sweep = Instant::now() + self.options.sweep_interval;
                self.record_failure(&error.to_string());
            }
        }
    }

    /// Records a failed write. Without appends, the next sweep shows when the store is writable again.
    fn record_failure(&mut self, cause: &str) {
        self.state.counters.record_failure(cause);
        self.next_sweep = self.next_sweep.min(Instant::now() + RETRY_INTERVAL);
    }
}
