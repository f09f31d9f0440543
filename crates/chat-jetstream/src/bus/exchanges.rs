use std::time::{Duration, Instant};

/// The pause between two exchanges with a node, at least.
const PAUSE: Duration = Duration::from_secs(1);

/// The exchanges of users with another node: when it joins, and after lost notices.
///
/// The other node answers with notices. If it counts them wrongly, they show a loss again. Without a pause, both nodes
/// would do nothing else.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Exchanges {
    /// The beginning of the last one.
    last: Option<Instant>,
    wanted: Option<Wanted>,
}

/// The node that has missed notices of the other one. If it is this one, the other one must be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wanted {
    ByOther,
    ByThis,
}

impl Exchanges {
    /// Records that an exchange is wanted. It begins later if the last one was a moment ago.
    pub(super) fn want(&mut self, wanted: Wanted) {
        self.wanted = self.wanted.max(Some(wanted));
    }

    /// Begins the exchange that is wanted, if it is time.
    pub(super) fn begin(&mut self, now: Instant) -> Option<Wanted> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < PAUSE) {
            return None;
        }
        let wanted = self.wanted.take()?;
        self.last = Some(now);
        Some(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchanges_have_a_pause_and_none_is_forgotten() {
        let (start, mut exchanges) = (Instant::now(), Exchanges::default());
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(exchanges.begin(at(0)), None, "nothing is missing");
        exchanges.want(Wanted::ByOther);
        assert_eq!(exchanges.begin(at(0)), Some(Wanted::ByOther));
        for millis in 0..1_000 {
            exchanges.want(if millis == 500 { Wanted::ByThis } else { Wanted::ByOther });
            assert_eq!(exchanges.begin(at(millis)), None);
        }
        assert_eq!(exchanges.begin(at(1_000)), Some(Wanted::ByThis), "the other node does not know of it");
        assert_eq!(exchanges.begin(at(5_000)), None, "all that was missing is known");
    }
}
