use std::time::Duration;

/// The time for which messages count together. Those that were sent further apart show whether they were held up.
const GROUP: Duration = Duration::from_millis(250);

/// The part of a delay that is not reported, because two clocks may run at different rates. A clock that is set right
/// is up to 500 us per second faster or slower.
const MARGIN: Duration = Duration::from_millis(10);

/// The clock of another node, as far as the times show it at which its messages were sent and arrived.
///
/// A clock counts from the start of its node, so it never goes back. The difference of the two times is that of the
/// clocks, and the time for which the message was on its way. The latter is never negative. So a message whose
/// difference is greater than that of the fastest one was on its way for that much longer, unless the clock of the
/// other node has stood still. Messages that were held up arrive together. After a clock has stood still, they arrive
/// as far apart as they were sent, and all are as late: then they are the fastest ones.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// The difference of the fastest message before the group, in microseconds.
    fastest: Option<i128>,
    group: Option<Group>,
}

/// The last messages.
#[derive(Clone, Copy, Debug)]
struct Group {
    /// The time at which the first one was sent, by the clock of the other node, and its difference.
    begun: Duration,
    first: i128,
    /// The difference of the fastest one.
    least: i128,
}

impl Clock {
    /// Records a message that was sent at a time of the other clock, and arrives at a time of the own one. Returns the
    /// time for which it was on its way, at least. It is none if there is doubt, except for the first messages of a
    /// clock that has stood still.
    pub(crate) fn delay(&mut self, sent: Duration, now: Duration) -> Duration {
        let difference = micros(now) - micros(sent);
        if let Some(group) = self.group
            && sent.saturating_sub(group.begun) >= GROUP
        {
            let are_held_up = (group.first - difference) * 2 > micros(sent - group.begun);
            let before = self.fastest.filter(|_| are_held_up);
            self.fastest = Some(before.map_or(group.least, |before| before.min(group.least)));
            self.group = None;
        }
        let known = self.group.map(|group| group.least).into_iter().chain(self.fastest).min();
        let group = self.group.get_or_insert(Group { begun: sent, first: difference, least: difference });
        group.least = difference.min(group.least);
        let later = known.and_then(|fastest| u64::try_from(difference - fastest).ok());
        Duration::from_micros(later.unwrap_or_default()).saturating_sub(MARGIN)
    }
}

fn micros(time: Duration) -> i128 {
    i128::try_from(time.as_micros()).unwrap_or(i128::MAX / 4)
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
        assert_eq!(clock.delay(millis(2_100), start + millis(2_102)), millis(0));
        assert_eq!(clock.delay(millis(1_500), start + millis(4_000)), millis(2_488));
    }

    #[test]
    fn the_clock_of_a_node_may_be_ahead() {
        let mut clock = Clock::default();
        assert_eq!(clock.delay(millis(90_000), millis(5)), millis(0));
        assert_eq!(clock.delay(millis(91_000), millis(2_005)), millis(990));
    }

    #[test]
    fn messages_that_are_held_up_are_late_one_after_the_other() {
        let mut clock = Clock::default();
        for second in 0..4 {
            assert_eq!(clock.delay(millis(second * 1_000), millis(second * 1_000)), millis(0));
        }
        // Nothing arrives for 3 s, and then all of it within 20 ms.
        let sent = [3_100, 4_000, 4_050, 5_000, 6_000];
        let delays = sent.into_iter().zip((0..).step_by(5)).map(|(sent, later)| {
            let late = clock.delay(millis(sent), millis(6_100 + later));
            late == millis(6_100 + later - sent - 10)
        });
        assert!(delays.eq([true; 5]));
        for second in 7..20 {
            assert_eq!(clock.delay(millis(second * 1_000), millis(second * 1_000 + 2)), millis(0));
            let late = clock.delay(millis(second * 1_000 + 100), millis(second * 1_000 + 900));
            assert_eq!(late, millis(788), "one that is late by itself");
        }
    }

    #[test]
    fn messages_that_are_all_as_late_are_those_of_a_clock_that_has_stood_still() {
        let mut clock = Clock::default();
        let mut delay = |at: u64, late: u64| clock.delay(millis(at), millis(at + late));
        for second in 0..10 {
            assert_eq!(delay(second * 1_000, second % 3), millis(0));
        }
        // The machine of the other node was paused for 3 s, and its clock with it.
        assert_eq!(delay(10_000, 3_000), millis(2_990), "it may be held up");
        assert_eq!(delay(10_250, 3_008), millis(0));
        assert_eq!(delay(10_300, 3_100), millis(90));
        for second in 11..20 {
            assert_eq!(delay(second * 1_000, 3_000 + second % 7), millis(0));
        }
        assert_eq!(delay(20_000, 0), millis(0), "the machine of this node was paused too");
        assert_eq!(delay(20_500, 700), millis(690));
    }
}
