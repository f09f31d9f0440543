use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Time for which further warnings are counted instead of logged.
const INTERVAL: Duration = Duration::from_secs(60);

/// Warnings of one kind, at most one in a minute. Otherwise each command of each connection can log one.
#[derive(Debug, Default)]
pub(crate) struct WarnThrottle(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    /// Warnings since then that were not logged.
    suppressed: u64,
}

impl WarnThrottle {
    /// Records a call of a store that failed for this cause.
    pub(crate) fn unavailable(&self, cause: &str) {
        if let Some(suppressed) = self.next() {
            tracing::warn!(cause, suppressed, "room unavailable");
        }
    }

    /// Records that the bus panicked while it published a notice.
    pub(crate) fn bus_panicked(&self, cause: &str) {
        if let Some(suppressed) = self.next() {
            tracing::error!(cause, suppressed, "bus panicked");
        }
    }

    /// Returns the number of warnings that were suppressed, if the next one can be logged.
    fn next(&self) -> Option<u64> {
        let now = Instant::now();
        let mut state = self.0.lock();
        if state.last.is_some_and(|last| now - last < INTERVAL) {
            state.suppressed += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.suppressed))
    }
}
