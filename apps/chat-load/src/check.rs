//! Whether what was delivered is what was sent: each message once, in order, to everybody.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Missing messages that one stream remembers; further ones are lost even if they come later.
const REMEMBERED: usize = 10_000;

/// Messages in the first part of a ledger.
const FIRST: u64 = 1_024;

/// Parts of a ledger.
const PARTS: usize = 24;

/// Messages that a ledger can have.
const LONGEST: u64 = FIRST * ((1 << PARTS) - 1) - 1;

/// One receiver's view of one room.
#[derive(Debug)]
pub struct Stream {
    next: u64,
    missing: BTreeSet<u64>,
    tally: Tally,
}

/// What a stream has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Messages delivered, repeats included.
    pub delivered: u64,
    /// Messages that never came although nobody said so.
    pub lost: u64,
    /// Messages that came again.
    pub duplicated: u64,
    /// Messages that came after a later one.
    pub out_of_order: u64,
    /// Messages that are not those that were acknowledged under their number.
    pub altered: u64,
    /// Holes that the server told of.
    pub gaps: u64,
    /// Messages in those holes.
    pub skipped: u64,
}

impl Stream {
    /// A stream whose first message is the one after `seq`.
    pub fn after(seq: u64) -> Self {
        Self { next: seq + 1, missing: BTreeSet::new(), tally: Tally::default() }
    }

    /// A message came.
    pub fn take(&mut self, seq: u64) {
        self.tally.delivered += 1;
        if seq >= self.next {
            self.miss(seq);
            self.next = seq.saturating_add(1);
        } else if self.missing.remove(&seq) {
            self.tally.out_of_order += 1;
        } else {
            self.tally.duplicated += 1;
        }
    }

    /// The server says that these will not come.
    pub fn gap(&mut self, from: u64, to: u64) {
        self.tally.gaps += 1;
        let after = to.saturating_add(1);
        self.tally.skipped += after.saturating_sub(from.max(self.next));
        self.miss(from);
        self.next = self.next.max(after);
    }

    /// Those that are due ahead of `seq` have not come.
    fn miss(&mut self, seq: u64) {
        let remembered = REMEMBERED.saturating_sub(self.missing.len()) as u64;
        let forgotten = seq.saturating_sub(self.next).saturating_sub(remembered);
        self.tally.lost += forgotten;
        self.missing.extend(self.next + forgotten..seq);
    }

    /// A message was another than the one that was acknowledged.
    pub fn altered(&mut self) {
        self.tally.altered += 1;
    }

    /// Whether all up to `seq` have come, or were missed.
    pub fn reached(&self, seq: u64) -> bool {
        self.next > seq
    }

    /// What came, now that `seq` is the last message there is.
    pub fn tally(&self, seq: u64) -> Tally {
        let end = (seq + 1).saturating_sub(self.next);
        Tally { lost: self.tally.lost + self.missing.len() as u64 + end, ..self.tally }
    }
}

impl Tally {
    /// Whether each message came once and in order; holes that were told of are no fault.
    pub fn is_whole(&self) -> bool {
        self.lost + self.duplicated + self.out_of_order + self.altered == 0
    }

    /// Both together.
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

/// Which of our messages has which number in a room, as the server acknowledged or first delivered it. All
/// receivers and the sender must agree.
#[derive(Debug)]
pub struct Ledger {
    limit: u64,
    /// By `seq`: the message, plus one. Each part is twice as long as the one before and made when it is needed:
    /// how many messages a closed loop has shows only in the end.
    parts: [OnceLock<Box<[AtomicU64]>>; PARTS],
}

impl Ledger {
    /// For a room with so many messages at the most.
    pub fn new(messages: u64) -> Self {
        Self { limit: messages.min(LONGEST), parts: [const { OnceLock::new() }; PARTS] }
    }

