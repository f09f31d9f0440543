//! The content of one message of the stream: some entries of one room, which one node has appended together.

mod entry;
mod keyed;
mod message;
mod purge;
mod rules;
mod thread;
mod window;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use chat_core::RoomName;

pub(crate) use entry::{Content, Entry};
pub(crate) use keyed::{KeyUse, Slot, user_token};
pub(crate) use message::{MessageState, user_key};
pub(crate) use purge::Purge;
pub(crate) use rules::RulesPart;
pub(crate) use thread::{BLOCK, Block, Reply, Thread};
pub(crate) use window::{KeyWindow, Keyed};

/// The version of the format.
const VERSION: u8 = 4;

/// The bytes of a record before its lists, without the name of the room.
const HEAD_BYTES: usize = 2 + 8 * 8 + 5 * 2;

/// The properties of the room that a record names.
mod flag {
    pub(super) const THREADS: u8 = 1;
    /// The record names the newest entry of a purge, and the purges that are not complete.
    pub(super) const PURGES: u8 = 2;
    /// The record has no entries: it only names another oldest position.
    pub(super) const TRIM: u8 = 4;
}

/// The bytes of the checksum at the end of a record.
const SUM_BYTES: usize = 4;

/// The largest number of entries in a record.
pub(crate) const MAX_ENTRIES: usize = 256;

/// The bytes of frames after which a record takes no further entry.
pub(crate) const MAX_BYTES: usize = 64 * 1024;

/// Some entries of one room with consecutive positions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// The sequence in the stream; 0 while it is not stored. A copy has that of the record which it replaces.
    pub(crate) place: u64,
    /// The sequence of the copy, if this is one: the record again, without the text of deleted messages.
    pub(crate) copy: Option<u64>,
    /// A random number. A writer without an answer finds its record by it.
    pub(crate) id: u64,
    /// The id of the room's record before this one; 0 for the first. It shows that a stream has lost its end and got
    /// another one.
    pub(crate) previous: u64,
    /// The name of the room. Its hash is in the subject, so only an export needs the name.
    pub(crate) room: Bytes,
    /// The oldest position that can be read once this record is stored.
    pub(crate) oldest: u64,
    /// The number of messages among all entries of the room up to the last one of this record.
    pub(crate) messages: u64,
    /// True if the room has, or has had, a message in a thread.
    pub(crate) has_threads: bool,
    /// The position of the room's newest act; 0 without one. The rules of the room are in messages of their own.
    pub(crate) ruled: u64,
    /// The position of the newest act or entry of a purge; 0 without one.
    pub(crate) acted: u64,
    /// The pinned messages once this record is stored.
    pub(crate) pins: Vec<u64>,
    /// The deleted messages whose text may not be erased yet.
    pub(crate) erasing: Vec<u64>,
    /// The purges that are not complete.
    pub(crate) purges: Vec<Purge>,
    /// The end of the log, if the record has no entries: it only moves the oldest position, and has the id of the
    /// record before it.
    pub(crate) trim: Option<LogEnd>,
    /// The entries: at least one, unless the record is a trim.
    pub(crate) entries: Vec<Entry>,
}

/// The last entry of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogEnd {
    pub(crate) seq: u64,
    pub(crate) at: u64,
}

/// The bytes of a message of the stream are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record at {place} in the stream is damaged, or of a later version")]
pub(crate) struct Unreadable {
    pub(crate) place: u64,
}

impl Record {
    /// Returns the position of the first entry. That of a trim is the next position of the log.
    pub(crate) fn first(&self) -> u64 {
        let next = self.trim.map_or(0, |end| end.seq + 1);
        self.entries.first().map_or(next, |entry| entry.seq)
    }

    /// Returns the position of the last entry of the log up to this record.
    pub(crate) fn last(&self) -> u64 {
        let end = self.trim.map_or(0, |end| end.seq);
        self.entries.last().map_or(end, |entry| entry.seq)
    }

    /// Returns the time of that entry.
    pub(crate) fn at(&self) -> u64 {
        let end = self.trim.map_or(0, |end| end.at);
        self.entries.last().map_or(end, |entry| entry.at)
    }

