//! The wait for a larger group of appends.
//!
//! A commit costs nearly the same for one append as for many. Senders that were just answered often send again at once.
//! If the first of them began the next commit, the others would need another one. So a busy writer thread waits for most
//! of them, but not longer than the last commit took. While such waits are not useful, they become rare.

use std::time::Duration;

/// The fewest appends in flight for which a commit waits. With fewer, an append would often wait for nobody.
const MIN_IN_FLIGHT: usize = 4;

/// The longest wait.
const MAX_WAIT: Duration = Duration::from_millis(1);

/// The most batches that are taken without a wait after waits that were not useful.
const MAX_PAUSE: u32 = 63;

/// The decision how long to wait for the next batch of appends.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    /// The appends of the last batch, or `None` if the thread was idle before it.
    last: Option<usize>,
    /// Batches that are taken without a wait.
    paused: u32,
    /// Batches of the next pause.
    next_pause: u32,
}

/// A wait for more appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    /// The number of appends that ends it.
    pub(super) wanted: usize,
    pub(super) longest: Duration,
    /// The appends that are there at its beginning.
    present: usize,
}

impl Gathering {
    /// Returns the wait before the next batch, if there is one. `present` appends are there, and the last batch has
    /// taken this time.
    pub(super) fn wait(&mut self, present: usize, elapsed: Duration) -> Option<Wait> {
        let in_flight = self.last? + present;
        let wanted = in_flight - in_flight / 8;
        if in_flight < MIN_IN_FLIGHT || present >= wanted {
            return None;
        }
        if self.paused > 0 {
            self.paused -= 1;
            return None;
        }
        Some(Wait { wanted, longest: elapsed.min(MAX_WAIT), present })
    }

    /// Records a batch of `count` appends. `wait` is the wait before it, and `was_idle` is `true` if the thread had
    /// nothing to do.
    pub(super) fn note(&mut self, count: usize, wait: Option<Wait>, was_idle: bool) {
        self.last = (!was_idle).then_some(count);
        let Some(Wait { wanted, present, .. }) = wait else { return };
        let is_useful = count.saturating_sub(present) >= (wanted - present).div_ceil(2);
        self.next_pause = if is_useful { 0 } else { (2 * self.next_pause + 1).min(MAX_PAUSE) };
        self.paused = self.next_pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: Duration = Duration::from_micros(200);

    #[test]
    fn few_senders_and_an_idle_thread_never_wait() {
        let mut gathering = Gathering::default();
        assert_eq!(gathering.wait(64, COMMIT), None, "the first batch");
        gathering.note(64, None, true);
        assert_eq!(gathering.wait(1, COMMIT), None, "the thread was idle");
        for present in 0..3 {
            gathering.note(1, None, false);
            assert_eq!(gathering.wait(present, COMMIT), None);
        }
    }

    #[test]
    fn a_wait_ends_when_nearly_all_senders_have_sent_again() {
        let mut gathering = Gathering::default();
        gathering.note(36, None, false);
        let wait = gathering.wait(28, COMMIT).expect("a wait");
        assert_eq!(wait, Wait { wanted: 56, longest: COMMIT, present: 28 });
        gathering.note(56, Some(wait), false);
        let wait = gathering.wait(8, COMMIT * 100).expect("a wait");
        assert_eq!((wait.wanted, wait.longest), (56, MAX_WAIT));
        gathering.note(8, Some(wait), false);
        assert_eq!(gathering.wait(60, COMMIT), None, "enough are there");
    }

    #[test]
    fn waits_become_rare_while_they_are_not_useful() {
        let mut gathering = Gathering::default();
        let mut waits = 0;
        for _ in 0..1_000 {
            gathering.note(32, None, false);
            if let Some(wait) = gathering.wait(32, COMMIT) {
                waits += 1;
                // Some append comes meanwhile, but not those that were answered.
                gathering.note(36, Some(wait), false);
            }
        }
        assert_eq!(waits, 20);
        let useful = Wait { wanted: 56, longest: COMMIT, present: 32 };
        gathering.note(56, Some(useful), false);
        for _ in 0..10 {
            let wait = gathering.wait(8, COMMIT).expect("a wait");
            gathering.note(56, Some(wait), false);
        }
    }
}
