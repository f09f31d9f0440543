use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Waiting;

/// The pause before each of the two signs of life that go before a kick. It is longer than the time for which messages
/// count together, so the signs show the other nodes if the clock of this one has stood still, because its machine was
/// paused.
const PAUSE: Duration = Duration::from_millis(300);

/// The time by which a kick is sent early, so that kicks of about the same time share their signs. The rest of the
/// pause is still longer than the time for which messages count together.
const EARLY: Duration = Duration::from_millis(40);

/// The kicks that wait, at most.
const MAX_WAITING: usize = 1_024;

/// The kicks that wait until the other nodes know the clock of this one.
#[derive(Debug, Default)]
pub(super) struct Kicks(VecDeque<Held>);

/// A kick before its next sign of life.
#[derive(Debug)]
struct Held {
    due: Instant,
    /// True if a sign was given since the kick was published.
    has_sign: bool,
    kick: Waiting,
}

impl Kicks {
    /// Takes a kick. Returns it if too many wait.
    pub(super) fn hold(&mut self, kick: Waiting) -> Option<Waiting> {
        if self.0.len() >= MAX_WAITING {
            return Some(kick);
        }
        self.push(kick, false);
        None
    }

    fn push(&mut self, kick: Waiting, has_sign: bool) {
        self.0.push_back(Held { due: Instant::now() + PAUSE, has_sign, kick });
    }

    /// Waits until a sign is to be given.
    pub(super) async fn wait(&self) {
        match self.0.front() {
            Some(first) => sleep_until(first.due).await,
            None => std::future::pending().await,
        }
    }

    /// Records a sign that was begun at this time. Returns the kicks that are to be sent after it.
    pub(super) fn signed(&mut self, begun: Instant) -> Vec<Waiting> {
        let mut ready = Vec::new();
        while self.0.front().is_some_and(|first| first.due <= begun + EARLY)
            && let Some(Held { has_sign, kick, .. }) = self.0.pop_front()
        {
            if has_sign {
                ready.push(kick);
            } else {
                self.push(kick, true);
            }
        }
        ready
    }

    /// Returns all kicks, because the node leaves.
    pub(super) fn take(&mut self) -> Vec<Waiting> {
        self.0.drain(..).map(|held| held.kick).collect()
    }
}
