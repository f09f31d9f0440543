//! Commands that come too early, and the pause after them.

use std::time::Duration;

/// The time without an early command that ends a series.
const SERIES_END: Duration = Duration::from_secs(1);

/// The shortest pause after an early command. It bounds the refusals that a peer can cause per second.
const MIN_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause. It is shorter than [`SERIES_END`], so that a series goes on if commands wait during the pauses. A
/// close frame of the peer waits as long.
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// The commands that a peer sent before the time that a `rate_limited` error had named.
#[derive(Debug, Default)]
pub(super) struct Haste {
    /// The time before which a command is too early.
    retry_at: Duration,
    /// The times of the first and of the last early command of a series without a break.
    early: Option<(Duration, Duration)>,
    /// The end of the pause.
    resumes_at: Duration,
}

impl Haste {
    /// Records a command that was refused for its rate. Returns the time for which the peer has been sending early.
    ///
    /// The first refusal of a peer that waits as it was told starts no pause. Commands that were read before the pause
    /// began make it longer.
    pub(super) fn note(&mut self, now: Duration, wait: Duration) -> Duration {
        if now < self.retry_at {
            self.early = match self.early {
                Some((first, last)) if now - last <= SERIES_END => Some((first, now)),
                _ => Some((now, now)),
            };
            let pause = wait.clamp(MIN_PAUSE, MAX_PAUSE);
            self.resumes_at = (self.resumes_at.max(now) + pause).min(now + MAX_PAUSE);
        }
        self.retry_at = now + wait;
        self.early.map_or(Duration::ZERO, |(first, last)| last - first)
    }

    /// Returns the rest of the pause.
    pub(super) fn pause(&self, now: Duration) -> Duration {
        self.resumes_at.saturating_sub(now)
    }
}