    /// Returns the name of the room.
    pub(crate) fn room(&self) -> Option<RoomName> {
        str::from_utf8(&self.room).ok()?.parse().ok()
    }

    /// Returns the messages that the entries change or purge.
    pub(crate) fn targets(&self) -> impl Iterator<Item = u64> {
        self.entries.iter().flat_map(Entry::targets).copied()
    }

    pub(crate) fn encode(&self) -> Bytes {
        let entries: usize = self.entries.iter().map(Entry::max_bytes).sum();
        let purges: usize = self.purges.iter().map(Purge::bytes).sum();
        let lists = 8 * (self.pins.len() + self.erasing.len()) + purges;
        let mut bytes = BytesMut::with_capacity(HEAD_BYTES + self.room.len() + lists + entries + SUM_BYTES);
        bytes.put_u8(VERSION);
        let has = |part: bool, flag| if part { flag } else { 0 };
        let has_purges = self.acted > self.ruled || !self.purges.is_empty();
        let parts = has(self.has_threads, flag::THREADS) | has(has_purges, flag::PURGES);
        bytes.put_u8(parts | has(self.trim.is_some(), flag::TRIM));
        let replaced = if self.copy.is_some() { self.place } else { 0 };
        let Self { id, previous, oldest, messages, ruled, acted, .. } = *self;
        for number in [id, previous, oldest, messages, ruled, replaced, self.first()] {
            bytes.put_u64(number);
        }
        put_count(&mut bytes, self.room.len());
        bytes.put_slice(&self.room);
        for list in [&self.pins, &self.erasing] {
            put_count(&mut bytes, list.len());
            list.iter().for_each(|seq| bytes.put_u64(*seq));
        }
        if has_purges {
            bytes.put_u64(acted);
            put_count(&mut bytes, self.purges.len());
            self.purges.iter().for_each(|purge| purge.encode(&mut bytes));
        }
        if let Some(end) = self.trim {
            bytes.put_u64(end.at);
        }
        put_count(&mut bytes, self.entries.len());
        self.entries.iter().for_each(|entry| entry.encode(&mut bytes));
        with_sum(bytes)
    }

    /// Reads a record, and checks its checksum. The frames share the memory of `bytes`.
    pub(crate) fn decode(place: u64, bytes: Bytes) -> Result<Self, Unreadable> {
        without_sum(bytes).and_then(|bytes| read(place, bytes)).ok_or(Unreadable { place })
    }
}

/// Reads a record whose checksum is correct.
fn read(place: u64, mut bytes: Bytes) -> Option<Record> {
    if bytes.try_get_u8().ok()? != VERSION {
        return None;
    }
    let flags = bytes.try_get_u8().ok()?;
    let mut number = || bytes.try_get_u64().ok();
    let (id, previous, oldest, messages) = (number()?, number()?, number()?, number()?);
    let (ruled, replaced, first) = (number()?, number()?, number()?);
    let length = usize::from(bytes.try_get_u16().ok()?);
    if bytes.remaining() < length {
        return None;
    }
    let room = bytes.split_to(length);
    let mut list = || {
        let count = bytes.try_get_u16().ok()?;
        (0..count).map(|_| bytes.try_get_u64().ok()).collect::<Option<Vec<_>>>()
    };
    let (pins, erasing) = (list()?, list()?);
    let (acted, purges) = if flags & flag::PURGES != 0 {
        let (acted, count) = (bytes.try_get_u64().ok()?, bytes.try_get_u16().ok()?);
        (acted, (0..count).map(|_| Purge::decode(&mut bytes)).collect::<Option<Vec<_>>>()?)
    } else {
        (ruled, Vec::new())
    };
    let trim = if flags & flag::TRIM != 0 {
        Some(LogEnd { seq: first.checked_sub(1)?, at: bytes.try_get_u64().ok()? })
    } else {
        None
    };
    let count = bytes.try_get_u16().ok()?;
    let entries = (first..).take(count.into()).map(|seq| Entry::decode(seq, &mut bytes));
    let entries = entries.collect::<Option<Vec<_>>>()?;
    let (place, copy) = if replaced > 0 { (replaced, Some(place)) } else { (place, None) };
    let is_whole = bytes.is_empty() && first > 0 && entries.is_empty() == trim.is_some();
    let has_threads = flags & flag::THREADS != 0;
    is_whole.then_some(Record {
        place,
        copy,
        id,
        previous,
        room,
        oldest,
        messages,
        has_threads,
        ruled,
        acted,
        pins,
        erasing,
        purges,
        trim,
        entries,
    })
}

