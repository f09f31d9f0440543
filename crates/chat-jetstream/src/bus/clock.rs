use std::time::Duration;

/// The time for which the fastest message counts, and for the same time again. In it, two clocks differ by less than
/// [`MARGIN`] more than before.
const WINDOW: Duration = Duration::from_secs(5);

/// The part of a delay that is not reported, because two clocks may run at different rates. A clock that is set right
/// is up to 500 us per second faster or slower.
const MARGIN: Duration = Duration::from_millis(10);

/// The clock of another node, as far as the times show it at which its messages were sent and arrived.
///
/// A clock counts from the start of its node, so it never goes back. The difference of the two times is that of the
/// clocks, and the time for which the message was on its way. The latter is never negative. So a message whose
/// difference is greater than that of the fastest one was on its way for that much longer, at least.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// The beginning of the present window, and the least difference in it, in microseconds.
    present: Option<(Duration, i128)>,
    /// The least difference in the window before.
    previous: Option<i128>,
}

impl Clock {
    /// Records a message that was sent at a time of the other clock, and arrives at a time of the own one. Returns the
    /// time for which it was on its way, at least.
    pub(super) fn delay(&mut self, sent: Duration, now: Duration) -> Duration {
        let difference = micros(now) - micros(sent);
        if let Some((begun, least)) = self.present
            && now.saturating_sub(begun) >= WINDOW
        {
            self.previous = (now.saturating_sub(begun) < 2 * WINDOW).then_some(least);
            self.present = None;
        }
        let known = self.present.map(|(_, least)| least).into_iter().chain(self.previous).min();
        let (_, least) = self.present.get_or_insert((now, difference));
        *least = difference.min(*least);
        let later = known.and_then(|fastest| u64::try_from(difference - fastest).ok());
        Duration::from_micros(later.unwrap_or_default()).saturating_sub(MARGIN)
    }
}

fn micros(time: Duration) -> i128 {
    i128::try_from(time.as_micros()).unwrap_or(i128::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_delay_is_that_beyond_the_fastest_of_the_last_messages() {
        // The other node started 100 s later than this one.
        let (start, mut clock) = (millis(100_000), Clock::default());
        assert_eq!(clock.delay(millis(0), start + millis(40)), millis(0), "nothing is known");
        assert_eq!(clock.delay(millis(1_000), start + millis(1_002)), millis(0));
        assert_eq!(clock.delay(millis(2_000), start + millis(2_050)), millis(38));
        assert_eq!(clock.delay(millis(1_500), start + millis(4_000)), millis(2_488));
    }

    #[test]
    fn the_clock_of_a_node_may_be_ahead() {
        let mut clock = Clock::default();
        assert_eq!(clock.delay(millis(90_000), millis(5)), millis(0));
        assert_eq!(clock.delay(millis(91_000), millis(2_005)), millis(990));
    }

    #[test]
    fn a_message_from_long_ago_does_not_count() {
        let mut clock = Clock::default();
        let mut delay =
            |second: u64, late: u64| clock.delay(millis(second * 1_000), millis(second * 1_000 + late));
        for second in 0..10 {
            assert_eq!(delay(second, 0), millis(0));
        }
        // The machine of the other node was paused for 3 s, and its clock with it.
        let delays: Vec<_> = (10..25).map(|second| delay(second, 3_000)).collect();
        assert_eq!((delays[0], delays[14]), (millis(2_990), millis(0)), "{delays:?}");
        assert!(delays.is_sorted_by(|a, b| a >= b), "{delays:?}");
        assert_eq!(clock.delay(millis(90_000), millis(99_000)), millis(0), "after a silence");
    }
}
