use std::sync::Arc;

use chat_proto::RoomName;
use tokio::time::Instant;

use crate::hold::Hold;
use crate::reply::Ask;
use crate::{JoinFrom, Joined};

/// How far the consumer has got in one room. It decides, for each message, whether that is the next one.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) room: RoomName,
    pub(crate) epoch: Arc<str>,
    /// The last message handed on, or not wanted.
    pub(crate) seq: u64,
    pub(crate) phase: Phase,
    /// Whether the server has this room joined on this connection.
    pub(crate) present: bool,
    /// Whether the consumer knows that the room goes on, on this connection.
    pub(crate) announced: bool,
    /// Whether it takes no messages now.
    pub(crate) hold: Option<Hold>,
    /// Where a hole without a `gap` was last asked about: a server that cannot fill it is not asked twice.
    asked: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The newest so many were asked for: the first message says where that is.
    Starting,
    /// Each message is the next one.
    Live,
    /// Something was left out, or the connection lost: all after `seq` is to be asked for again.
    Behind,
    /// Not to be asked for again before this.
    Held(Instant),
    /// It has been asked for; what comes before the reply is of no use. `anew`: not after `seq`, which the
    /// server does not have, but from now on.
    Resuming { anew: bool },
}

/// What to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It is the next one.
    Take,
    /// It comes again when it is its turn, or has come already.
    Drop,
    /// It is the next one that there is: those from here up to it are missing.
    TakeAfterGap(u64),
}

impl Place {
    /// The consumer has joined, or joined again, and reads from there.
    pub(crate) fn joined(before: Option<Self>, joined: &Joined, from: &JoinFrom) -> Self {
        let mut place = Self {
            room: joined.room.clone(),
            epoch: Arc::clone(&joined.epoch),
            seq: joined.seq,
            phase: Phase::Live,
            present: true,
            announced: true,
            hold: None,
            asked: None,
        };
        match (from, before) {
            // Joining a room again from now on changes nothing.
            (JoinFrom::Now, Some(before)) => return Self { present: true, ..before },
            (JoinFrom::Now, None) => {}
            (JoinFrom::Last(count), _) => {
                place.seq = joined.seq.saturating_sub(*count).max(joined.first - 1);
                place.phase = Phase::Starting;
            }
            // Not recovered: the newest messages follow, after a `gap` if not all of them.
            (JoinFrom::After { epoch, seq }, _) => {
                place.seq = if **epoch == *joined.epoch { *seq } else { 0 }
            }
        }
        place
    }

    /// The server goes on after `seq`, or says that it cannot. Whether it can.
    pub(crate) fn resumed(&mut self, joined: &Joined) -> bool {
        let anew = self.phase == Phase::Resuming { anew: true };
        let same = self.epoch == joined.epoch;
        if anew {
            self.seq = joined.seq;
        } else if !same {
            (self.seq, self.asked) = (0, None);
        }
        self.epoch = Arc::clone(&joined.epoch);
        self.phase = Phase::Live;
        self.present = true;
        same && !anew && joined.recovered
    }

    /// A message came.
    pub(crate) fn take(&mut self, seq: u64) -> Next {
        let next = match self.phase {
            Phase::Behind | Phase::Held(_) | Phase::Resuming { .. } => return Next::Drop,
            Phase::Live | Phase::Starting if seq <= self.seq => return Next::Drop,
            Phase::Live if seq == self.seq + 1 => Next::Take,
            Phase::Live if self.asked == Some(self.seq) => Next::TakeAfterGap(self.seq + 1),
            Phase::Live => {
                self.asked = Some(self.seq);
                self.phase = Phase::Behind;
                return Next::Drop;
            }
            Phase::Starting => Next::Take,
        };
        self.phase = Phase::Live;
        self.seq = seq;
        next
    }

    /// The server says that messages up to `to` will not come; the first of them that the consumer lacks.
    pub(crate) fn skip(&mut self, epoch: &str, to: u64) -> Option<u64> {
        if !matches!(self.phase, Phase::Live | Phase::Starting) {
            return None;
        }
        if *self.epoch != *epoch {
            self.epoch = Arc::from(epoch);
            (self.seq, self.asked) = (0, None);
        }
        if to <= self.seq {
            return None;
        }
        let from = self.seq + 1;
        self.seq = to;
        self.phase = Phase::Live;
        Some(from)
    }

