use std::time::Duration;

use tokio::time::Instant;

use crate::Refusal;
use crate::backoff::jittered;

/// The longest first wait, where the server does not say.
const FIRST: Duration = Duration::from_millis(250);

/// The longest wait of all, where the server does not say.
const MAX: Duration = Duration::from_secs(2);

/// The longest wait, whatever the server says.
const MAX_ADVICE: Duration = Duration::from_secs(60);

/// A room that cannot take messages now. It gets none for a while, then all that wait, in their order.
#[derive(Debug)]
pub(crate) struct Hold {
    refusal: Refusal,
    failures: u32,
    /// None while the room is tried again.
    until: Option<Instant>,
}

impl Hold {
    /// The room has refused a message; `before` is how it was held until now. Of several messages that were sent at
    /// once, the first refusal counts.
    pub(crate) fn new(before: Option<Self>, refusal: Refusal, now: Instant, random: u64) -> Self {
        if let Some(before @ Self { until: Some(_), .. }) = before {
            return Self { refusal, ..before };
        }
        let failures = before.map_or(0, |before| before.failures.saturating_add(1));
        let advised = refusal.retry_after.unwrap_or_default().min(MAX_ADVICE);
        let until = now + jittered(FIRST, MAX, failures, random).max(advised);
        Self { refusal, failures, until: Some(until) }
    }

    /// What the room said last.
    pub(crate) fn refusal(&self) -> &Refusal {
        &self.refusal
    }

    /// Until when it is left alone, unless it is tried again already.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// It is tried again, if it is time.
    pub(crate) fn release(&mut self, now: Instant) {
        self.until = self.until.filter(|until| *until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;

    fn refusal(retry_after: Option<u64>) -> Refusal {
        let retry_after = retry_after.map(Duration::from_millis);
        Refusal { code: ErrorCode::Unavailable, message: String::new(), room: None, retry_after }
    }

    #[test]
    fn waits_double_with_each_round_up_to_their_bound() {
        let mut now = Instant::now();
        let (mut hold, mut waits) = (None, Vec::new());
        for _ in 0..5 {
            let held = Hold::new(hold, refusal(None), now, u64::MAX);
            // The next of the same round changes nothing.
            let mut held = Hold::new(Some(held), refusal(None), now + FIRST / 2, u64::MAX);
            let until = held.until().unwrap();
            waits.push((until - now).as_millis());
            now = until;
            held.release(now - Duration::from_millis(1));
            assert_eq!(held.until(), Some(until));
            held.release(now);
            assert_eq!(held.until(), None);
            hold = Some(held);
        }
        assert_eq!(waits, [250, 500, 1_000, 2_000, 2_000]);
    }

    #[test]
    fn the_servers_advice_is_a_least_wait_unless_it_is_absurd() {
        let now = Instant::now();
        for (advice, wait) in [(0, 0), (3_000, 3_000), (u64::MAX, 60_000)] {
            let hold = Hold::new(None, refusal(Some(advice)), now, 0);
            assert_eq!(hold.until(), Some(now + Duration::from_millis(wait)));
        }
    }
}
