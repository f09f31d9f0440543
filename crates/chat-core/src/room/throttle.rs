use std::time::Duration;

use crate::LogThrottle;

/// Time for which further warnings are counted instead of logged.
const INTERVAL: Duration = Duration::from_secs(60);

/// Warnings of one kind, at most one in a minute. Otherwise each command of each connection can log one.
#[derive(Debug, Default)]
pub(crate) struct WarnThrottle(LogThrottle);

impl WarnThrottle {
    /// Records a call of a store that failed for this cause.
    pub(crate) fn unavailable(&self, cause: &str) {
        if let Some(suppressed) = self.0.permit(INTERVAL) {
            tracing::warn!(cause, suppressed, "room unavailable");
        }
    }

    /// Records that the bus panicked while it published a notice.
    pub(crate) fn bus_panicked(&self, cause: &str) {
        if let Some(suppressed) = self.0.permit(INTERVAL) {
            tracing::error!(cause, suppressed, "bus panicked");
        }
    }
}
