use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::notifier::{CommitNotifier, Reply};
use crate::database::Purge;

/// The purges that go on. The writer carries out one step at a time, of one after the other, between two batches.
#[derive(Debug)]
pub(super) struct Purges {
    running: VecDeque<RunningPurge>,
    /// The time of the next step.
    next: Instant,
    /// `true` if there was an append since the last step.
    has_appends: bool,
}

/// A purge, and the caller that waits for its end.
#[derive(Debug)]
pub(super) struct RunningPurge {
    pub(super) purge: Purge,
    reply: Option<oneshot::Sender<Reply>>,
}

impl Purges {
    /// Returns the purges that an earlier process has not completed.
    pub(super) fn interrupted(purges: Vec<Purge>) -> Self {
        let running = purges.into_iter().map(|purge| RunningPurge { purge, reply: None }).collect();
        Self { running, next: Instant::now(), has_appends: false }
    }

    /// Adds a purge that is stored.
    pub(super) fn begin(&mut self, purge: Purge, reply: oneshot::Sender<Reply>) {
        self.running.push_back(RunningPurge { purge, reply: Some(reply) });
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
    pub(super) fn go_on(&mut self, running: RunningPurge, pause: Duration) {
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
    /// Answers the caller, if one waits.
    pub(super) fn answer(&mut self, notifier: &CommitNotifier, result: Reply) {
        if let Some(reply) = self.reply.take() {
            notifier.reply(reply, result);
        }
    }
}
