use std::time::Duration;

/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// The pauses between the attempts to use a store that fails. Each is twice as long as the one before, up to 5 s.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration) -> Self {
        Self { first, next: first }
    }

    /// Returns the pause before the next attempt.
    pub(crate) fn next_pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(MAX_PAUSE);
        pause
    }

    /// Records that an attempt has succeeded.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}
