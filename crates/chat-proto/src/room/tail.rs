use std::collections::VecDeque;

/// The events for which a batch has space from the beginning.
const BATCH_SPACE: usize = 8;

/// The newest events of a room, each encoded once and shared by all members.
///
/// A message has a `seq`. Other events stand between the messages and have none; they are lost when the tail drops
/// them. A [`Cursor`] is the position of a member. A member that is behind the tail reads the missing messages from
/// the room's log, and then continues here.
///
/// ```
/// use chat_proto::{Next, Tail};
///
/// let mut tail = Tail::new(0, 2, 1_000);
/// let mut quick = tail.cursor(0);
/// let mut slow = tail.cursor(0);
/// tail.push_message(1, "one");
/// assert_eq!(tail.next(&mut quick, 1_000), Next::Events(vec!["one"]));
///
/// tail.push_event("ann is writing");
/// tail.push_message(2, "two");
/// assert_eq!(tail.next(&mut quick, 1_000), Next::Events(vec!["ann is writing", "two"]));
/// assert_eq!(tail.next(&mut slow, 1_000), Next::CatchUp { up_to: 1 });
/// slow.seq = 1;
/// assert_eq!(tail.next(&mut slow, 1_000), Next::Events(vec!["ann is writing", "two"]));
/// ```
#[derive(Debug)]
pub struct Tail<T> {
    entries: VecDeque<Entry<T>>,
    capacity: usize,
    max_bytes: usize,
    bytes: usize,
    /// The position of the first entry.
    start: u64,
    /// The `seq` of the newest message before the first entry.
    base: u64,
    /// The `seq` of the newest message of all.
    head: u64,
}

#[derive(Debug)]
struct Entry<T> {
    /// The `seq` of the first message for which this entry stands.
    first: u64,
    /// The `seq` of the newest message up to this entry.
    seq: u64,
    is_message: bool,
    frame: T,
}

/// The position of one member in one room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The `seq` of the last message that the member has taken, or that it does not get.
    pub seq: u64,
    /// The position in the tail of the next event to take.
    pub(super) position: u64,
}

/// The next step of a reader of a [`Tail`].
#[derive(Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// These events. The cursor is past them now.
    Events(Vec<T>),
    /// The messages after the cursor's `seq`, up to this one, must be read from the log.
    CatchUp {
        /// The last message to read from the log.
        up_to: u64,
    },
    /// Nothing. The reader has everything.
    Nothing,
}

impl<T: Clone + AsRef<[u8]>> Tail<T> {
    /// Returns the empty tail of a room whose newest message is `head`. It keeps at most `capacity` events and, of
    /// more than one, at most `max_bytes`.
    pub fn new(head: u64, capacity: usize, max_bytes: usize) -> Self {
        let capacity = capacity.max(1);
        Self { entries: VecDeque::new(), capacity, max_bytes, bytes: 0, start: 0, base: head, head }
    }

    /// Returns the `seq` of the newest message, 0 if there is none.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Returns the bytes of the events, and of the places for them.
    pub fn memory_bytes(&self) -> usize {
        self.bytes + self.entries.capacity() * size_of::<Entry<T>>()
    }

    /// Records that the log has committed messages up to `head`, which need not have been pushed.
    pub fn observe(&mut self, head: u64) {
        if head > self.head {
            self.restart(head);
        }
    }

    /// Drops all events, because the log has started a new epoch. Its newest message is `head`.
    pub fn restart(&mut self, head: u64) {
        self.start += self.entries.len() as u64;
        self.entries = VecDeque::new();
        self.bytes = 0;
        self.base = head;
        self.head = head;
    }

    /// Adds a message that the log has committed.
    ///
    /// A repeated message changes nothing. A message that leaves a hole empties the tail, so that all readers get
    /// the missing ones from the log.
    pub fn push_message(&mut self, seq: u64, frame: T) {
        if seq <= self.head {
            return;
        }
        self.observe(seq - 1);
        self.head = seq;
        self.push(Entry { first: seq, seq, is_message: true, frame });
    }

