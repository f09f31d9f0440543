use std::time::Duration;

use crate::LogThrottle;

/// Time for which further warnings are counted instead of logged.
const INTERVAL: Duration = Duration::from_secs(60);

/// Warnings that a store cannot be used, at most one in a minute. Otherwise each command of each connection logs one.
#[derive(Debug, Default)]
pub(crate) struct WarnThrottle(LogThrottle);

impl WarnThrottle {
    /// Records a call that failed for this cause.
    pub(crate) fn unavailable(&self, cause: &str) {
        if let Some(suppressed) = self.0.permit(INTERVAL) {
            tracing::warn!(cause, suppressed, "room unavailable");
        }
    }
}
