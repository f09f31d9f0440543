//! The content of one message of the stream: some entries of one room, which one node has appended together.

mod keyed;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use chat_core::StoredMessage;

pub(crate) use keyed::{KeyUse, KeyWindow, Keyed};

/// The version of the format.
const VERSION: u8 = 1;

/// The bytes of a record before its entries.
const HEAD_BYTES: usize = 1 + 8 + 8 + 8 + 8 + 2;

/// The bytes of an entry without its frame, at most.
const ENTRY_BYTES: usize = 64;

/// The bytes of the checksum at the end of a record.
const SUM_BYTES: usize = 4;

/// The largest number of entries in a record.
pub(crate) const MAX_ENTRIES: usize = 256;

/// The bytes of frames after which a record takes no further entry.
pub(crate) const MAX_BYTES: usize = 64 * 1024;

/// Some entries of one room with consecutive positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The sequence in the stream; 0 while it is not stored.
    pub(crate) place: u64,
    /// A random number. A writer without an answer finds its record by it.
    pub(crate) id: u64,
    /// The id of the room's record before this one; 0 for the first. It shows that a stream has lost its end and got
    /// another one.
    pub(crate) previous: u64,
    /// The oldest position that can be read once this record is stored.
    pub(crate) oldest: u64,
    /// The entries: at least one.
    pub(crate) entries: Vec<Entry>,
}

/// An entry of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) stored: StoredMessage,
    /// The time of the entry.
    pub(crate) at: u64,
    pub(crate) key: Option<KeyUse>,
}

impl Entry {
    /// Returns the bytes that the entry has in a record at most.
    pub(crate) fn max_bytes(&self) -> usize {
        self.stored.frame.len() + ENTRY_BYTES
    }
}

/// The bytes of a message of the stream are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record at {place} in the stream is damaged, or of a later version")]
pub(crate) struct Unreadable {
    pub(crate) place: u64,
}

impl Record {
    /// Returns the position of the first entry.
    pub(crate) fn first(&self) -> u64 {
        self.entries.first().map_or(0, |entry| entry.stored.seq)
    }

    /// Returns the position of the last entry.
    pub(crate) fn last(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.stored.seq)
    }

    /// Returns the time of the last entry.
    pub(crate) fn at(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.at)
    }

    pub(crate) fn encode(&self) -> Bytes {
        let frames: usize = self.entries.iter().map(Entry::max_bytes).sum();
        let mut bytes = BytesMut::with_capacity(HEAD_BYTES + frames + SUM_BYTES);
        bytes.put_u8(VERSION);
        bytes.put_u64(self.id);
        bytes.put_u64(self.previous);
        bytes.put_u64(self.oldest);
        bytes.put_u64(self.first());
        bytes.put_u16(u16::try_from(self.entries.len()).unwrap_or(u16::MAX));
        for entry in &self.entries {
            bytes.put_u64(entry.at);
            bytes.put_u8(u8::from(entry.key.is_some()));
            if let Some(key) = &entry.key {
                key.encode(&mut bytes);
            }
            bytes.put_u32(u32::try_from(entry.stored.frame.len()).unwrap_or(u32::MAX));
            bytes.put_slice(&entry.stored.frame);
        }
        let sum = crc32fast::hash(&bytes);
        bytes.put_u32(sum);
        bytes.freeze()
    }

    /// Reads a record, and checks its checksum. The frames share the memory of `bytes`.
    pub(crate) fn decode(place: u64, mut bytes: Bytes) -> Result<Self, Unreadable> {
        let sum = bytes.len().checked_sub(SUM_BYTES).map(|end| bytes.split_off(end).get_u32());
        if sum != Some(crc32fast::hash(&bytes)) {
            return Err(Unreadable { place });
        }
        read(place, bytes).ok_or(Unreadable { place })
    }
}

/// Reads a record whose checksum is correct.
fn read(place: u64, mut bytes: Bytes) -> Option<Record> {
    if bytes.try_get_u8().ok()? != VERSION {
        return None;
    }
    let mut number = || bytes.try_get_u64().ok();
    let (id, previous, oldest, first) = (number()?, number()?, number()?, number()?);
    let count = bytes.try_get_u16().ok()?;
    let mut entries = Vec::with_capacity(count.into());
    for seq in (first..).take(count.into()) {
        let at = bytes.try_get_u64().ok()?;
        let key = match bytes.try_get_u8().ok()? {
            0 => None,
            _ => Some(KeyUse::decode(&mut bytes)?),
        };
        let length = usize::try_from(bytes.try_get_u32().ok()?).ok()?;
        if bytes.remaining() < length {
            return None;
        }
        entries.push(Entry { stored: StoredMessage::new(seq, bytes.split_to(length)), at, key });
    }
    let is_whole = bytes.is_empty() && first > 0 && !entries.is_empty();
    is_whole.then_some(Record { place, id, previous, oldest, entries })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let entry = |seq, frame: &'static str, key| Entry {
            stored: StoredMessage::new(seq, frame),
            at: 1_700_000_000_000 + seq,
            key,
        };
        let key = KeyUse { owner: 7, slot: [1; 16], digest: [2; 20] };
        let entries = vec![entry(41, "{}", None), entry(42, r#"{"type":"message"}"#, Some(key))];
        Record { place: 9, id: 5, previous: 4, oldest: 3, entries }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = record();
        assert_eq!(Record::decode(9, record.encode()), Ok(record.clone()));
        assert_eq!((record.first(), record.last(), record.at()), (41, 42, 1_700_000_000_042));
    }

    #[test]
    fn a_record_with_a_changed_or_missing_byte_is_unreadable() {
        let bytes = record().encode();
        for index in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[index] ^= 1;
            assert_eq!(Record::decode(9, changed.into()), Err(Unreadable { place: 9 }), "byte {index}");
            assert!(Record::decode(9, bytes.slice(..index)).is_err(), "{index} bytes");
        }
    }

    #[test]
    fn a_record_of_another_version_is_unreadable_although_its_checksum_is_correct() {
        let mut bytes = record().encode().to_vec();
        bytes.truncate(bytes.len() - SUM_BYTES);
        bytes[0] = VERSION + 1;
        let sum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&sum.to_be_bytes());
        assert!(Record::decode(9, bytes.into()).is_err());
    }
}
