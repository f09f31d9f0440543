use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A limit on the log lines about one kind of event that others can cause without end.
///
/// ```
/// use std::time::Duration;
///
/// use chat_core::LogThrottle;
///
/// let throttle = LogThrottle::default();
/// assert_eq!(throttle.permit(Duration::from_secs(60)), Some(0));
/// assert_eq!(throttle.permit(Duration::from_secs(60)), None);
/// ```
#[derive(Debug, Default)]
pub struct LogThrottle(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    logged_at: Option<Instant>,
    suppressed: u64,
}

impl LogThrottle {
    /// Counts an event, and decides about its line: at most one in each `interval`. Returns the number of lines that
    /// were suppressed since the last one, or `None` if this line is suppressed too.
    pub fn permit(&self, interval: Duration) -> Option<u64> {
        let (mut state, now) = (self.0.lock(), Instant::now());
        if state.logged_at.is_some_and(|logged_at| now < logged_at + interval) {
            state.suppressed += 1;
            return None;
        }
        state.logged_at = Some(now);
        Some(std::mem::take(&mut state.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_in_each_interval_has_the_number_of_suppressed_lines() {
        let (throttle, minute) = (LogThrottle::default(), Duration::from_secs(60));
        assert_eq!([(); 3].map(|()| throttle.permit(minute)), [Some(0), None, None]);
        advance(minute).await;
        assert_eq!([(); 2].map(|()| throttle.permit(minute)), [Some(2), None]);
    }
}