fn put_count(bytes: &mut BytesMut, count: usize) {
    bytes.put_u16(u16::try_from(count).unwrap_or(u16::MAX));
}

/// Adds the checksum.
pub(crate) fn with_sum(mut bytes: BytesMut) -> Bytes {
    let sum = crc32fast::hash(&bytes);
    bytes.put_u32(sum);
    bytes.freeze()
}

/// Returns the bytes before the checksum, or `None` if it is wrong.
pub(crate) fn without_sum(mut bytes: Bytes) -> Option<Bytes> {
    let sum = bytes.split_off(bytes.len().checked_sub(SUM_BYTES)?).get_u32();
    (sum == crc32fast::hash(&bytes)).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use chat_core::{Act, ChangeEntry, ChangeKind, NewAct, User};

    use super::*;

    fn record() -> Record {
        let entry = |seq, content, key| Entry { seq, at: 1_700_000_000_000 + seq, key, content };
        let message = |frame: &'static str, connection: Option<u64>| Content::Message {
            frame: Bytes::from_static(frame.as_bytes()),
            is_guest: connection.is_some(),
            connection,
        };
        let act = |frame: &'static [u8], targets: &[u64]| Content::Act {
            frame: Bytes::from_static(frame),
            targets: targets.to_vec(),
        };
        let key = KeyUse { owner: 7, slot: [1; 20], digest: [2; 20] };
        let ann = User::guest("ann").unwrap();
        let change = ChangeEntry::new(42, 1_700_000_000_042, ann, 40, ChangeKind::Pinned);
        let entries = vec![
            entry(41, message(r#"{"type":"message"}"#, Some(8)), Some(key)),
            entry(42, Content::Change(change), None),
            entry(43, message("{}", None), None),
            entry(44, act(br#"{"type":"role"}"#, &[]), None),
            entry(45, act(br#"{"type":"purged"}"#, &[40, 41]), None),
        ];
        let (pins, erasing) = (vec![40], vec![12, 13]);
        let (place, copy, oldest, messages, has_threads, ruled, acted) = (9, None, 3, 30, true, 44, 45);
        let purge =
            NewAct::new(User::guest("ann").unwrap(), Act::Purge { user: User::guest("eve").unwrap() });
        let purges = vec![Purge::new(8, "n1".to_owned(), &purge, 43)];
        let (id, previous, trim) = (5, 4, None);
        Record {
            place,
            copy,
            id,
            previous,
            room: Bytes::from_static(b"lobby"),
            oldest,
            messages,
            has_threads,
            ruled,
            acted,
            pins,
            erasing,
            purges,
            trim,
            entries,
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = record();
        assert_eq!(Record::decode(9, record.encode()), Ok(record.clone()));
        assert_eq!((record.first(), record.last(), record.at()), (41, 45, 1_700_000_000_045));
        assert_eq!(record.targets().collect::<Vec<_>>(), [40, 40, 41]);
        let copy = Record { copy: Some(70), ..record };
        assert_eq!(
            Record::decode(70, copy.encode()),
            Ok(copy),
            "at the place of the record that it replaces"
        );
    }

    #[test]
    fn a_trim_has_no_entries_and_leaves_the_end_of_the_log_as_it_is() {
        let record = record();
        let end = LogEnd { seq: record.last(), at: record.at() };
        let trim = Record { oldest: 46, id: 5, previous: 5, trim: Some(end), entries: Vec::new(), ..record };
        assert_eq!(Record::decode(9, trim.encode()), Ok(trim.clone()));
        assert_eq!((trim.first(), trim.last(), trim.at()), (46, 45, 1_700_000_000_045));
        let without_end = Record { trim: None, ..trim };
        assert!(Record::decode(9, without_end.encode()).is_err(), "a record without entries");
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
