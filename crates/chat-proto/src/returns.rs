//! The times at which the clients of a crowd are told to return.

use std::ops::RangeInclusive;
use std::time::Duration;

/// The next free time for a client that must return later. Each client gets a time of its own, so the advice grows with
/// the crowd, and becomes short again when the crowd has returned.
///
/// ```
/// use std::time::Duration;
///
/// use chat_proto::Returns;
///
/// let (mut returns, now) = (Returns::default(), Duration::from_secs(100));
/// let range = Duration::from_secs(2)..=Duration::from_secs(30);
/// assert_eq!(returns.next(now, 10, &range), Duration::from_millis(2_000));
/// assert_eq!(returns.next(now, 10, &range), Duration::from_millis(2_100));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Returns {
    next: Duration,
}

impl Returns {
    /// Returns the time that one more client must wait, in `range`. If the range is full, it is used again from its
    /// start, so that the clients stay evenly spread. A rate of 0 gives each client the start.
    pub fn next(&mut self, now: Duration, per_second: u32, range: &RangeInclusive<Duration>) -> Duration {
        let (first, last) = (now + *range.start(), now + *range.end());
        let at = if self.next > last { first } else { self.next.max(first) };
        self.next = at + Duration::from_secs(1).checked_div(per_second).unwrap_or_default();
        at - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_crowd_is_spread_evenly_over_the_whole_range() {
        let (mut returns, range) = (Returns::default(), 2 * SECOND..=6 * SECOND);
        let mut seconds = [0; 10];
        for _ in 0..1_000 {
            let wait = returns.next(7 * SECOND, 20, &range);
            assert!(range.contains(&wait), "{wait:?}");
            seconds[usize::try_from(wait.as_secs()).unwrap()] += 1;
        }
        assert!(seconds[2..6].iter().all(|count| (240..=260).contains(count)), "{seconds:?}");
    }

    #[test]
    fn the_wait_grows_with_the_crowd_and_is_short_once_it_has_returned() {
        let (mut returns, range) = (Returns::default(), SECOND..=100 * SECOND);
        let waits: Vec<_> = (0..50).map(|_| returns.next(SECOND, 10, &range).as_millis()).collect();
        assert_eq!((waits[0], waits[10], waits[49]), (1_000, 2_000, 5_900));
        // Half of the crowd has returned.
        assert_eq!(returns.next(SECOND * 7 / 2, 10, &range).as_millis(), 3_500);
        assert_eq!(returns.next(20 * SECOND, 10, &range), SECOND);
    }

    #[test]
    fn without_a_rate_or_a_range_each_wait_is_the_shortest() {
        let mut returns = Returns::default();
        for (per_second, most) in [(0, 9 * SECOND), (1, SECOND)] {
            for _ in 0..3 {
                assert_eq!(returns.next(SECOND, per_second, &(SECOND..=most)), SECOND);
            }
        }
    }
}
