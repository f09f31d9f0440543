use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use chat_core::{ChangeError, Unavailable};
use rusqlite::Transaction;
use tokio::sync::oneshot;

use super::batch::{AlteredEntry, AppendBatch, BatchLimits, Outcome, Position, Prepared, StoredBatch};
use super::connection::WriteConnection;
use super::error::WriteError;
use super::key_counts::KeyCounts;
use super::mailbox::{Received, Receiver};
use super::notifier::{CommittedMessage, Reply};
use super::purges::{Purges, RunningPurge};
use super::queue::{AppendQueue, AppendRequest};
use super::quota::Quota;
use super::retention::{RetentionPolicy, RetentionSweep, SweepStep};
use super::room_rows::RoomRows;
use super::staging::Staging;
use super::state::StoreState;
use crate::Options;
use crate::database::{LockedDatabase, Purge, StuckRooms};
use crate::search::Indexer;

/// The longest time until a failing store is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Time for which the tasks that append can publish their messages. Then the writer thread publishes them.
const PUBLISH_DELAY: Duration = Duration::from_millis(10);
/// Time between two checks whether the reads have ended, so that the write-ahead log can be emptied.
const DRAIN_CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// The cause of a refused write to a room whose tables lack messages, because some may be those that it concerns.
const ROOM_DAMAGED: &str = "the room is damaged: its new messages are not in its table";

/// Starts the writer thread. It ends after its queue was closed, and returns `true` if the store is closed cleanly.
pub(crate) fn spawn(
    database: LockedDatabase,
    options: Options,
    state: &Arc<StoreState>,
    indexer: Indexer,
) -> io::Result<(Arc<AppendQueue>, JoinHandle<bool>)> {
    let (queue, requests) = AppendQueue::new(options.max_queued_appends);
    let writer = Writer::new(database, options, Arc::clone(state), indexer);
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
    indexer: Indexer,
    key_counts: KeyCounts,
    room_rows: RoomRows,
    staging: Staging,
    quota: Quota,
    /// `true` while the write-ahead log must be emptied.
    is_checkpointing: bool,
    sweep: Option<RetentionSweep>,
    next_sweep: Instant,
    purges: Purges,
}

impl Writer {
    fn new(mut database: LockedDatabase, options: Options, state: Arc<StoreState>, indexer: Indexer) -> Self {
        let staging = Staging::with_stuck(std::mem::take(&mut database.stuck));
        Self {
            purges: Purges::interrupted(std::mem::take(&mut database.purges)),
            connection: WriteConnection::new(database, &options, Arc::clone(&state)),
            state,
            indexer,
            key_counts: KeyCounts::default(),
            room_rows: RoomRows::default(),
            staging,
            quota: Quota::new(options.max_disk_bytes),
            is_checkpointing: false,
            sweep: None,
            next_sweep: Instant::now() + options.sweep_interval,
            options,
        }
    }

    fn run(mut self, requests: &Receiver) -> bool {
        loop {
            match requests.take(self.options.max_batch_messages, self.idle_time()) {
                Received::Batch(batch) => {
                    self.commit(batch);
                    self.state.notifier.publish_overdue(PUBLISH_DELAY);
                }
                Received::Nothing => self.state.notifier.publish_backlog(),
                Received::Closed => break,
            }
            self.is_checkpointing = self.connection.checkpoint();
            self.move_staged();
            self.sweep();
            self.purge();
        }
        let moved = self.staging.move_all(&mut self.connection, &self.indexer);
        if let Err(error) = moved {
            tracing::debug!(%error, "staged messages not moved; the next start moves them");
        }
        // The indexer may wait for the end of an erasure.
        self.connection.admit_reads();
        // The connection of the writer must close last.
        self.indexer.stop();
        self.connection.close()
    }

    /// Returns the time until the next checkpoint, sweep, or publication.
    fn idle_time(&self) -> Duration {
        if self.sweep.is_some() {
            return Duration::ZERO;
        }
        let mut left = self.next_sweep.saturating_duration_since(Instant::now());
        if self.is_checkpointing {
            left = left.min(DRAIN_CHECK_INTERVAL);
        } else if let Some(due) = self.connection.erasure_due() {
            left = left.min(due);
        }
        if let Some(due) = self.staging.due() {
            left = left.min(due);
        }
        if let Some(due) = self.purges.due() {
            left = left.min(due);
        }
        if self.state.notifier.has_backlog() { left.min(PUBLISH_DELAY) } else { left }
    }

