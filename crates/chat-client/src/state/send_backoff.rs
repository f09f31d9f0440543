use std::time::Duration;

use tokio::time::Instant;

use crate::ServerError;
use crate::backoff::jittered;

/// The longest first wait if the server gives no advice.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// The longest wait if the server gives no advice.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// The longest wait, even if the server advises a longer one.
const MAX_ADVICE: Duration = Duration::from_secs(60);

/// The back-off of a room that refuses messages for now. The room gets no message until it ends. Then it gets all
/// waiting messages, in order.
#[derive(Debug)]
pub(crate) struct SendBackoff {
    error: ServerError,
    failures: u32,
    /// The end of the wait, or `None` while the room is tried again.
    until: Option<Instant>,
}

impl SendBackoff {
    /// Starts or continues a back-off after the room refused a message. Of several messages that were in flight at
    /// once, only the first refusal counts.
    pub(crate) fn after(before: Option<Self>, error: ServerError, now: Instant, random: u64) -> Self {
        if let Some(before @ Self { until: Some(_), .. }) = before {
            return Self { error, ..before };
        }
        let failures = before.map_or(0, |before| before.failures.saturating_add(1));
        let advised = error.retry_after.unwrap_or_default().min(MAX_ADVICE);
        let until = now + jittered(FIRST_WAIT, MAX_WAIT, failures, random).max(advised);
        Self { error, failures, until: Some(until) }
    }

    /// Returns the last error of the room.
    pub(crate) fn error(&self) -> &ServerError {
        &self.error
    }

    /// Returns the end of the wait, or `None` while the room is tried again.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Ends the wait if its time has come.
    pub(crate) fn handle_time(&mut self, now: Instant) {
        self.until = self.until.filter(|until| *until > now);
    }
}

#[cfg(test)]
mod tests {
    use chat_proto::ErrorCode;

    use super::*;

    fn error(retry_after: Option<u64>) -> ServerError {
        let retry_after = retry_after.map(Duration::from_millis);
        let (code, message) = (ErrorCode::Unavailable, String::new());
        ServerError { code, message, room: None, retry_after, detail: None }
    }

    #[test]
    fn waits_double_with_each_round_up_to_their_bound() {
        let mut now = Instant::now();
        let (mut before, mut waits) = (None, Vec::new());
        for _ in 0..5 {
            let first = SendBackoff::after(before, error(None), now, u64::MAX);
            // Another refusal of the same round changes nothing.
            let mut backoff = SendBackoff::after(Some(first), error(None), now + FIRST_WAIT / 2, u64::MAX);
            let until = backoff.until().unwrap();
            waits.push((until - now).as_millis());
            now = until;
            backoff.handle_time(now - Duration::from_millis(1));
            assert_eq!(backoff.until(), Some(until));
            backoff.handle_time(now);
            assert_eq!(backoff.until(), None);
            before = Some(backoff);
        }
        assert_eq!(waits, [250, 500, 1_000, 2_000, 2_000]);
    }

    #[test]
    fn the_servers_advice_is_a_minimum_up_to_its_bound() {
        let now = Instant::now();
        for (advice, wait) in [(0, 0), (3_000, 3_000), (u64::MAX, 60_000)] {
            let backoff = SendBackoff::after(None, error(Some(advice)), now, 0);
            assert_eq!(backoff.until(), Some(now + Duration::from_millis(wait)));
        }
    }
}