    /// Whether nobody has seen another message under this number.
    pub fn agrees(&self, seq: u64, message: u64) -> bool {
        let Some(slot) = self.slot(seq) else { return false };
        let seen = slot.load(Ordering::Relaxed);
        let first =
            seen == 0 && slot.compare_exchange(0, message + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        first || slot.load(Ordering::Relaxed) == message + 1
    }

    /// The last number that anybody has seen.
    pub fn last(&self) -> u64 {
        let seen = |(n, part): (usize, &OnceLock<Box<[AtomicU64]>>)| {
            let last = part.get()?.iter().rposition(|slot| slot.load(Ordering::Relaxed) > 0)?;
            Some(start(n) + last as u64)
        };
        self.parts.iter().enumerate().rev().find_map(seen).unwrap_or(0)
    }

    /// How many messages have more than one number: the server took them twice.
    pub fn repeats(&self) -> u64 {
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
        let n = (seq / FIRST + 1).ilog2() as usize;
        let part = self.parts[n].get_or_init(|| (0..FIRST << n).map(|_| AtomicU64::new(0)).collect());
        usize::try_from(seq - start(n)).ok().map(|at| &part[at])
    }
}

/// The number that a part of a ledger begins with.
fn start(part: usize) -> u64 {
    FIRST * ((1 << part) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(seqs: &[u64], last: u64) -> Tally {
        let mut stream = Stream::after(0);
        seqs.iter().for_each(|seq| stream.take(*seq));
        stream.tally(last)
    }

    #[test]
    fn a_whole_stream_is_whole() {
        assert_eq!(tally(&[1, 2, 3], 3), Tally { delivered: 3, ..Tally::default() });
        assert!(tally(&[1, 2, 3], 3).is_whole());
    }

    #[test]
    fn a_message_that_never_comes_is_lost_wherever_it_is() {
        for (seqs, lost) in [(&[2, 3][..], 1), (&[1, 3], 1), (&[1, 2], 1), (&[], 3), (&[3], 2)] {
            let tally = tally(seqs, 3);
            assert_eq!((tally.lost, tally.is_whole()), (lost, false), "{seqs:?}");
        }
    }

    #[test]
    fn a_message_that_comes_twice_is_a_duplicate() {
        let tally = tally(&[1, 2, 2, 3, 1], 3);
        assert_eq!((tally.duplicated, tally.lost, tally.out_of_order, tally.is_whole()), (2, 0, 0, false));
    }

    #[test]
    fn messages_that_change_places_are_out_of_order_and_not_lost() {
        let tally = tally(&[1, 3, 2, 4], 4);
        assert_eq!((tally.out_of_order, tally.lost, tally.duplicated, tally.is_whole()), (1, 0, 0, false));
    }

    #[test]
    fn a_hole_that_is_told_of_is_no_loss_but_one_next_to_it_is() {
        let mut stream = Stream::after(0);
        stream.take(1);
        stream.gap(2, 5);
        stream.take(6);
        assert_eq!(stream.tally(6), Tally { delivered: 2, gaps: 1, skipped: 4, ..Tally::default() });
        stream.gap(9, 10);
        stream.take(11);
        assert_eq!(stream.tally(11).lost, 2);
    }

    #[test]
    fn a_hole_of_any_size_is_counted_and_bounded() {
        let tally = tally(&[1_000_000_000], 1_000_000_000);
        assert_eq!(tally.lost, 999_999_999);
        let mut stream = Stream::after(0);
        stream.gap(1_000_000_001, 1_000_000_002);
        assert_eq!(stream.tally(1_000_000_002).lost, 1_000_000_000);
    }

    #[test]
    fn a_ledger_notices_another_message_under_a_number_and_another_number_for_a_message() {
        let ledger = Ledger::new(3);
        assert!(ledger.agrees(1, 0) && ledger.agrees(1, 0));
        assert!(!ledger.agrees(1, 7));
        assert!(!ledger.agrees(9, 1), "more than were sent");
        assert_eq!((ledger.last(), ledger.repeats()), (1, 0));
        assert!(ledger.agrees(3, 0));
        assert_eq!((ledger.last(), ledger.repeats()), (3, 1));
    }

    #[test]
    fn a_ledger_holds_as_many_as_it_is_for_and_makes_room_as_they_come() {
        let ledger = Ledger::new(10_000);
        for seq in 1..=10_000 {
            assert!(ledger.agrees(seq, seq) && ledger.last() == seq, "{seq}");
        }
        assert!((1..=10_000).all(|seq| ledger.agrees(seq, seq) && !ledger.agrees(seq, 0)));
        assert!(!ledger.agrees(10_001, 10_001));
        assert_eq!(ledger.repeats(), 0);
        assert!(!Ledger::new(u64::MAX).agrees(u64::MAX, 1));
    }
}