    fn commit(&mut self, mut batch: Vec<AppendRequest>) {
        // The callers of these appends do not wait any more.
        batch.retain(|request| !request.reply.is_closed());
        if batch.is_empty() {
            return;
        }
        self.purges.note_appends();
        match self.write(&batch) {
            Ok((mut stored, outcomes)) => {
                let mut messages = Vec::with_capacity(batch.len());
                let replies = batch.into_iter().zip(outcomes);
                let replies = replies.filter_map(|(request, outcome)| {
                    self.answer(request, outcome, &mut stored, &mut messages)
                });
                let replies: Vec<_> = replies.collect();
                self.state.notifier.enqueue(messages);
                self.state.notifier.reply(replies);
            }
            Err(error) if error.may_concern_one_room() && batch.len() > 1 => {
                for request in batch {
                    self.commit(vec![request]);
                }
            }
            Err(error) => {
                let cause = error.to_string();
                self.record_failure(&cause);
                let error = ChangeError::from(Unavailable::new(&*cause));
                let replies = batch.into_iter().map(|request| (request.reply, Err(error.clone())));
                self.state.notifier.reply(replies.collect());
            }
        }
    }

    /// Adds an entry to the messages for the notifier. Returns the reply to its append, `None` if that comes later.
    fn answer(
        &mut self,
        request: AppendRequest,
        outcome: Outcome,
        batch: &mut StoredBatch,
        messages: &mut Vec<CommittedMessage>,
    ) -> Option<(oneshot::Sender<Reply>, Reply)> {
        let AppendRequest { entry, reply, place } = request;
        let enqueue = |AlteredEntry { stored, erased }| {
            let room = entry.room().clone();
            messages.push(CommittedMessage { room, stored, erased, place: Some(place) });
        };
        let result = match outcome {
            Outcome::Stored(receipt, stored) => {
                if matches!(entry, Prepared::Message(_)) {
                    self.state.counters.record_append();
                }
                // A later change of the batch may have altered it.
                let altered = batch.take(entry.room(), receipt.seq);
                enqueue(altered.unwrap_or(AlteredEntry { stored, erased: Vec::new() }));
                Ok(receipt)
            }
            Outcome::Changed(receipt) => {
                if let Some(altered) = batch.take(entry.room(), receipt.seq) {
                    enqueue(altered);
                }
                Ok(receipt)
            }
            Outcome::Known(receipt) => Ok(receipt),
            Outcome::Purging { id, up_to } => {
                let Prepared::Purge(act) = entry else { return None };
                let refused = self.purges.begin(Purge::new(id, act.room, act.act, up_to), reply)?;
                let error = Unavailable::over_quota("too many callers wait for the purge");
                return Some((refused, Err(error.into())));
            }
            Outcome::Refused(error) => Err(error),
        };
        Some((reply, result))
    }

