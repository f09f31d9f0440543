use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::connection::WriteConnection;
use super::notifier::{CommitNotifier, Reply};
use crate::database::Purge;

/// The callers that wait for one purge.
const MAX_WAITERS: usize = 16;

/// The failures in a row after which a purge stops.
const MAX_FAILURES: u32 = 3;

/// The purges that go on. The writer carries out one step at a time, of one after the other, between two batches.
#[derive(Debug)]
pub(super) struct Purges {
    running: VecDeque<RunningPurge>,
    /// The time of the next step.
    next: Instant,
    /// `true` if there was an append since the last step.
    has_appends: bool,
}

/// A purge, and the callers that wait for its end.
#[derive(Debug)]
pub(super) struct RunningPurge {
    pub(super) purge: Purge,
    /// `true` if an earlier process has begun it.
    is_interrupted: bool,
    /// The failures since the last step that has worked.
    failures: u32,
    waiters: Vec<oneshot::Sender<Reply>>,
}

impl Purges {
    /// Returns the purges that an earlier process has not completed.
    pub(super) fn interrupted(purges: Vec<Purge>) -> Self {
        let interrupted =
            |purge| RunningPurge { purge, is_interrupted: true, failures: 0, waiters: Vec::new() };
        let running = purges.into_iter().map(interrupted).collect();
        Self { running, next: Instant::now(), has_appends: false }
    }

    /// Adds a purge that is stored. A repeat of one that goes on waits for the end of that one, which then deletes the
    /// newer messages too. Returns the caller if too many wait.
    pub(super) fn begin(
        &mut self,
        purge: Purge,
        reply: oneshot::Sender<Reply>,
    ) -> Option<oneshot::Sender<Reply>> {
        let same = |running: &&mut RunningPurge| running.purge.is_same(&purge.room, &purge.act);
        let Some(running) = self.running.iter_mut().find(same) else {
            let waiters = vec![reply];
            self.running.push_back(RunningPurge { purge, is_interrupted: false, failures: 0, waiters });
            return None;
        };
        let Purge { id, act, up_to, .. } = purge;
        let known = &mut running.purge;
        // The rights of the user are as the newer act says.
        (known.id, known.act, known.up_to) = (id, act, up_to);
        (running.is_interrupted, running.failures) = (false, 0);
        running.waiters.retain(|waiter| !waiter.is_closed());
        if running.waiters.len() >= MAX_WAITERS {
            return Some(reply);
        }
        running.waiters.push(reply);
        None
    }

    /// Records that messages were appended.
    pub(super) fn note_appends(&mut self) {
        self.has_appends = true;
    }

    /// Returns the time until the next step, `None` without a purge.
    pub(super) fn due(&self) -> Option<Duration> {
        let left = self.next.saturating_duration_since(Instant::now());
        self.running.front().map(|_| left)
    }

    /// Takes the purge whose step is due.
    pub(super) fn take(&mut self, now: Instant) -> Option<RunningPurge> {
        if now < self.next { None } else { self.running.pop_front() }
    }

    /// Puts a purge back that is not complete. If messages were appended, the next step waits for as long as the last
    /// one took, so that appends have half of the time.
    pub(super) fn go_on(&mut self, mut running: RunningPurge, pause: Duration) {
        running.failures = 0;
        self.running.push_back(running);
        let has_appends = std::mem::take(&mut self.has_appends);
        self.next = Instant::now() + if has_appends { pause } else { Duration::ZERO };
    }

    /// Puts a purge back whose step has failed.
    pub(super) fn retry(&mut self, running: RunningPurge, pause: Duration) {
        self.running.push_back(running);
        self.next = Instant::now() + pause;
    }
}

impl RunningPurge {
    /// Answers the callers that wait.
    pub(super) fn answer(&mut self, notifier: &CommitNotifier, result: &Reply) {
        notifier.reply(self.waiters.drain(..).map(|waiter| (waiter, result.clone())).collect());
    }

    /// Counts a failure. Returns `true` if the purge must stop, because the cause may be its room.
    pub(super) fn has_failed_often(&mut self) -> bool {
        self.failures += 1;
        self.failures >= MAX_FAILURES
    }

    /// Stops a purge whose steps fail. One of an earlier process is given up, so that it does not take a place for
    /// ever.
    pub(super) fn stop(&self, connection: &mut WriteConnection, cause: &str) {
        let room = &self.purge.room;
        let is_given_up = self.is_interrupted
            && connection.transact(|transaction, _| Ok((true, self.purge.remove(transaction)?))).is_ok();
        if is_given_up {
            tracing::error!(%room, cause, "purge given up; messages of its user are left");
        } else {
            tracing::error!(%room, cause, "purge stopped; the next start tries again");
        }
    }
}
