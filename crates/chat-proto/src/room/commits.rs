//! The entries of a room's log, as its store reports them.

use bytes::Bytes;

use super::affected::Affected;
use super::rules::{Affects, affects};
use super::{LogBounds, Page, Room, RoomEvent, StoredMessage};
use crate::Event;

/// The effect of one committed entry on a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The entry is in the tail, with those that had waited for it.
    InOrder,
    /// The room had the entry already.
    Repeat,
    /// The entry waits for earlier ones. If their reports do not come, they are read from the log: see [`Room::hole`].
    Early,
    /// The entry is of another epoch than the room, and is dropped.
    OtherEpoch,
}

/// The committed entries that a room has no report of. They are read from the log once, for all members.
///
/// ```
/// use chat_proto::command::JoinFrom;
/// use chat_proto::room::{Delivery, Room};
/// use chat_proto::{Limits, LogBounds, Page, StoredMessage, User};
///
/// let mut room = Room::new("lobby".parse()?, &Limits::default());
/// let bounds = LogBounds::new("e", 0);
/// let (mut ann, _) = room.join(1, &User::guest("ann")?, (), bounds, &JoinFrom::Now)?;
/// room.note_committed("e", 1);
///
/// let hole = room.hole().ok_or("no hole")?;
/// assert_eq!((hole.after, hole.up_to), (0, 1));
/// let stored = StoredMessage::new(1, r#"{"seq":1}"#);
/// assert!(room.fill(&hole, Page::new("e".to_owned(), vec![stored])));
/// assert!(matches!(room.take(&mut ann), Delivery::Events(_)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The last entry before the hole.
    pub after: u64,
    /// The newest entry that was known to be committed when the hole was determined.
    pub up_to: u64,
    /// The [generation](Room::generation) of the log in which the entries are missing.
    pub generation: u64,
}

impl<W> Room<W> {
    /// Returns the generation of the log: the number of its epochs before the present one. The caller takes it before
    /// it reads the log's bounds, for [`observe`](Self::observe).
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Records the log's bounds, which were read in this `generation` of the room.
    ///
    /// If the epoch differs from the last one, the room is renewed. Returns false if the room was renewed after the
    /// bounds were read. Then they are stale and must be read again.
    pub fn observe(&mut self, generation: u64, bounds: &LogBounds) -> bool {
        if generation != self.generation {
            return false;
        }
        if self.epoch.as_ref().is_some_and(|epoch| **epoch != *bounds.epoch) {
            self.renew(bounds);
        }
        self.epoch_of(bounds);
        self.note_head(bounds.head);
        true
    }

    /// Returns true if bounds that may be old are as current as the room: they have all entries that it knows of.
    pub fn is_up_to_date(&self, bounds: &LogBounds) -> bool {
        match &self.epoch {
            Some(epoch) => **epoch == *bounds.epoch && bounds.head >= self.committed.max(self.tail.head()),
            None => true,
        }
    }

    /// Takes an entry that the log has committed in this epoch. Entries may come in any order, and more than once.
    pub fn commit(&mut self, epoch: &str, stored: &StoredMessage) -> Committed {
        if !self.is_epoch(epoch) {
            return Committed::OtherEpoch;
        }
        let (seq, head) = (stored.seq, self.tail.head());
        if seq <= head {
            return Committed::Repeat;
        }
        self.committed = self.committed.max(seq);
        // Without members there is no order to keep. The next member reads the log.
        if seq > head + 1 && !self.members.is_empty() {
            self.early.insert(seq, stored.frame.clone());
            // The dropped entries are read from the log, like those before them.
            self.early.limit();
            return Committed::Early;
        }
        if seq > head + 1 {
            // An act may be among the entries in between, whose reports are repeats from now on.
            self.affected.note(seq, Affects::All);
        }
        self.push_entry(seq, stored.frame.clone());
        self.push_early();
        Committed::InOrder
    }

    /// Takes the present form of entries of this epoch whose content a deletion has erased. Members that have not taken
    /// them get this form.
    pub fn erase(&mut self, epoch: &str, entries: &[StoredMessage]) {
        if self.is_epoch(epoch) {
            for StoredMessage { seq, frame } in entries {
                self.tail.replace(*seq, RoomEvent::entry(frame.clone()));
                // Its report may come later than that of the deletion.
                if *seq > self.tail.head() {
                    self.early.erase(*seq, frame.clone());
                }
            }
        }
    }

