use std::time::Duration;

/// The longest wait that a server can advise. Wrong advice must not stop a client for days.
const MAX_ADVICE: Duration = Duration::from_secs(300);

/// The longest wait of any policy, which can still be added to any time.
const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// The resolution of the advice in `Retry-After`.
const SECOND: Duration = Duration::from_secs(1);

/// The policy for reconnects. Each wait is a random part of a time that doubles with each failure ("full jitter"), so
/// that the clients of a restarted server do not reconnect all at once.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let patient = chat_client::Reconnect::default().max(Duration::from_secs(60));
/// assert_ne!(patient, chat_client::Reconnect::never());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconnect {
    first: Duration,
    max: Duration,
    settled: Duration,
    give_up: Duration,
}

impl Reconnect {
    /// Returns the policy of a client that ends with its first connection.
    pub fn never() -> Self {
        Self { give_up: Duration::ZERO, ..Self::default() }
    }

    /// Sets the longest first wait. Default 500 ms.
    #[must_use]
    pub fn first(self, first: Duration) -> Self {
        Self { first, ..self }
    }

    /// Sets the longest wait. Default 30 s.
    #[must_use]
    pub fn max(self, max: Duration) -> Self {
        Self { max, ..self }
    }

    /// Sets the time after which a connection counts as stable. The wait after it is a first wait again. Default
    /// 10 s.
    #[must_use]
    pub fn settled(self, settled: Duration) -> Self {
        Self { settled, ..self }
    }

    /// Sets the time since the last stable connection after which the client gives up. Default 15 min.
    #[must_use]
    pub fn give_up(self, give_up: Duration) -> Self {
        Self { give_up, ..self }
    }
}

impl Default for Reconnect {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            max: Duration::from_secs(30),
            settled: Duration::from_secs(10),
            give_up: Duration::from_secs(15 * 60),
        }
    }
}

/// The state of the reconnects. `now` is the time since a fixed moment.
#[derive(Debug)]
pub(crate) struct Backoff {
    policy: Reconnect,
    failures: u32,
    connected: Duration,
    /// The time at which the last stable connection was lost.
    lost: Option<Duration>,
}

impl Backoff {
    pub(crate) fn new(policy: Reconnect, now: Duration) -> Self {
        Self { policy, failures: 0, connected: now, lost: None }
    }

    /// Handles a new connection.
    pub(crate) fn handle_connected(&mut self, now: Duration) {
        self.connected = now;
    }

    /// Handles the loss of the connection. Returns the wait before the next attempt, or `None` to give up.
    pub(crate) fn handle_lost(
        &mut self,
        now: Duration,
        advice: Option<Duration>,
        random: u64,
    ) -> Option<Duration> {
        if now.saturating_sub(self.connected) >= self.policy.settled {
            self.failures = 0;
            self.lost = None;
        }
        self.handle_failure(now, advice, random)
    }

    /// Handles an attempt that the server has refused, as [`handle_failure`](Self::handle_failure) does. The advice has
    /// whole seconds. A part of a second keeps clients apart that were refused in the same one.
    pub(crate) fn handle_refusal(
        &mut self,
        now: Duration,
        advice: Option<Duration>,
        random: u64,
    ) -> Option<Duration> {
        let part = jittered(SECOND, SECOND, 0, random);
        self.handle_failure(now, advice.map(|advised| advised.saturating_add(part)), random)
    }

    /// Handles a failed attempt. Returns the wait before the next attempt, or `None` to give up.
    pub(crate) fn handle_failure(
        &mut self,
        now: Duration,
        advice: Option<Duration>,
        random: u64,
    ) -> Option<Duration> {
        let since = *self.lost.get_or_insert(now);
        let end = since.saturating_add(self.policy.give_up);
        let left = end.checked_sub(now).filter(|left| !left.is_zero())?;
        let jittered = jittered(self.policy.first, self.policy.max.min(MAX_WAIT), self.failures, random);
        self.failures = self.failures.saturating_add(1);
        // A server that gives advice spreads its clients itself.
        let advised = advice.unwrap_or_default().min(MAX_ADVICE);
        Some(jittered.max(advised).min(left.max(advised)))
    }
}

