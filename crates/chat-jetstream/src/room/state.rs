use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::life::Life;
use crate::record::{Purge, Record};

use super::places::Places;
use super::purges::RoomPurges;
use super::rules::StoredRules;

/// The records of which a room remembers that it has reported them.
const MAX_REPORTED: usize = 32;

/// The end of a room's log: its last record, as far as this node knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    /// The place of the record; 0 if the room has none.
    pub(crate) place: u64,
    pub(crate) id: u64,
    /// The position of its last entry.
    pub(crate) head: u64,
    /// The oldest position that can be read.
    pub(crate) oldest: u64,
    /// The time of its last entry.
    pub(crate) at: u64,
    /// The number of messages among all entries of the room.
    pub(crate) messages: u64,
    /// True if the room has, or has had, a message in a thread.
    pub(crate) has_threads: bool,
    /// The position of the newest act; 0 without one.
    pub(crate) ruled: u64,
    /// The position of the newest act or entry of a purge; 0 without one.
    pub(crate) acted: u64,
    /// The pinned messages, ascending.
    pub(crate) pins: Arc<[u64]>,
    /// The deleted messages whose text may not be erased yet.
    pub(crate) erasing: Arc<[u64]>,
    /// The purges that are not complete.
    pub(crate) purges: Arc<[Purge]>,
}

impl Tail {
    pub(crate) fn of(record: &Record) -> Self {
        let Record { place, id, oldest, messages, has_threads, ruled, acted, .. } = *record;
        let (head, at, purges) = (record.last(), record.at(), record.purges.as_slice().into());
        let (pins, erasing) = (record.pins.as_slice().into(), record.erasing.as_slice().into());
        Self { place, id, head, oldest, at, messages, has_threads, ruled, acted, pins, erasing, purges }
    }

    /// Returns true if the log has entries that are not messages.
    pub(crate) fn has_changes(&self) -> bool {
        self.head > self.messages
    }

    /// Returns true if messages of the log may have states.
    pub(crate) fn has_states(&self) -> bool {
        self.has_changes() || self.has_threads
    }

    /// Returns the oldest position that can be read, or the next position if there is none.
    pub(crate) fn first(&self) -> u64 {
        self.oldest.max(1)
    }

    /// Returns true if this record cannot be in the same log after this end: a record between them is missing in the
    /// log that has it.
    pub(super) fn excludes(&self, record: &Record) -> bool {
        let is_next = record.first() == self.head + 1;
        record.first() <= self.head || (is_next && record.previous != self.id)
    }
}

/// The knowledge of a node about a room.
#[derive(Debug)]
pub(super) struct RoomState {
    pub(super) life: Arc<Life>,
    pub(super) tail: Tail,
    pub(super) places: Places,
    /// True from the start of a new epoch until the sinks have heard of it.
    pub(super) is_renewing: bool,
    /// The places and the ids of the records that were reported last.
    reported: VecDeque<(u64, u64)>,
    /// Those of [`Tail::erasing`] whose text is erased.
    erased: BTreeSet<u64>,
    /// The rules of the room, once they were needed.
    rules: Option<Arc<StoredRules>>,
    pub(super) purges: RoomPurges,
}

/// The work that a room has begun and not completed yet.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    /// The deleted messages whose text may not be erased yet.
    pub(super) erasing: Vec<u64>,
    pub(super) purges: Vec<Purge>,
}

/// The result of [`RoomState::note`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// The record is of another life, or the room is renewed.
    Ignored,
    /// The record contradicts what this node knows: the stream has lost its end.
    Contradicts,
    /// The record is of the log. `is_new` is true if it is the new end.
    Known { is_new: bool },
}

impl RoomState {
    pub(super) fn new(life: Arc<Life>) -> Self {
        let (tail, places, reported, erased, rules) = Default::default();
        let purges = RoomPurges::default();
        Self { life, tail, places, is_renewing: false, reported, erased, rules, purges }
    }

    /// Records the rules of the room, unless newer ones are known.
    pub(super) fn note_rules(&mut self, life: &Arc<Life>, rules: &Arc<StoredRules>) {
        if Arc::ptr_eq(&self.life, life) && self.rules.as_ref().is_none_or(|known| known.seq < rules.seq) {
            self.rules = Some(Arc::clone(rules));
        }
    }

