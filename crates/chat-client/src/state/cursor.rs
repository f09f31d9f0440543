use std::sync::Arc;

use chat_proto::RoomName;
use chat_proto::command::JoinFrom;
use tokio::time::Instant;

use super::request::Request;
use super::send_backoff::SendBackoff;
use crate::Joined;

/// The position of the consumer in the log of one room. It decides for each entry whether that is the next one.
#[derive(Debug)]
pub(crate) struct RoomCursor {
    pub(crate) room: RoomName,
    pub(crate) epoch: Arc<str>,
    /// The last entry that was delivered or skipped.
    pub(crate) seq: u64,
    pub(crate) phase: Phase,
    /// True if this connection is a member of the room.
    pub(crate) joined: bool,
    /// True if the consumer knows that the room continues on this connection.
    pub(crate) announced: bool,
    /// The back-off of the room's messages, while the room refuses them.
    pub(crate) send_backoff: Option<SendBackoff>,
    /// The `seq` at which the log was last asked to fill a hole that no `gap` announced. A server that cannot fill it
    /// is not asked again.
    hole_asked: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The newest messages were asked for. The first entry sets the position. It may be an earlier one than `seq`,
    /// because changes are among the newest entries.
    Starting,
    /// Each entry is the next one.
    Live,
    /// An entry was left out or the connection was lost. All entries after `seq` must be asked for again.
    Behind,
    /// The same, but the server must not be asked before this time.
    Deferred(Instant),
    /// The entries were asked for, and all that arrive before the reply are dropped. With `from_now`, the server does
    /// not have `seq` and the room continues with new entries.
    Resuming { from_now: bool },
}

/// The decision about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// The entry is the next one.
    Deliver,
    /// The entry was delivered before, or arrives again later.
    Drop,
    /// The entry is the next one that exists. The entries from the given `seq` to this one are missing.
    DeliverAfterGap(u64),
}

impl RoomCursor {
    /// Creates the cursor of a room that the consumer joined. `before` is its cursor if it was a member already.
    pub(crate) fn new(before: Option<Self>, joined: &Joined, from: &JoinFrom) -> Self {
        let mut cursor = Self {
            room: joined.room.clone(),
            epoch: Arc::clone(&joined.epoch),
            seq: joined.seq,
            phase: Phase::Live,
            joined: true,
            announced: true,
            send_backoff: None,
            hole_asked: None,
        };
        match (from, before) {
            // To join a room again from now on changes nothing.
            (JoinFrom::Now, Some(before)) => return Self { joined: true, ..before },
            (JoinFrom::Last(count), _) => {
                cursor.seq = joined.seq.saturating_sub(*count).max(joined.first - 1);
                cursor.phase = Phase::Starting;
            }
            // Without recovery, the newest entries follow, after a `gap` if some are left out.
            (JoinFrom::After { epoch, seq }, _) => {
                cursor.seq = if **epoch == *joined.epoch { *seq } else { 0 }
            }
            _ => {}
        }
        cursor
    }

    /// Handles the reply to a resume. Returns true if the room continues exactly after `seq`.
    pub(crate) fn handle_resumed(&mut self, joined: &Joined) -> bool {
        let from_now = self.phase == Phase::Resuming { from_now: true };
        let same = self.epoch == joined.epoch;
        if from_now {
            self.seq = joined.seq;
        } else if !same {
            (self.seq, self.hole_asked) = (0, None);
        }
        self.epoch = Arc::clone(&joined.epoch);
        self.phase = Phase::Live;
        self.joined = true;
        same && !from_now && joined.recovered
    }

    /// Handles an entry of the log.
    pub(crate) fn handle_entry(&mut self, seq: u64) -> Delivery {
        let delivery = match self.phase {
            Phase::Behind | Phase::Deferred(_) | Phase::Resuming { .. } => return Delivery::Drop,
            Phase::Live if seq <= self.seq => return Delivery::Drop,
            Phase::Live if seq == self.seq + 1 => Delivery::Deliver,
            Phase::Live if self.hole_asked == Some(self.seq) => Delivery::DeliverAfterGap(self.seq + 1),
            Phase::Live => {
                self.hole_asked = Some(self.seq);
                self.phase = Phase::Behind;
                return Delivery::Drop;
            }
            Phase::Starting => Delivery::Deliver,
        };
        self.phase = Phase::Live;
        self.seq = seq;
        delivery
    }

    /// Handles a `gap`. Returns the first missing entry, or `None` if this consumer misses nothing.
    pub(crate) fn handle_gap(&mut self, epoch: &str, from: u64, to: u64) -> Option<u64> {
        if !matches!(self.phase, Phase::Live | Phase::Starting) {
            return None;
        }
        if *self.epoch != *epoch {
            self.epoch = Arc::from(epoch);
            (self.seq, self.hole_asked) = (0, None);
        }
        // Among the newest messages that were asked for, the first entry sets the position, and so does a `gap`.
        let from = if self.phase == Phase::Starting { from } else { self.seq + 1 };
        if to < from {
            return None;
        }
        self.seq = to;
        self.phase = Phase::Live;
        Some(from)
    }