    /// Records that the log has committed the entries of this epoch up to `head`. Their reports may still come:
    /// [`has_hole`](Self::has_hole) is true until then. A head of another epoch changes nothing.
    pub fn note_committed(&mut self, epoch: &str, head: u64) {
        if self.is_epoch(epoch) {
            self.note_head(head);
        }
    }

    /// Returns true if the room has taken the entries of this epoch up to `head`, so that
    /// [`note_committed`](Self::note_committed) would change nothing.
    pub fn has_taken(&self, epoch: &str, head: u64) -> bool {
        self.epoch.as_deref() == Some(epoch) && head <= self.tail.head()
    }

    /// Returns true if the members wait for the report of a committed entry.
    pub fn has_hole(&self) -> bool {
        self.committed > self.tail.head() && !self.members.is_empty()
    }

    /// Returns the entries that the members wait for. If their reports do not come, the caller reads the log after
    /// [`Hole::after`], and gives the page to [`fill`](Self::fill).
    pub fn hole(&self) -> Option<Hole> {
        let generation = self.generation;
        self.has_hole().then(|| Hole { after: self.tail.head(), up_to: self.committed, generation })
    }

    /// Takes a page of the log that was read for a hole. All members get its entries, and a `gap` for the entries that
    /// the log no longer has. The hole may be longer than the page.
    ///
    /// Returns false if the page or the hole is of another epoch than the room. Then the log's bounds must be
    /// [observed](Self::observe).
    pub fn fill(&mut self, hole: &Hole, page: Page) -> bool {
        // A page of the new epoch may answer a read for a hole of the earlier one. It says nothing about those entries.
        if self.epoch.as_deref() != Some(&*page.epoch) || hole.generation != self.generation {
            return false;
        }
        // Each entry up to this one is in the page, or the log no longer has it.
        let end = page.messages.iter().map(|stored| stored.seq).max().unwrap_or(hole.up_to);
        self.committed = self.committed.max(end);
        for stored in page.messages {
            self.early.insert(stored.seq, stored.frame);
        }
        while let Some((seq, frame)) = self.early.take_first(end) {
            self.push_gap(seq.saturating_sub(1));
            self.push_entry(seq, frame);
        }
        self.push_gap(end);
        self.push_early();
        true
    }

    /// Records that the log has started a new epoch, with these bounds. The present members get no more events. A
    /// second report of one epoch changes nothing but the newest entry.
    pub fn renew(&mut self, bounds: &LogBounds) {
        if self.epoch.as_deref() == Some(&*bounds.epoch) {
            self.note_head(bounds.head);
            return;
        }
        self.generation += 1;
        self.epoch = Some(bounds.epoch.as_str().into());
        self.early.clear();
        self.committed = bounds.head;
        self.tail.restart(bounds.head);
        self.affected = Affected::default();
        self.receipts.clear();
        self.has_news = true;
    }

    /// Records the newest entry in the log. Members wait for the reports of the entries up to it; without
    /// members, no report has to come.
    pub(super) fn note_head(&mut self, head: u64) {
        self.committed = self.committed.max(head);
        if self.members.is_empty() && head > self.tail.head() {
            // A user who enters now may have missed an act among these entries.
            self.affected.note(head, Affects::All);
            self.tail.observe(head);
            while self.early.take_first(head).is_some() {}
        }
    }

    /// Returns true for the epoch of the room. The first epoch that is reported becomes that of the room.
    fn is_epoch(&mut self, epoch: &str) -> bool {
        match &self.epoch {
            Some(known) => **known == *epoch,
            None => {
                self.epoch = Some(epoch.into());
                true
            }
        }
    }

    /// Adds the early entries that are next.
    fn push_early(&mut self) {
        while let Some((seq, frame)) = self.early.take_first(self.tail.head() + 1) {
            self.push_entry(seq, frame);
        }
    }

    fn push_entry(&mut self, seq: u64, frame: Bytes) {
        let frame = self.early.present(seq, frame);
        if let Some(affects) = affects(&frame) {
            self.affected.note_act(seq, affects);
        }
        self.tail.push_message(seq, RoomEvent::entry(frame));
        self.has_news = true;
    }

    /// Adds a `gap` for the entries up to `to`, which the log no longer has.
    fn push_gap(&mut self, to: u64) {
        let from = self.tail.head() + 1;
        if let Some(epoch) = self.epoch.as_ref().filter(|_| from <= to) {
            let gap = Event::Gap { room: self.name.clone(), epoch: epoch.to_string(), from, to };
            self.affected.note(to, Affects::All);
            self.tail.push_gap(to, RoomEvent::entry(gap.encode()));
            self.has_news = true;
        }
    }
}