    /// Returns the newest rules of the room that this node knows of.
    pub(super) fn rules(&self, life: &Arc<Life>) -> Option<Arc<StoredRules>> {
        self.rules.clone().filter(|_| Arc::ptr_eq(&self.life, life))
    }

    /// Records that the text of a deleted message is erased.
    pub(super) fn note_erased(&mut self, life: &Arc<Life>, seq: u64) {
        if Arc::ptr_eq(&self.life, life) {
            let erasing = &self.tail.erasing;
            self.erased.retain(|seq| erasing.contains(seq));
            self.erased.insert(seq);
        }
    }

    /// Returns true if this node has erased the text of a deleted message.
    pub(super) fn is_erased(&self, life: &Arc<Life>, seq: u64) -> bool {
        Arc::ptr_eq(&self.life, life) && self.erased.contains(&seq)
    }

    /// Returns the deleted messages whose text may not be erased yet.
    pub(super) fn erasing(&self) -> Vec<u64> {
        self.tail.erasing.iter().copied().filter(|seq| !self.erased.contains(seq)).collect()
    }

    /// Returns true if the last record names deleted messages, and the text of all of them is erased.
    pub(super) fn is_all_erased(&self) -> bool {
        !self.tail.erasing.is_empty() && self.erasing().is_empty()
    }

    /// Returns the work that is not complete.
    pub(super) fn unfinished(&self) -> Unfinished {
        Unfinished { erasing: self.erasing(), purges: self.purges.unfinished(&self.tail.purges) }
    }

    /// Records that the log has this record.
    pub(super) fn note(&mut self, life: &Arc<Life>, record: &Record) -> Noted {
        if !Arc::ptr_eq(&self.life, life) {
            return Noted::Ignored;
        }
        life.saw(record.place);
        if self.has_other(record) {
            return Noted::Contradicts;
        }
        let is_new = record.place > self.tail.place;
        if is_new {
            if self.tail.place > 0 && self.tail.excludes(record) {
                return Noted::Contradicts;
            }
            self.tail = Tail::of(record);
            self.places.forget_before(self.tail.oldest);
        }
        self.places.learn(record.first(), record.place);
        if self.is_renewing { Noted::Ignored } else { Noted::Known { is_new } }
    }

    /// Records that the log has had this end.
    pub(super) fn note_end(&mut self, life: &Arc<Life>, end: &Tail) -> Noted {
        if !Arc::ptr_eq(&self.life, life) || self.is_renewing {
            return Noted::Ignored;
        }
        let (order, known) = (end.place.cmp(&self.tail.place), &self.tail);
        // Of two records after the same entry, the later one is a trim.
        let is_same = end.head == known.head && end.id == known.id;
        if !is_same && (order.is_eq() || order != end.head.cmp(&known.head)) {
            return Noted::Contradicts;
        }
        let is_new = order.is_gt();
        if is_new {
            self.tail = end.clone();
            self.places.forget_before(end.oldest);
        }
        Noted::Known { is_new }
    }

    /// Returns true if another record is known at the place of this one.
    fn has_other(&self, record: &Record) -> bool {
        let mut known = self.reported.iter().copied().chain([(self.tail.place, self.tail.id)]);
        known.any(|(place, id)| place == record.place && id != record.id)
    }

    /// Records that a record is reported. Returns false if it was reported before, or is of another life.
    pub(super) fn report(&mut self, life: &Arc<Life>, record: &Record) -> bool {
        if !Arc::ptr_eq(&self.life, life) || self.reported.iter().any(|(_, id)| *id == record.id) {
            return false;
        }
        if self.reported.len() >= MAX_REPORTED {
            self.reported.pop_front();
        }
        self.reported.push_back((record.place, record.id));
        true
    }
}

#[cfg(test)]
mod tests {
    use crate::record::{Content, Entry};

    use super::*;

