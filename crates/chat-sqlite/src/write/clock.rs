use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::database::StoreTimes;

/// The largest difference between the system clock and the time of the store at which both are plausible, in
/// milliseconds: 24 h. A store may have been closed for that long.
const MAX_GAP: u64 = 24 * 60 * 60 * 1_000;

/// Time for which the system clock must run evenly until the store accepts it, in milliseconds: 12 h.
const ACCEPT_AFTER: u64 = 12 * 60 * 60 * 1_000;

/// The largest change of the difference that counts as even, in milliseconds.
const TOLERANCE: u64 = 60 * 1_000;

/// A time before all stores: 2020-01-01. A clock that shows an earlier time was not set.
const EARLIEST: u64 = 1_577_836_800_000;

/// Time between two warnings about the system clock.
const WARNING_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// The time of one transaction, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Now {
    /// Time of a new message, since the Unix epoch.
    pub(crate) at: u64,
    /// Time from which the ages of messages are computed: the earlier of the system clock and the time of the store.
    pub(crate) safe: u64,
    /// Time of the store, since the Unix epoch.
    pub(crate) store: u64,
    /// Time for which the store has been open in total, from which the ages of keys are computed.
    pub(crate) open_ms: u64,
    /// False if the system clock is far from the time of the store. Then no message expires by its age.
    pub(crate) is_plausible: bool,
}

/// The time of the store: the newest time that it has seen, plus the time that has elapsed since.
///
/// A system clock that is wrong at the start, or jumps later, does not change it. A system clock that differs but runs
/// evenly for 12 h is accepted.
#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    /// Time of the store at the start.
    base: u64,
    open_before: u64,
    /// Difference between the system clock and the time of the store, and the elapsed time since when it is even.
    difference: (i128, u64),
    warned: Option<Instant>,
}

impl Clock {
    pub(crate) fn new(times: StoreTimes) -> Self {
        Self::starting_at(times, unix_millis())
    }

    fn starting_at(StoreTimes { seen_at, open_ms }: StoreTimes, clock: u64) -> Self {
        let base = if seen_at == 0 || clock.abs_diff(seen_at) <= MAX_GAP { clock } else { seen_at };
        Self { started: Instant::now(), base, open_before: open_ms, difference: (0, 0), warned: None }
    }

    pub(crate) fn now(&mut self) -> Now {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let clock = unix_millis();
        let now = self.observe(clock, elapsed);
        self.report(clock, now);
        now
    }

    fn observe(&mut self, clock: u64, elapsed: u64) -> Now {
        let difference = i128::from(clock) - i128::from(self.base.saturating_add(elapsed));
        let (before, since) = self.difference;
        if difference.abs_diff(before) > u128::from(TOLERANCE) {
            self.difference = (difference, elapsed);
        } else if elapsed.saturating_sub(since) >= ACCEPT_AFTER && clock >= EARLIEST {
            self.base = clock.saturating_sub(elapsed);
            self.difference = (0, elapsed);
        }
        let store = self.base.saturating_add(elapsed);
        // A message must not seem to be older than it is, or it would expire when the clock is right again.
        let at = if clock.saturating_add(MAX_GAP) < store { store } else { clock };
        Now {
            at,
            safe: clock.min(store),
            store,
            open_ms: self.open_before.saturating_add(elapsed),
            is_plausible: clock.abs_diff(store) <= MAX_GAP && clock >= EARLIEST,
        }
    }

    fn report(&mut self, clock: u64, now: Now) {
        if now.is_plausible {
            if self.warned.take().is_some() {
                tracing::info!("system clock plausible again; messages expire again");
            }
        } else if self.warned.is_none_or(|warned| warned.elapsed() >= WARNING_INTERVAL) {
            self.warned = Some(Instant::now());
            tracing::warn!(
                clock,
                store = now.store,
                "system clock is far from the newest time of the store; no message expires: set the clock, or wait 12 h"
            );
        }
    }
}

pub(super) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 60 * 60 * 1_000;
    const DAY: u64 = 24 * HOUR;
    const SEEN: u64 = 20_000 * DAY;

    fn start(clock: u64) -> Clock {
        Clock::starting_at(StoreTimes { seen_at: SEEN, open_ms: 7 }, clock)
    }

    #[test]
    fn a_wrong_clock_at_the_start_does_not_change_the_time_of_the_store() {
        for clock in [0, SEEN - 60 * DAY, SEEN + 60 * DAY] {
            let now = start(clock).observe(clock + HOUR, HOUR);
            assert_eq!((now.store, now.open_ms, now.is_plausible), (SEEN + HOUR, HOUR + 7, false), "{clock}");
            assert!(now.safe <= SEEN + HOUR && now.at >= SEEN + HOUR, "{clock}");
        }
        let mut clock = start(SEEN + 60 * DAY);
        clock.observe(SEEN + 60 * DAY, 0);
        let corrected = clock.observe(SEEN + 2 * HOUR, HOUR);
        assert_eq!((corrected.safe, corrected.is_plausible), (SEEN + HOUR, true), "the clock was set");
    }

    #[test]
    fn a_clock_that_is_near_counts_at_once() {
        for clock in [SEEN - HOUR, SEEN, SEEN + 20 * HOUR] {
            let now = start(clock).observe(clock + 5, 5);
            assert_eq!((now.at, now.safe, now.is_plausible), (clock + 5, clock + 5, true), "{clock}");
        }
        let new = Clock::starting_at(StoreTimes::default(), SEEN).observe(SEEN, 0);
        assert_eq!((new.store, new.is_plausible), (SEEN, true));
        assert!(!Clock::starting_at(StoreTimes::default(), 0).observe(0, 0).is_plausible, "1970");
    }

    #[test]
    fn a_clock_that_runs_evenly_is_accepted_after_half_a_day() {
        for start_at in [SEEN - 60 * DAY, SEEN + 60 * DAY] {
            let mut clock = start(start_at);
            for hour in 0..12 {
                assert!(!clock.observe(start_at + hour * HOUR, hour * HOUR).is_plausible, "{hour}");
            }
            let now = clock.observe(start_at + 12 * HOUR, 12 * HOUR);
            assert_eq!((now.is_plausible, now.safe), (true, start_at + 12 * HOUR));
        }
    }
}