    /// Whether a command is sent now: one about a room that is to be resumed comes after that.
    pub(crate) fn admits(&self, ask: &Ask) -> bool {
        let held = self.hold.as_ref().is_some_and(|hold| hold.until().is_some());
        self.present && !(held && matches!(ask, Ask::Send(_)))
    }

    /// What comes cannot be handed on now.
    pub(crate) fn fall_behind(&mut self) {
        if matches!(self.phase, Phase::Live | Phase::Starting) {
            self.phase = Phase::Behind;
        }
    }

    /// The connection is lost.
    pub(crate) fn lose(&mut self) {
        self.phase = Phase::Behind;
        self.present = false;
        self.announced = false;
        self.hold = None;
    }

    /// Where to go on.
    pub(crate) fn cursor(&self) -> JoinFrom {
        JoinFrom::After { epoch: self.epoch.to_string(), seq: self.seq }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(epoch: &str, seq: u64, first: u64, recovered: bool) -> Joined {
        Joined { room: "lobby".parse().unwrap(), epoch: epoch.into(), seq, first, recovered, members: 1 }
    }

    fn live(seq: u64) -> Place {
        Place::joined(None, &joined("e", seq, 1, true), &JoinFrom::Now)
    }

    #[test]
    fn messages_are_taken_in_order_and_once() {
        let mut place = live(5);
        let taken = [5, 6, 6, 7, 6].map(|seq| place.take(seq));
        assert_eq!(taken, [Next::Drop, Next::Take, Next::Drop, Next::Take, Next::Drop]);
    }

    #[test]
    fn the_newest_messages_begin_wherever_the_first_one_is() {
        let mut place = Place::joined(None, &joined("e", 9, 4, true), &JoinFrom::Last(3));
        assert_eq!((place.seq, place.take(8), place.take(9)), (6, Next::Take, Next::Take));
        let mut place = Place::joined(None, &joined("e", 9, 8, true), &JoinFrom::Last(100));
        assert_eq!((place.seq, place.take(8)), (7, Next::Take));
    }

    #[test]
    fn a_hole_is_asked_about_once_and_then_told() {
        let mut place = live(5);
        assert_eq!((place.take(8), place.phase), (Next::Drop, Phase::Behind));
        assert_eq!(place.cursor(), JoinFrom::After { epoch: "e".to_owned(), seq: 5 });
        place.phase = Phase::Resuming { anew: false };
        assert_eq!(place.take(6), Next::Drop, "before the reply");
        assert!(place.resumed(&joined("e", 8, 1, true)));
        assert_eq!((place.take(8), place.take(9)), (Next::TakeAfterGap(6), Next::Take));
    }

    #[test]
    fn a_gap_moves_the_cursor_and_says_what_this_consumer_lacks() {
        let mut place = live(5);
        assert_eq!(place.skip("e", 5), None);
        assert_eq!((place.skip("e", 9), place.take(10)), (Some(6), Next::Take));
        assert_eq!((place.skip("f", 2), place.take(3)), (Some(1), Next::Take));
        place.fall_behind();
        assert_eq!(place.skip("f", 9), None, "told again by the resume");
    }

    #[test]
    fn another_epoch_starts_from_the_beginning_and_is_no_recovery() {
        let mut place = live(5);
        place.lose();
        assert!(!place.resumed(&joined("f", 3, 1, false)));
        assert_eq!((place.take(1), place.take(2)), (Next::Take, Next::Take));
        place.lose();
        assert!(!place.resumed(&joined("g", 3, 1, true)), "whatever the server says");
    }

    #[test]
    fn a_position_that_the_server_has_lost_is_given_up() {
        let mut place = live(5);
        place.lose();
        place.phase = Phase::Resuming { anew: true };
        assert!(!place.resumed(&joined("e", 3, 1, true)));
        assert_eq!(place.take(4), Next::Take);
    }
}