    fn write(&mut self, requests: &[AppendRequest]) -> Result<(StoredBatch, Vec<Outcome>), WriteError> {
        let now = self.connection.now();
        let limits = self.batch_limits();
        let (quota, key_counts, rows) = (&mut self.quota, &mut self.key_counts, &self.room_rows);
        let other_bytes = self.state.wal.bytes() + self.indexer.bytes();
        let mut apply = |transaction: &Transaction<'_>, staging: Option<&mut Staging>, stuck: &StuckRooms| {
            let is_full = quota.is_full(transaction, other_bytes)?;
            let limits = BatchLimits { is_full, ..limits };
            let batch = AppendBatch::new(transaction, now, limits, key_counts).with_rows(rows);
            let mut batch = batch.with_staging(staging);
            let outcomes = requests
                .iter()
                .map(|request| match &request.entry {
                    Prepared::Marker(marker) => batch.mark(marker),
                    Prepared::Follow(follow) => batch.follow(follow),
                    entry if stuck.contains(transaction, entry.room())? => {
                        Ok(Outcome::Refused(Unavailable::new(ROOM_DAMAGED).into()))
                    }
                    Prepared::Message(message) => batch.append(message),
                    Prepared::Change(change) => batch.change(change),
                    Prepared::Act(act) => batch.govern(act),
                    Prepared::Purge(act) => batch.begin_purge(act),
                })
                .collect::<rusqlite::Result<Vec<_>>>()?;
            let appended = batch.finish()?;
            rusqlite::Result::Ok((appended.bytes > 0 || appended.has_marked, (appended, outcomes, is_full)))
        };
        let is_staged = self.staging.admits(requests, rows);
        let written = if is_staged {
            self.staging.stage(&mut self.connection, |transaction, staging, stuck| {
                apply(transaction, Some(staging), stuck)
            })
        } else {
            self.staging.transact(&mut self.connection, &self.indexer, |transaction, erasures, stuck| {
                let (has_written, written) = apply(transaction, None, stuck)?;
                if !written.0.deletions.is_empty() {
                    erasures.add(transaction, &written.0.deletions)?;
                }
                Ok((has_written, written))
            })
        };
        let (mut appended, outcomes, is_full) = written.inspect_err(|_| {
            self.key_counts.clear();
            self.room_rows.clear();
        })?;
        self.state.counters.set_full(is_full);
        if is_full {
            self.connection.request_emptying();
        }
        self.note_stored(&mut appended, is_staged);
        Ok((appended, outcomes))
    }

    /// Moves the staged messages to their tables, if that is due.
    fn move_staged(&mut self) {
        if self.staging.due() != Some(Duration::ZERO) {
            return;
        }
        if let Err(error) = self.staging.move_all(&mut self.connection, &self.indexer) {
            self.record_failure(&error.to_string());
        }
    }

    fn batch_limits(&self) -> BatchLimits {
        BatchLimits {
            max_keys: self.options.max_keys_per_user.max(1),
            max_markers: self.options.max_markers.max(1),
            max_guest_follows: self.options.max_guest_follows.max(1),
            is_full: false,
            is_repeat: false,
        }
    }

    /// Passes committed entries to the indexer unless they are staged, and lets deleted content be erased.
    fn note_stored(&mut self, stored: &mut StoredBatch, is_staged: bool) {
        if stored.bytes > 0 {
            let has_deletions = !stored.deletions.is_empty();
            if !is_staged {
                self.indexer.add(stored.bytes, stored.rooms.values().map(|row| row.id), has_deletions);
            }
            self.room_rows.note_committed(std::mem::take(&mut stored.rooms));
        }
        if !stored.deletions.is_empty() {
            self.connection.request_erasure();
        }
    }

    /// Carries out a step of a purge, if one is due.
    fn purge(&mut self) {
        let started = Instant::now();
        let Some(mut running) = self.purges.take(started) else { return };
        // A step that fails changes nothing.
        let mut purge = running.purge.clone();
        let (now, limits, tail) = (self.connection.now(), self.batch_limits(), self.state.tail_events());
        let (key_counts, rows) = (&mut self.key_counts, &self.room_rows);
        let step =
            self.staging.transact(&mut self.connection, &self.indexer, |transaction, erasures, stuck| {
                if stuck.contains(transaction, &purge.room)? {
                    return Ok((false, None));
                }
                let mut batch = AppendBatch::new(transaction, now, limits, key_counts).with_rows(rows);
                let step = batch.purge(&mut purge, tail)?;
                let stored = batch.finish()?;
                if !stored.deletions.is_empty() {
                    erasures.add(transaction, &stored.deletions)?;
                }
                Ok((stored.bytes > 0 || stored.has_marked, Some((step, stored))))
            });
        match step {
            Ok(Some((step, mut stored))) => {
                self.note_stored(&mut stored, false);
                running.purge = purge;
                let (room, newest) = (running.purge.room.clone(), running.purge.newest);
                if let Some(AlteredEntry { stored, erased }) = stored.take(&room, newest) {
                    self.state.notifier.enqueue(vec![CommittedMessage { room, stored, erased, place: None }]);
                }
                let result = match step {
                    Ok(false) => return self.purges.go_on(running, started.elapsed()),
                    Ok(true) => Ok(Position { seq: newest, at: now.at, duplicate: false }),
                    Err(error) => Err(error),
                };
                running.answer(&self.state.notifier, &result);
            }
            // It waits for the room, but not for ever: it has a place, and others wait for its turn.
            Ok(None) => self.purge_failed(running, ROOM_DAMAGED, self.staging.has_retried_often()),
            Err(error) => {
                self.key_counts.clear();
                self.room_rows.clear();
                let cause = error.to_string();
                self.purge_failed(running, &cause, error.may_concern_one_room());
                self.record_failure(&cause);
            }
        }
    }

    /// Answers the callers of a purge whose step has failed. The purge stops after some failures if its room may be the
    /// cause.
    fn purge_failed(&mut self, mut running: RunningPurge, cause: &str, room_may_be_cause: bool) {
        running.answer(&self.state.notifier, &Err(Unavailable::new(cause).into()));
        if room_may_be_cause && running.has_failed_often() {
            running.stop(&mut self.connection, cause);
        } else {
            self.purges.retry(running, RETRY_INTERVAL);
        }
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
        let now = self.connection.now();
        let is_time_due = self.connection.is_time_due();
        let (state, key_counts) = (&self.state, &mut self.key_counts);
        // The sweep changes rows itself.
        self.room_rows.clear();
        let step = self.staging.transact(&mut self.connection, &self.indexer, |transaction, _, stuck| {
            let is_open = |room: &str| state.notifier.is_subscribed(room);
            let step = sweep.step(transaction, policy, now, key_counts, stuck, is_open)?;
            Ok((step.deleted_rows > 0 || is_time_due, step))
        });
        match step {
            Ok(step) if !step.is_last => {
                self.note_deleted(step);
                self.sweep = Some(sweep);
            }
            Ok(step) => {
                self.note_deleted(step);
                self.next_sweep = Instant::now() + self.options.sweep_interval;
            }
            Err(error) => {
                self.key_counts.clear();
                self.next_sweep = Instant::now() + self.options.sweep_interval;
                self.record_failure(&error.to_string());
            }
        }
    }

    fn note_deleted(&self, step: SweepStep) {
        if step.deleted_rows > 0 {
            self.indexer.note_deleted();
        }
    }

    /// Records a failed write. Without appends, the next sweep shows when the store is writable again.
    fn record_failure(&mut self, cause: &str) {
        self.state.counters.record_failure(cause);
        self.next_sweep = self.next_sweep.min(Instant::now() + RETRY_INTERVAL);
    }
}