    /// Replaces the frame of a message, if the tail has it.
    pub fn replace(&mut self, seq: u64, frame: T) {
        let index = self.entries.partition_point(|entry| entry.seq < seq);
        let entries = self.entries.range_mut(index..).take_while(|entry| entry.seq == seq);
        if let Some(entry) = entries.into_iter().find(|entry| entry.is_message && entry.first == seq) {
            self.bytes -= entry.frame.as_ref().len();
            self.bytes += frame.as_ref().len();
            entry.frame = frame;
        }
    }

    /// Adds an event that stands for all messages after [`head`](Self::head) up to `to`, which the log no longer has.
    ///
    /// A reader that has some of them, or does not get them, finds the rest with the log.
    pub fn push_gap(&mut self, to: u64, frame: T) {
        let first = self.head + 1;
        if first <= to {
            self.head = to;
            self.push(Entry { first, seq: to, is_message: true, frame });
        }
    }

    /// Adds an event that is not a message.
    pub fn push_event(&mut self, frame: T) {
        self.push(Entry { first: self.head, seq: self.head, is_message: false, frame });
    }

    /// Returns the cursor of a reader that gets the messages after `seq`, and then the events to come.
    pub fn cursor(&self, seq: u64) -> Cursor {
        Cursor { seq, position: self.end() }
    }

    /// Returns the next events of the reader at `cursor`: of at most `max_bytes`, or one that is longer.
    pub fn next(&self, cursor: &mut Cursor, max_bytes: usize) -> Next<T> {
        // A reader behind the tail has lost the dropped events that are not messages.
        cursor.position = cursor.position.max(self.start);
        let offset = usize::try_from(cursor.position - self.start).unwrap_or(usize::MAX);
        let before = self.seq_before(offset);
        if cursor.seq < before {
            return Next::CatchUp { up_to: before };
        }
        let (mut events, mut bytes) = (self.space(offset), 0);
        for entry in self.entries.range(offset..) {
            let wanted = !entry.is_message || entry.seq > cursor.seq;
            if wanted && entry.is_message && entry.first <= cursor.seq {
                if events.is_empty() {
                    return Next::CatchUp { up_to: entry.seq };
                }
                break;
            }
            bytes += if wanted { entry.frame.as_ref().len() } else { 0 };
            if wanted && !events.is_empty() && bytes > max_bytes {
                break;
            }
            if wanted {
                events.push(entry.frame.clone());
            }
            cursor.position += 1;
            cursor.seq = cursor.seq.max(entry.seq);
        }
        if events.is_empty() { Next::Nothing } else { Next::Events(events) }
    }

    /// Returns the events from this position on, of at most `max_bytes` or one that is longer. The cursors are those of
    /// a reader that has taken everything before them, and of the same reader after it has taken them.
    ///
    /// The tail may have dropped the events at `position`. Then the first cursor is at the start of the tail.
    pub(super) fn batch(
        &self,
        position: u64,
        max_bytes: usize,
    ) -> (Cursor, impl Iterator<Item = &T> + Clone, Cursor) {
        let position = position.clamp(self.start, self.end());
        let start = usize::try_from(position - self.start).unwrap_or(usize::MAX);
        let (mut end, mut bytes) = (start, 0);
        while let Some(entry) = self.entries.get(end) {
            bytes += entry.frame.as_ref().len();
            if end > start && bytes > max_bytes {
                break;
            }
            end += 1;
        }
        let events = (start..end).map(|index| &self.entries[index].frame);
        (self.cursor_before(start), events, self.cursor_before(end))
    }

    /// Returns the cursor of a reader that has taken everything before this entry.
    fn cursor_before(&self, offset: usize) -> Cursor {
        Cursor { seq: self.seq_before(offset), position: self.start + offset as u64 }
    }

    /// Returns the `seq` of the newest message before this entry.
    fn seq_before(&self, offset: usize) -> u64 {
        offset.checked_sub(1).map_or(self.base, |last| self.entries[last].seq)
    }

