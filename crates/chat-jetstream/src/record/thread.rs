use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::{with_sum, without_sum};

/// The messages in a block of a thread.
pub(crate) const BLOCK: usize = 32;

/// A message of a thread: its position, and a place in the stream. Its record is the first one of the room after that
/// place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reply(pub(crate) u64, pub(crate) u64);

impl Reply {
    pub(crate) fn seq(self) -> u64 {
        self.0
    }

    pub(crate) fn after(self) -> u64 {
        self.1
    }
}

/// The messages of a thread, as the state of its root has them: the newest ones. The others are in blocks, each of
/// which is a message of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Thread {
    /// The number of blocks.
    blocks: u64,
    /// The messages that are in no block yet, oldest first.
    newest: Vec<Reply>,
}

/// [`BLOCK`] messages of a thread, oldest first. It is never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// The number of blocks before this one.
    pub(crate) number: u64,
    pub(crate) replies: Vec<Reply>,
}

impl Thread {
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> u64 {
        self.blocks * BLOCK as u64 + self.newest.len() as u64
    }

    pub(crate) fn blocks(&self) -> u64 {
        self.blocks
    }

    pub(crate) fn newest(&self) -> &[Reply] {
        &self.newest
    }

    /// Adds a message. Returns the block that is complete now.
    pub(super) fn push(&mut self, seq: u64, after: u64) -> Option<Block> {
        self.newest.push(Reply(seq, after));
        if self.newest.len() < BLOCK {
            return None;
        }
        self.blocks += 1;
        Some(Block { number: self.blocks - 1, replies: std::mem::take(&mut self.newest) })
    }
}

impl Block {
    pub(crate) fn encode(&self) -> Bytes {
        let text = serde_json::to_vec(&self.replies).expect("numbers are always JSON");
        with_sum(BytesMut::from(&*text))
    }

    /// Reads a block, and checks its checksum.
    pub(crate) fn decode(number: u64, bytes: Bytes) -> Option<Self> {
        let replies: Vec<Reply> = serde_json::from_slice(&without_sum(bytes)?).ok()?;
        (replies.len() == BLOCK).then_some(Self { number, replies })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_in_a_block_or_among_the_newest() {
        let (mut thread, mut blocks) = (Thread::default(), Vec::new());
        for seq in 1..=100 {
            blocks.extend(thread.push(seq, seq * 2));
        }
        assert_eq!((blocks.len(), thread.blocks(), thread.len()), (3, 3, 100));
        let seqs: Vec<_> = blocks.iter().flat_map(|block| &block.replies).chain(thread.newest()).collect();
        assert!(
            seqs.iter().map(|reply| (reply.seq(), reply.after())).eq((1..=100).map(|seq| (seq, seq * 2)))
        );
        assert!(blocks.iter().map(|block| block.number).eq(0..3));
    }

    #[test]
    fn a_block_is_read_as_it_was_written_and_not_with_a_changed_byte() {
        let block = Block { number: 7, replies: (1..=32).map(|seq| Reply(seq, seq + 9)).collect() };
        let bytes = block.encode();
        assert_eq!(Block::decode(7, bytes.clone()), Some(block));
        for index in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[index] ^= 1;
            assert_eq!(Block::decode(7, changed.into()), None, "byte {index}");
        }
    }
}
