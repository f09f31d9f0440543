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
    /// The last entry that was delivered or skipped. If `newest` is set, the last entry that existed at the join.
    pub(crate) seq: u64,
    /// The number of the newest messages that were asked for, until the first entry arrives. That entry sets the
    /// position: `seq` does not tell how many entries these messages are, because changes are among them.
    newest: Option<u64>,
    pub(crate) phase: Phase,
    /// True if this connection is a member of the room.
    pub(crate) joined: bool,
    /// True if the consumer knows that the room continues on this connection.
    pub(crate) announced: bool,
    /// True if the consumer had no capacity for a move of the marker.
    pub(crate) missed_read: bool,
    /// The back-off of the room's messages, while the room refuses them.
    pub(crate) send_backoff: Option<SendBackoff>,
    /// The `seq` at which the log was last asked to fill a hole that no `gap` announced. A server that cannot fill it
    /// is not asked again.
    hole_asked: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
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
            newest: None,
            phase: Phase::Live,
            joined: true,
            announced: true,
            missed_read: false,
            send_backoff: None,
            hole_asked: None,
        };
        match (from, before) {
            // To join a room again from now on changes nothing.
            (JoinFrom::Now, Some(before)) => return Self { joined: true, ..before },
            // Of an empty log, nothing arrives. Then the position is `seq`, as it is without a number of messages.
            (JoinFrom::Last(count), _) => {
                cursor.newest = Some(*count).filter(|count| *count > 0 && joined.first <= joined.seq);
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
            (self.seq, self.newest) = (joined.seq, None);
        } else if !same {
            // The newest messages of another log are enough. The hole before them is a gap.
            (self.seq, self.hole_asked) = (0, self.newest.map(|_| 0));
        }
        self.epoch = Arc::clone(&joined.epoch);
        self.phase = Phase::Live;
        self.joined = true;
        same && !from_now && joined.recovered
    }

    /// Handles an entry of the log.
    pub(crate) fn handle_entry(&mut self, seq: u64) -> Delivery {
        if self.phase != Phase::Live {
            return Delivery::Drop;
        }
        let (starts, next) = (self.newest.take().is_some(), self.seq + 1);
        let delivery = if seq == next || (seq < next && starts) {
            Delivery::Deliver
        } else if seq < next {
            return Delivery::Drop;
        } else if self.hole_asked == Some(self.seq) {
            Delivery::DeliverAfterGap(next)
        } else {
            self.hole_asked = Some(self.seq);
            self.phase = Phase::Behind;
            return Delivery::Drop;
        };
        self.seq = seq;
        delivery
    }

    /// Handles a `gap`. Returns the first missing entry, or `None` if this consumer misses nothing.
    pub(crate) fn handle_gap(&mut self, epoch: &str, from: u64, to: u64) -> Option<u64> {
        if self.phase != Phase::Live {
            return None;
        }
        if *self.epoch != *epoch {
            self.epoch = Arc::from(epoch);
            (self.seq, self.hole_asked) = (0, None);
        }
        let next = self.seq + 1;
        // Among the newest messages that were asked for, a `gap` sets the position, as an entry does.
        let from = if self.newest.take().is_some() { from.min(next) } else { next };
        if to < from {
            return None;
        }
        self.seq = to;
        Some(from)
    }

    /// Returns true if a command may be sent now. A command for a room that must be resumed waits for that.
    pub(crate) fn admits(&self, request: &Request) -> bool {
        let backs_off = self.send_backoff.as_ref().is_some_and(|backoff| backoff.until().is_some());
        self.joined && !(backs_off && matches!(request, Request::Send(_)))
    }

    /// Handles an entry at `seq`, or a `gap` from there, that the consumer has no capacity for.
    pub(crate) fn fall_behind(&mut self, seq: u64) {
        if self.phase == Phase::Live {
            self.phase = Phase::Behind;
            if self.newest.take().is_some() {
                self.seq = self.seq.min(seq.saturating_sub(1));
            }
        }
    }

    /// Handles a move of the marker that the consumer has no capacity for.
    pub(crate) fn miss_read(&mut self) {
        self.missed_read = true;
        if self.phase == Phase::Live {
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
        match self.newest {
            Some(count) => JoinFrom::Last(count),
            None => JoinFrom::After { epoch: self.epoch.to_string(), seq: self.seq },
        }
    }
}

#[cfg(test)]
mod tests;
