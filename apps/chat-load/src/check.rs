//! Checks that each message is delivered to each reader once and in order.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// The limit of missing messages that a stream remembers. Further ones count as lost even if they come later.
const MAX_MISSING: usize = 10_000;

/// The number of positions in the first part of a table.
const FIRST_PART: u64 = 1_024;

/// The maximum number of parts of a table.
const PARTS: usize = 24;

/// The maximum number of messages in a table.
const MAX_MESSAGES: u64 = FIRST_PART * ((1 << PARTS) - 1) - 1;

/// The messages that one reader receives in one room.
#[derive(Debug)]
pub struct Stream {
    next: u64,
    missing: BTreeSet<u64>,
    tally: Tally,
}

/// The result of checking streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Delivered messages, including repeated ones.
    pub delivered: u64,
    /// Messages that never came and were not in a gap.
    pub lost: u64,
    /// Repeated messages.
    pub duplicated: u64,
    /// Messages that came after a later one.
    pub out_of_order: u64,
    /// Messages that differ from the one acknowledged at their `seq`.
    pub altered: u64,
    /// Gaps that the server announced.
    pub gaps: u64,
    /// Messages in these gaps.
    pub skipped: u64,
}

impl Stream {
    /// Starts a stream after the position `seq`.
    pub fn after(seq: u64) -> Self {
        Self { next: seq + 1, missing: BTreeSet::new(), tally: Tally::default() }
    }

    /// Counts a received message.
    pub fn receive(&mut self, seq: u64) {
        self.tally.delivered += 1;
        if seq >= self.next {
            self.mark_missing(seq);
            self.next = seq.saturating_add(1);
        } else if self.missing.remove(&seq) {
            self.tally.out_of_order += 1;
        } else {
            self.tally.duplicated += 1;
        }
    }

    /// Counts a gap that the server announced.
    pub fn gap(&mut self, from: u64, to: u64) {
        self.tally.gaps += 1;
        let after = to.saturating_add(1);
        self.tally.skipped += after.saturating_sub(from.max(self.next));
        self.mark_missing(from);
        self.next = self.next.max(after);
    }

    /// Marks the expected messages before `seq` as missing.
    fn mark_missing(&mut self, seq: u64) {
        let space = MAX_MISSING.saturating_sub(self.missing.len()) as u64;
        let forgotten = seq.saturating_sub(self.next).saturating_sub(space);
        self.tally.lost += forgotten;
        self.missing.extend(self.next + forgotten..seq);
    }

    /// Counts a message that differs from the acknowledged one.
    pub fn count_altered(&mut self) {
        self.tally.altered += 1;
    }

    /// Returns true if all messages up to `seq` have come or are missing.
    pub fn reached(&self, seq: u64) -> bool {
        self.next > seq
    }

    /// Returns the result, if `seq` is the last message of the room.
    pub fn tally(&self, seq: u64) -> Tally {
        let end = (seq + 1).saturating_sub(self.next);
        Tally { lost: self.tally.lost + self.missing.len() as u64 + end, ..self.tally }
    }
}

impl Tally {
    /// Returns true if each message came once and in order. Announced gaps are allowed.
    pub fn is_correct(&self) -> bool {
        self.faults() == 0
    }

    /// Returns the number of failed checks.
    pub fn faults(&self) -> u64 {
        self.lost + self.duplicated + self.out_of_order + self.altered
    }

    /// Returns the number of messages that the readers had to receive.
    pub fn expected(&self) -> u64 {
        (self.delivered + self.lost + self.skipped).saturating_sub(self.duplicated)
    }

    /// Adds another result to this one.
    pub fn add(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
        self.altered += other.altered;
        self.gaps += other.gaps;
        self.skipped += other.skipped;
    }
}

/// The message at each `seq` of a room, as the server first acknowledged or delivered it. All readers and the writer
/// must agree with it.
#[derive(Debug)]
pub struct SeqTable {
    limit: u64,
    /// The number of the message at each `seq`, plus one. Each part is twice as long as the one before, and is
    /// allocated on first use: the number of messages of a closed loop is not known in advance.
    parts: [OnceLock<Box<[AtomicU64]>>; PARTS],
}

impl SeqTable {
    /// Creates a table for a room with at most this number of messages.
    pub fn new(messages: u64) -> Self {
        Self { limit: messages.min(MAX_MESSAGES), parts: [const { OnceLock::new() }; PARTS] }
    }

