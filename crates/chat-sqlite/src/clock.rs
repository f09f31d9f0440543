use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The time of one transaction, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Now {
    /// What the clock says.
    pub(crate) at: u64,
    /// What ages are counted from: not later than the clock, nor than the time that has passed since it was first
    /// read. So nothing is forgotten early, whichever way the clock jumps.
    pub(crate) sure: u64,
}

impl Now {
    /// The time by a clock that says `at`, when as much time has passed as would make it `passed`.
    pub(crate) fn new(at: u64, passed: u64) -> Self {
        Self { at, sure: at.min(passed) }
    }
}

/// The system's clock, and how much time has passed for sure.
#[derive(Debug)]
pub(crate) struct Clock {
    started_at: u64,
    started: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { started_at: unix_millis(), started: Instant::now() }
    }

    pub(crate) fn now(&self) -> Now {
        let at = unix_millis();
        let passed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now::new(at, self.started_at.saturating_add(passed))
    }
}

pub(crate) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
