//! The events that are written to many members at once.

use std::ops::Bound;

use bytes::Bytes;

use super::event::Audience;
use super::state::Waiting;
use super::{Cursor, Member, Place, Room};
use crate::frames;

/// The newest events of a room, for the members that have taken all events before them.
///
/// The caller writes a flush to each [direct member](Room::write_directly) itself, so the member's task does not run.
/// It calls [`Member::progress`] for each of them, and [`Room::wake`] for those that cannot get the flush in this way.
///
/// ```
/// use chat_proto::command::JoinFrom;
/// use chat_proto::room::{Delivery, Progress, Room};
/// use chat_proto::{Limits, LogBounds, StoredMessage, User};
///
/// let mut room = Room::new("lobby".parse()?, &Limits::default());
/// let bounds = LogBounds::new("e", 0);
/// let (mut ann, _) = room.join(1, &User::guest("ann")?, (), bounds, &JoinFrom::Now)?;
/// room.write_directly(&ann);
///
/// room.commit("e", &StoredMessage::new(1, r#"{"seq":1}"#));
/// assert_eq!(room.to_wake().count(), 0);
/// let flush = room.flush().ok_or("nothing to flush")?;
/// assert_eq!(ann.progress(&flush), Progress::Next);
/// assert_eq!(&flush.frames()[..], b"\x81\x09{\"seq\":1}");
/// ann.advance(&flush);
/// room.flushed(&flush);
/// assert!(room.flush().is_none());
/// assert!(matches!(room.take(&mut ann), Delivery::Nothing));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Flush {
    from: Cursor,
    to: Cursor,
    generation: u64,
    frames: Bytes,
    payload_bytes: usize,
    /// The audiences of the events that not all members get.
    exceptions: Vec<Audience>,
}

/// The position of a member before a [`Flush`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The member gets all events of the flush next.
    Next,
    /// The member has the events of the flush.
    Done,
    /// The member must [take](Room::take) its events: it is behind, or it gets other events.
    Behind,
}

impl Flush {
    /// Returns the events in order, as whole text frames of a WebSocket: see [`frames`].
    pub fn frames(&self) -> &Bytes {
        &self.frames
    }

    /// Returns the number of events.
    pub fn count(&self) -> u64 {
        self.to.position - self.from.position
    }

    /// Returns the bytes of the events, without the headers of the frames.
    pub fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }
}

impl Member {
    /// Returns the position of this member before a flush.
    pub fn progress(&self, flush: &Flush) -> Progress {
        let is_exception = || flush.exceptions.iter().any(|audience| !audience.includes(self));
        if self.generation != flush.generation || self.missed.is_some() {
            Progress::Behind
        } else if self.cursor.position >= flush.to.position && self.cursor.seq >= flush.to.seq {
            Progress::Done
        } else if self.cursor == flush.from && !is_exception() {
            Progress::Next
        } else {
            Progress::Behind
        }
    }

    /// Records that this member, for which the flush was [next](Progress::Next), has got the events.
    pub fn advance(&mut self, flush: &Flush) {
        self.cursor = flush.to;
    }
}

impl<W> Room<W> {
    /// Makes a member a direct member: the caller flushes the room to it. [`to_wake`](Self::to_wake) does not return
    /// its waker any more.
    pub fn write_directly(&mut self, member: &Member) {
        let Some(waiting) = self.members.get_mut(&member.id) else { return };
        if std::mem::replace(&mut waiting.is_direct, true) {
            return;
        }
        if self.direct == 0 {
            // Earlier events were for members that were woken.
            self.flushed = (self.tail.end(), self.generation);
        }
        self.direct += 1;
    }

    /// Returns true if [`flush`](Self::flush) has something for direct members.
    pub fn needs_flush(&self) -> bool {
        self.direct > 0 && self.flushed != (self.tail.end(), self.generation)
    }

    /// Returns the events that direct members get next, at most one batch. The next flush begins where this one ends,
    /// once [`flushed`](Self::flushed) was called.
    ///
    /// A flush without events is for members that are behind, for example because the log has started a new epoch.
    pub fn flush(&mut self) -> Option<Flush> {
        if !self.needs_flush() {
            return None;
        }
        let (from, events, to) = self.tail.batch(self.flushed.0, self.max_batch);
        let (mut payload_bytes, mut exceptions) = (0, Vec::new());
        for event in events.clone() {
            payload_bytes += event.frame.len();
            if event.audience != Audience::All {
                exceptions.push(event.audience.clone());
            }
        }
        let frames = frames::texts(events.map(|event| &event.frame[..]));
        self.flush_to = to.position;
        Some(Flush { from, to, generation: self.generation, frames, payload_bytes, exceptions })
    }

    /// Returns the direct members after this one, in order.
    pub fn direct_members(&self, after: Option<u64>) -> impl Iterator<Item = (u64, &W)> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let members = self.members.range((start, Bound::Unbounded));
        members.filter(|(_, waiting)| waiting.is_direct).map(|(id, waiting)| (*id, &waiting.waker))
    }

    /// Records that each direct member has got a flush, has it already, or was woken.
    pub fn flushed(&mut self, flush: &Flush) {
        self.flushed = (flush.to.position, flush.generation);
    }

    /// Records that a flush is given up before all direct members got it. Returns the wakers of those that are not
    /// awake. `places` are the [places](Member::place) of the direct members, some of which have got the flush.
    pub fn give_up_flush(&mut self, places: impl IntoIterator<Item = Place>) -> impl Iterator<Item = &W> {
        for place in places {
            if let Some(waiting) = self.members.get_mut(&place.id) {
                waiting.note_position(place.position);
            }
        }
        self.members.values_mut().filter(|waiting| waiting.is_direct).filter_map(Waiting::wake)
    }

    /// Returns the number of direct members.
    pub fn direct_count(&self) -> usize {
        self.direct
    }
}
