//! The entries of a room's log, as its store reports them.

use bytes::Bytes;

use super::{LogBounds, Room, RoomEvent, StoredMessage};

/// The effect of one committed entry on a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The entry is in the tail, with those that had waited for it.
    InOrder,
    /// The room had the entry already.
    Repeat,
    /// The entry waits for earlier ones. If they do not come, [`Room::repair`] lets the members read the log.
    Early,
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
        if self.epoch.as_ref().is_some_and(|epoch| *epoch != bounds.epoch) {
            self.renew(bounds);
        }
        self.epoch.get_or_insert_with(|| bounds.epoch.clone());
        self.note_head(bounds.head);
        true
    }

    /// Takes an entry that the log has committed. Entries may come in any order, and more than once.
    pub fn commit(&mut self, stored: &StoredMessage) -> Committed {
        let (seq, head) = (stored.seq, self.tail.head());
        if seq <= head {
            return Committed::Repeat;
        }
        self.note_committed(seq);
        // Without members there is no order to keep. The next member reads the log.
        if seq > head + 1 && !self.members.is_empty() {
            self.early.insert(seq, stored.frame.clone());
            if self.early.len() > self.max_early {
                self.repair();
            }
            return Committed::Early;
        }
        self.push_entry(seq, stored.frame.clone());
        while let Some(next) = self.early.first_entry()
            && *next.key() <= self.tail.head() + 1
        {
            let (seq, frame) = next.remove_entry();
            self.push_entry(seq, frame);
        }
        Committed::InOrder
    }

    /// Records that the log has committed entries up to `head`. Their reports may still come:
    /// [`has_hole`](Self::has_hole) is true until then.
    pub fn note_committed(&mut self, head: u64) {
        self.committed = self.committed.max(head);
    }

    /// Records that the log has committed entries up to `head`, whose reports will not come. Members read them
    /// from the log.
    pub fn advance(&mut self, head: u64) {
        self.note_committed(head);
        if head > self.tail.head() {
            self.tail.observe(head);
            self.early.retain(|seq, _| *seq > head);
            self.has_news = true;
        }
    }

    /// Stops waiting for entries that were not reported: members read them from the log.
    pub fn repair(&mut self) {
        self.advance(self.committed);
    }

    /// Returns true if the members wait for the report of a committed entry.
    pub fn has_hole(&self) -> bool {
        self.committed > self.tail.head() && !self.members.is_empty()
    }

    /// Records that the log has started a new epoch, with these bounds. The present members get no more events. A
    /// second report of one epoch changes nothing but the newest entry.
    pub fn renew(&mut self, bounds: &LogBounds) {
        if self.epoch.as_ref() == Some(&bounds.epoch) {
            self.note_head(bounds.head);
            return;
        }
        self.generation += 1;
        self.epoch = Some(bounds.epoch.clone());
        self.early.clear();
        self.committed = bounds.head;
        self.tail.restart(bounds.head);
        self.has_news = true;
    }

    /// Records the newest entry in the log. Members wait for the reports of the entries up to it; without
    /// members, no report has to come.
    pub(super) fn note_head(&mut self, head: u64) {
        if self.members.is_empty() {
            self.advance(head);
        } else {
            self.note_committed(head);
        }
    }

    fn push_entry(&mut self, seq: u64, frame: Bytes) {
        self.tail.push_message(seq, RoomEvent::entry(frame));
        self.has_news = true;
    }
}