    /// Returns a list with space for the events from this entry on. The tail of a small room has one, and few batches
    /// have many.
    fn space(&self, offset: usize) -> Vec<T> {
        Vec::with_capacity((self.entries.len() - offset).min(BATCH_SPACE))
    }

    /// Returns the position of the first event.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Returns the position after the last event.
    pub(super) fn end(&self) -> u64 {
        self.start + self.entries.len() as u64
    }

    fn push(&mut self, entry: Entry<T>) {
        self.bytes += entry.frame.as_ref().len();
        self.entries.push_back(entry);
        while self.entries.len() > self.capacity || (self.bytes > self.max_bytes && self.entries.len() > 1) {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.frame.as_ref().len();
            self.start += 1;
            self.base = oldest.seq;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(capacity: usize, messages: u64) -> Tail<Vec<u8>> {
        let mut tail = Tail::new(0, capacity, usize::MAX);
        for seq in 1..=messages {
            tail.push_message(seq, vec![b'm'; 10]);
        }
        tail
    }

    #[test]
    fn a_member_gets_the_events_after_its_cursor() {
        let mut tail = tail(8, 3);
        let mut cursor = tail.cursor(3);
        assert_eq!(tail.next(&mut cursor, 1_000), Next::Nothing);
        tail.push_event(b"presence".to_vec());
        tail.push_message(4, b"four".to_vec());
        assert_eq!(tail.next(&mut cursor, 1_000), Next::Events(vec![b"presence".to_vec(), b"four".to_vec()]));
        assert_eq!(cursor.seq, 4);
    }

    #[test]
    fn a_member_behind_the_tail_reads_the_log_and_then_continues() {
        let mut tail = tail(2, 1);
        let mut cursor = tail.cursor(1);
        for seq in 2..=5 {
            tail.push_message(seq, vec![u8::try_from(seq).unwrap()]);
        }
        assert_eq!(tail.next(&mut cursor, 1_000), Next::CatchUp { up_to: 3 });
        cursor.seq = 3;
        assert_eq!(tail.next(&mut cursor, 1_000), Next::Events(vec![vec![4], vec![5]]));
    }

    #[test]
    fn a_gap_is_an_entry_for_readers_that_are_before_all_of_it() {
        let mut tail = tail(8, 2);
        let (mut before, mut within, mut after) = (tail.cursor(2), tail.cursor(4), tail.cursor(5));
        tail.push_gap(5, b"3 to 5".to_vec());
        tail.push_gap(5, b"nothing".to_vec());
        tail.push_message(6, b"6".to_vec());
        let both = Next::Events(vec![b"3 to 5".to_vec(), b"6".to_vec()]);
        assert_eq!(tail.next(&mut before, 1_000), both);
        assert_eq!(tail.next(&mut after, 1_000), Next::Events(vec![b"6".to_vec()]));
        assert_eq!(tail.next(&mut within, 1_000), Next::CatchUp { up_to: 5 });
        within.seq = 5;
        assert_eq!(tail.next(&mut within, 1_000), Next::Events(vec![b"6".to_vec()]));
    }

    #[test]
    fn a_batch_is_bounded_by_bytes_but_never_empty() {
        let mut tail = tail(8, 0);
        let mut cursor = tail.cursor(0);
        tail.push_message(1, vec![0; 10]);
        tail.push_message(2, vec![0; 10]);
        assert!(matches!(tail.next(&mut cursor, 5), Next::Events(events) if events.len() == 1));
        assert!(matches!(tail.next(&mut cursor, 5), Next::Events(events) if events.len() == 1));
        assert_eq!(tail.next(&mut cursor, 5), Next::Nothing);
    }

    #[test]
    fn a_hole_is_filled_from_the_log() {
        let mut tail = tail(8, 2);
        let mut cursor = tail.cursor(2);
        tail.push_message(5, vec![5]);
        assert_eq!(tail.next(&mut cursor, 1_000), Next::CatchUp { up_to: 4 });
    }
}