    /// Records a message at a `seq`. Returns false if another message is recorded there, or `seq` is over the limit.
    pub fn agrees(&self, seq: u64, message: u64) -> bool {
        let Some(slot) = self.slot(seq) else { return false };
        let seen = slot.load(Ordering::Relaxed);
        let first =
            seen == 0 && slot.compare_exchange(0, message + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        first || slot.load(Ordering::Relaxed) == message + 1
    }

    /// Returns the last recorded `seq`.
    pub fn last(&self) -> u64 {
        let seen = |(n, part): (usize, &OnceLock<Box<[AtomicU64]>>)| {
            let last = part.get()?.iter().rposition(|slot| slot.load(Ordering::Relaxed) > 0)?;
            Some(start(n) + last as u64)
        };
        self.parts.iter().enumerate().rev().find_map(seen).unwrap_or(0)
    }

    /// Returns the number of messages that the server stored twice, at two positions.
    pub fn duplicates(&self) -> u64 {
        let slots = self.parts.iter().filter_map(OnceLock::get).flatten();
        let mut seen: Vec<_> = slots.map(|slot| slot.load(Ordering::Relaxed)).collect();
        seen.retain(|message| *message > 0);
        seen.sort_unstable();
        seen.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64
    }

    fn slot(&self, seq: u64) -> Option<&AtomicU64> {
        if seq > self.limit {
            return None;
        }
        let n = (seq / FIRST_PART + 1).ilog2() as usize;
        let part = self.parts[n].get_or_init(|| (0..FIRST_PART << n).map(|_| AtomicU64::new(0)).collect());
        usize::try_from(seq - start(n)).ok().map(|at| &part[at])
    }
}

/// Returns the first `seq` of a part.
fn start(part: usize) -> u64 {
    FIRST_PART * ((1 << part) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(seqs: &[u64], last: u64) -> Tally {
        let mut stream = Stream::after(0);
        seqs.iter().for_each(|seq| stream.receive(*seq));
        stream.tally(last)
    }

    #[test]
    fn a_complete_stream_is_correct() {
        assert_eq!(tally(&[1, 2, 3], 3), Tally { delivered: 3, ..Tally::default() });
        assert!(tally(&[1, 2, 3], 3).is_correct());
    }

    #[test]
    fn a_missing_message_is_lost_at_any_position() {
        for (seqs, lost) in [(&[2, 3][..], 1), (&[1, 3], 1), (&[1, 2], 1), (&[], 3), (&[3], 2)] {
            let delivered = seqs.len() as u64;
            assert_eq!(tally(seqs, 3), Tally { delivered, lost, ..Tally::default() });
            assert!(!tally(seqs, 3).is_correct(), "{seqs:?}");
        }
    }

    #[test]
    fn a_repeated_message_is_a_duplicate() {
        let tally = tally(&[1, 2, 2, 3, 1], 3);
        assert_eq!(tally, Tally { delivered: 5, duplicated: 2, ..Tally::default() });
        assert!(!tally.is_correct());
    }

    #[test]
    fn swapped_messages_are_out_of_order_and_not_lost() {
        let tally = tally(&[1, 3, 2, 4], 4);
        assert_eq!(tally, Tally { delivered: 4, out_of_order: 1, ..Tally::default() });
        assert!(!tally.is_correct());
    }

    #[test]
    fn an_announced_gap_is_no_loss_but_a_hole_beside_it_is() {
        let mut stream = Stream::after(0);
        stream.receive(1);
        stream.gap(2, 5);
        stream.receive(6);
        assert_eq!(stream.tally(6), Tally { delivered: 2, gaps: 1, skipped: 4, ..Tally::default() });
        stream.gap(9, 10);
        stream.receive(11);
        assert_eq!(stream.tally(11).lost, 2);
    }

    #[test]
    fn a_hole_of_any_size_is_counted_in_bounded_memory() {
        let tally = tally(&[1_000_000_000], 1_000_000_000);
        assert_eq!(tally.lost, 999_999_999);
        let mut stream = Stream::after(0);
        stream.gap(1_000_000_001, 1_000_000_002);
        assert_eq!(stream.tally(1_000_000_002).lost, 1_000_000_000);
    }

    #[test]
    fn a_seq_table_finds_two_messages_at_a_seq_and_two_seqs_of_a_message() {
        let table = SeqTable::new(3);
        assert!(table.agrees(1, 0) && table.agrees(1, 0));
        assert!(!table.agrees(1, 7));
        assert!(!table.agrees(9, 1), "over the limit");
        assert_eq!(table.last(), 1);
        assert_eq!(table.duplicates(), 0);
        assert!(table.agrees(3, 0));
        assert_eq!(table.last(), 3);
        assert_eq!(table.duplicates(), 1);
    }

    #[test]
    fn a_seq_table_grows_up_to_its_limit() {
        let table = SeqTable::new(10_000);
        for seq in 1..=10_000 {
            assert!(table.agrees(seq, seq) && table.last() == seq, "{seq}");
        }
        assert!((1..=10_000).all(|seq| table.agrees(seq, seq) && !table.agrees(seq, 0)));
        assert!(!table.agrees(10_001, 10_001));
        assert_eq!(table.duplicates(), 0);
        assert!(!SeqTable::new(u64::MAX).agrees(u64::MAX, 1));
    }
}