/// Returns a random part of a time that doubles with each failure, from `first` up to `max`.
pub(crate) fn jittered(first: Duration, max: Duration, failures: u32, random: u64) -> Duration {
    let ceiling = first.saturating_mul(1 << failures.min(20)).min(max);
    ceiling.mul_f64(random as f64 / u64::MAX as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Reconnect {
        Reconnect::default().first(SECOND).max(8 * SECOND).settled(10 * SECOND).give_up(100 * SECOND)
    }

    #[test]
    fn waits_double_up_to_their_bound_and_restart_after_a_stable_connection() {
        let mut backoff = Backoff::new(policy(), Duration::ZERO);
        let mut now = Duration::ZERO;
        let mut waits = vec![backoff.handle_lost(now, None, u64::MAX).unwrap()];
        for _ in 0..4 {
            waits.push(backoff.handle_failure(now, None, u64::MAX).unwrap());
        }
        assert_eq!(waits, [SECOND, 2 * SECOND, 4 * SECOND, 8 * SECOND, 8 * SECOND]);
        backoff.handle_connected(now);
        now += SECOND;
        assert_eq!(backoff.handle_lost(now, None, u64::MAX), Some(8 * SECOND), "it was not stable");
        backoff.handle_connected(now);
        now += 10 * SECOND;
        assert_eq!(backoff.handle_lost(now, None, u64::MAX), Some(SECOND));
    }

    #[test]
    fn jitter_is_full() {
        let mut backoff = Backoff::new(policy(), Duration::ZERO);
        assert_eq!(backoff.handle_lost(SECOND, None, 0), Some(Duration::ZERO));
        assert_eq!(backoff.handle_failure(SECOND, None, u64::MAX / 2).unwrap().as_secs_f64().round(), 1.0);
    }

    #[test]
    fn advice_is_followed_up_to_its_bound() {
        let mut backoff = Backoff::new(policy(), Duration::ZERO);
        assert_eq!(backoff.handle_lost(SECOND, Some(3 * SECOND), 0), Some(3 * SECOND));
        assert_eq!(backoff.handle_failure(SECOND, Some(Duration::MAX), 0), Some(MAX_ADVICE));
    }

    #[test]
    fn clients_that_are_refused_in_the_same_second_return_apart() {
        let wait =
            |random| Backoff::new(policy(), Duration::ZERO).handle_refusal(SECOND, Some(3 * SECOND), random);
        assert_eq!((wait(0), wait(u64::MAX)), (Some(3 * SECOND), Some(4 * SECOND)));
        assert_eq!(
            wait(u64::MAX / 2).map(|wait| wait.as_secs_f64().to_bits() >> 40),
            Some(3.5_f64.to_bits() >> 40)
        );
        let mut backoff = Backoff::new(policy(), Duration::ZERO);
        assert_eq!(backoff.handle_refusal(SECOND, None, u64::MAX), Some(SECOND));
        assert_eq!(backoff.handle_refusal(SECOND, Some(Duration::MAX), u64::MAX), Some(MAX_ADVICE));
    }

    #[test]
    fn a_client_gives_up_after_its_limit_and_without_reconnects_at_once() {
        let mut backoff = Backoff::new(policy(), Duration::ZERO);
        assert!(backoff.handle_lost(SECOND, None, 7).is_some());
        assert!(backoff.handle_failure(100 * SECOND, None, u64::MAX).unwrap() <= SECOND);
        assert_eq!(backoff.handle_failure(101 * SECOND, None, 7), None);
        assert_eq!(Backoff::new(Reconnect::never(), SECOND).handle_lost(SECOND, None, 7), None);
    }

    #[test]
    fn a_policy_with_the_longest_durations_is_valid() {
        let policy = policy().first(Duration::MAX).max(Duration::MAX).give_up(Duration::MAX);
        let mut backoff = Backoff::new(policy, Duration::ZERO);
        for _ in 0..3 {
            assert_eq!(backoff.handle_lost(SECOND, None, u64::MAX), Some(MAX_WAIT));
        }
    }
}
