use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Time for which further warnings are counted instead of logged.
const INTERVAL: Duration = Duration::from_secs(60);

/// Warnings that a store cannot be used, at most one in a minute. Otherwise each command of each connection logs one.
#[derive(Debug, Default)]
pub(crate) struct WarnThrottle(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    /// Warnings since then that were not logged.
    suppressed: u64,
}

impl WarnThrottle {
    /// Records a call that failed for this cause.
    pub(crate) fn unavailable(&self, cause: &str) {
        let now = Instant::now();
        let mut state = self.0.lock();
        if state.last.is_some_and(|last| now - last < INTERVAL) {
            state.suppressed += 1;
            return;
        }
        state.last = Some(now);
        let suppressed = std::mem::take(&mut state.suppressed);
        drop(state);
        tracing::warn!(cause, suppressed, "room unavailable");
    }
}