    fn record(place: u64, id: u64, previous: u64, first: u64) -> Record {
        let content = Content::Message { frame: "{}".into(), is_guest: false, connection: None };
        let entries = vec![Entry { seq: first, at: 1, key: None, content }];
        Record { place, id, previous, oldest: 1, entries, ..Record::default() }
    }

    #[test]
    fn another_record_at_a_known_place_contradicts_the_log() {
        let mut state = RoomState::new(Arc::new(Life::for_tests()));
        let life = Arc::clone(&state.life);
        for (place, id) in [(7, 70), (8, 80)] {
            let record = record(place, id, id - 10, place);
            assert_eq!(state.note(&life, &record), Noted::Known { is_new: true });
            assert!(state.report(&life, &record));
            assert_eq!(state.note(&life, &record), Noted::Known { is_new: false });
        }
        assert_eq!(state.note(&life, &record(8, 81, 70, 8)), Noted::Contradicts, "the end");
        assert_eq!(state.note(&life, &record(7, 71, 60, 7)), Noted::Contradicts, "an earlier record");
    }

    #[test]
    fn an_end_that_was_known_once_is_taken_unless_it_contradicts_the_log() {
        let known = Tail::of(&record(8, 80, 70, 4));
        let cases = [
            (record(7, 70, 60, 3), Noted::Known { is_new: false }),
            (record(8, 80, 70, 4), Noted::Known { is_new: false }),
            (record(9, 90, 80, 5), Noted::Known { is_new: true }),
            (record(7, 70, 60, 4), Noted::Contradicts),
            (record(8, 81, 70, 4), Noted::Contradicts),
            (record(9, 90, 80, 4), Noted::Contradicts),
        ];
        for (end, expected) in cases {
            let mut state = RoomState::new(Arc::new(Life::for_tests()));
            let life = Arc::clone(&state.life);
            assert_eq!(state.note_end(&life, &known), Noted::Known { is_new: true });
            assert_eq!(state.note_end(&life, &Tail::of(&end)), expected, "{end:?}");
            let last =
                if end.place > 8 && expected != Noted::Contradicts { Tail::of(&end) } else { known.clone() };
            assert_eq!(state.tail, last);
            assert_eq!(state.note_end(&Arc::new(Life::for_tests()), &known), Noted::Ignored);
        }
    }

    /// A trim after the record at 8, and the record after both.
    #[test]
    fn a_trim_is_part_of_no_chain_of_records() {
        let (last, next) = (record(8, 80, 70, 4), record(12, 90, 80, 5));
        let end = Some(crate::record::LogEnd { seq: 4, at: 1 });
        let trim = Record { oldest: 5, trim: end, entries: Vec::new(), ..record(10, 80, 80, 5) };
        let mut state = RoomState::new(Arc::new(Life::for_tests()));
        let life = Arc::clone(&state.life);
        for known in [&last, &trim, &next] {
            assert_eq!(state.note(&life, known), Noted::Known { is_new: true }, "{known:?}");
            assert_eq!(state.note_end(&life, &Tail::of(&last)), Noted::Known { is_new: false });
            assert_eq!(state.note(&life, &last), Noted::Known { is_new: false });
        }
        let mut missed = RoomState::new(Arc::clone(&life));
        assert_eq!(missed.note(&life, &last), Noted::Known { is_new: true });
        assert_eq!(missed.note(&life, &next), Noted::Known { is_new: true });
        let mut trimmed = RoomState::new(Arc::clone(&life));
        assert_eq!(trimmed.note(&life, &trim), Noted::Known { is_new: true });
        let other = Tail { id: 81, ..Tail::of(&last) };
        assert_eq!(trimmed.note_end(&life, &other), Noted::Contradicts, "another record with the last entry");
    }

    #[test]
    fn a_log_that_has_lost_its_end_is_noticed() {
        let tail = Tail::of(&record(7, 70, 60, 3));
        assert!(!tail.excludes(&record(9, 90, 70, 4)), "the next record");
        assert!(!tail.excludes(&record(12, 95, 94, 6)), "a later record");
        assert!(tail.excludes(&record(9, 90, 61, 4)), "the next position after another record");
        assert!(tail.excludes(&record(9, 90, 61, 3)), "a position that was given out");
    }
}
