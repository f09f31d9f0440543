use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The time of one transaction, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Now {
    /// Time of the system clock.
    pub(crate) at: u64,
    /// Time from which ages are computed: the earlier of the system clock and the start time plus the time that has
    /// elapsed since. So nothing expires early when the system clock jumps forward.
    pub(crate) safe: u64,
}

impl Now {
    pub(crate) fn new(at: u64, elapsed_at: u64) -> Self {
        Self { at, safe: at.min(elapsed_at) }
    }
}

/// The system clock, and a monotonic clock that started at the same time.
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
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now::new(unix_millis(), self.started_at.saturating_add(elapsed))
    }
}

pub(super) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