    /// Returns true if a command may be sent now. A command for a room that must be resumed waits for that.
    pub(crate) fn admits(&self, request: &Request) -> bool {
        let backs_off = self.send_backoff.as_ref().is_some_and(|backoff| backoff.until().is_some());
        self.joined && !(backs_off && matches!(request, Request::Send(_)))
    }

    /// Handles an entry that the consumer has no capacity for.
    pub(crate) fn fall_behind(&mut self) {
        if matches!(self.phase, Phase::Live | Phase::Starting) {
            self.phase = Phase::Behind;
        }
    }

    /// Handles the loss of the connection.
    pub(crate) fn handle_lost(&mut self) {
        self.phase = Phase::Behind;
        self.joined = false;
        self.announced = false;
        self.send_backoff = None;
    }

    /// Returns the start of the next resume.
    pub(crate) fn resume_from(&self) -> JoinFrom {
        JoinFrom::After { epoch: self.epoch.to_string(), seq: self.seq }
    }
}

#[cfg(test)]
mod tests {
    use chat_proto::PresenceMode;

    use super::*;

    fn joined(epoch: &str, seq: u64, first: u64, recovered: bool) -> Joined {
        let (room, presence) = ("lobby".parse().unwrap(), PresenceMode::Each);
        Joined { room, epoch: epoch.into(), seq, first, recovered, members: 1, presence }
    }

    fn live(seq: u64) -> RoomCursor {
        RoomCursor::new(None, &joined("e", seq, 1, true), &JoinFrom::Now)
    }

    #[test]
    fn entries_are_delivered_in_order_and_once() {
        let mut cursor = live(5);
        let delivered = [5, 6, 6, 7, 6].map(|seq| cursor.handle_entry(seq));
        let expected = [Delivery::Drop, Delivery::Deliver, Delivery::Drop, Delivery::Deliver, Delivery::Drop];
        assert_eq!(delivered, expected);
    }

    #[test]
    fn the_first_of_the_newest_entries_sets_the_position() {
        let mut cursor = RoomCursor::new(None, &joined("e", 9, 4, true), &JoinFrom::Last(3));
        assert_eq!(
            (cursor.seq, cursor.handle_entry(8), cursor.handle_entry(9)),
            (6, Delivery::Deliver, Delivery::Deliver)
        );
        let mut cursor = RoomCursor::new(None, &joined("e", 9, 8, true), &JoinFrom::Last(100));
        assert_eq!((cursor.seq, cursor.handle_entry(8)), (7, Delivery::Deliver));
    }

    #[test]
    fn a_gap_before_the_first_of_the_newest_entries_is_reported() {
        let mut cursor = RoomCursor::new(None, &joined("e", 9, 1, true), &JoinFrom::Last(3));
        assert_eq!((cursor.handle_gap("e", 2, 4), cursor.handle_entry(5)), (Some(2), Delivery::Deliver));
    }

    #[test]
    fn a_hole_is_requested_once_and_then_reported() {
        let mut cursor = live(5);
        assert_eq!((cursor.handle_entry(8), cursor.phase), (Delivery::Drop, Phase::Behind));
        assert_eq!(cursor.resume_from(), JoinFrom::After { epoch: "e".to_owned(), seq: 5 });
        cursor.phase = Phase::Resuming { from_now: false };
        assert_eq!(cursor.handle_entry(6), Delivery::Drop, "before the reply");
        assert!(cursor.handle_resumed(&joined("e", 8, 1, true)));
        assert_eq!(
            (cursor.handle_entry(8), cursor.handle_entry(9)),
            (Delivery::DeliverAfterGap(6), Delivery::Deliver)
        );
    }

    #[test]
    fn a_gap_moves_the_cursor_and_names_the_missing_entries() {
        let mut cursor = live(5);
        assert_eq!(cursor.handle_gap("e", 3, 5), None);
        assert_eq!((cursor.handle_gap("e", 6, 9), cursor.handle_entry(10)), (Some(6), Delivery::Deliver));
        assert_eq!((cursor.handle_gap("f", 1, 2), cursor.handle_entry(3)), (Some(1), Delivery::Deliver));
        cursor.fall_behind();
        assert_eq!(cursor.handle_gap("f", 4, 9), None, "the resume repeats it");
    }

    #[test]
    fn another_epoch_starts_at_the_beginning_and_is_not_recovered() {
        let mut cursor = live(5);
        cursor.handle_lost();
        assert!(!cursor.handle_resumed(&joined("f", 3, 1, false)));
        assert_eq!((cursor.handle_entry(1), cursor.handle_entry(2)), (Delivery::Deliver, Delivery::Deliver));
        cursor.handle_lost();
        assert!(
            !cursor.handle_resumed(&joined("g", 3, 1, true)),
            "the cursor ignores the server's claim of a recovery"
        );
    }

    #[test]
    fn a_position_that_the_server_has_lost_is_given_up() {
        let mut cursor = live(5);
        cursor.handle_lost();
        cursor.phase = Phase::Resuming { from_now: true };
        assert!(!cursor.handle_resumed(&joined("e", 3, 1, true)));
        assert_eq!(cursor.handle_entry(4), Delivery::Deliver);
    }
}
