use std::collections::BTreeMap;

use bytes::Bytes;

/// Entries whose predecessors have not been reported yet.
#[derive(Debug)]
pub(super) struct Early {
    entries: BTreeMap<u64, Bytes>,
    /// The present form of entries that a deletion has erased. A report of an earlier form may come late.
    erased: BTreeMap<u64, Bytes>,
    capacity: usize,
    max_bytes: usize,
    bytes: usize,
}

impl Early {
    /// Returns an empty set. [`limit`](Self::limit) leaves at most `capacity` entries of at most `max_bytes`.
    pub(super) fn new(capacity: usize, max_bytes: usize) -> Self {
        Self { entries: BTreeMap::new(), erased: BTreeMap::new(), capacity, max_bytes, bytes: 0 }
    }

    /// Returns the bytes of the entries.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn insert(&mut self, seq: u64, frame: Bytes) {
        let frame = self.erased.get(&seq).cloned().unwrap_or(frame);
        self.bytes += frame.len();
        if let Some(repeated) = self.entries.insert(seq, frame) {
            self.bytes -= repeated.len();
        }
    }

    /// Records the present form of an erased entry, for the one that is there and for one that comes. Of more than
    /// `capacity`, the last ones are not recorded.
    pub(super) fn erase(&mut self, seq: u64, frame: Bytes) {
        self.erased.insert(seq, frame.clone());
        if self.erased.len() > self.capacity {
            self.erased.pop_last();
        }
        if self.entries.contains_key(&seq) {
            self.insert(seq, frame);
        }
    }

    /// Returns the form of an entry that members may get, and forgets the erased entries up to it.
    pub(super) fn present(&mut self, seq: u64, frame: Bytes) -> Bytes {
        if self.erased.is_empty() {
            return frame;
        }
        let later = self.erased.split_off(&(seq + 1));
        std::mem::replace(&mut self.erased, later).remove(&seq).unwrap_or(frame)
    }

    /// Drops the last entries beyond the limits.
    pub(super) fn limit(&mut self) {
        while self.entries.len() > self.capacity || self.bytes > self.max_bytes {
            let Some((_, frame)) = self.entries.pop_last() else { break };
            self.bytes -= frame.len();
        }
    }

    /// Takes the first entry, if its `seq` is at most `up_to`.
    pub(super) fn take_first(&mut self, up_to: u64) -> Option<(u64, Bytes)> {
        let first = self.entries.first_entry().filter(|first| *first.key() <= up_to)?;
        let (seq, frame) = first.remove_entry();
        self.bytes -= frame.len();
        Some((seq, frame))
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.erased.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_entries() {
        let mut early = Early::new(3, 100);
        for (seq, size) in [(4, 50), (5, 10), (4, 20), (6, 30)] {
            early.insert(seq, vec![0; size].into());
        }
        assert_eq!(early.bytes, 60);
        assert_eq!(early.take_first(3), None);
        assert_eq!(early.take_first(4).map(|(seq, _)| seq), Some(4));
        assert_eq!(early.bytes, 40);
        early.insert(7, vec![0; 61].into());
        early.limit();
        assert_eq!((early.bytes, early.entries.len()), (40, 2));
        early.clear();
        assert_eq!((early.bytes, early.take_first(9)), (0, None));
    }
}
