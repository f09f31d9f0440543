use std::slice;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use chat_core::{ChangeEntry, RoomName, StoredMessage};

use super::{KeyUse, put_count};

/// The bytes of an entry without its frame, at most.
const ENTRY_BYTES: usize = 84;

/// The parts that an entry has.
mod flag {
    pub(super) const KEY: u8 = 1;
    pub(super) const GUEST: u8 = 2;
    pub(super) const CONNECTION: u8 = 4;
    pub(super) const CHANGE: u8 = 8;
    pub(super) const ACT: u8 = 16;
    pub(super) const TARGETS: u8 = 32;
}

/// An entry of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) seq: u64,
    /// The time of the entry.
    pub(crate) at: u64,
    pub(crate) key: Option<KeyUse>,
    pub(crate) content: Content,
}

/// The content of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// A message, as the event that was delivered first.
    Message {
        frame: Bytes,
        is_guest: bool,
        /// The connection on which a guest has sent it.
        connection: Option<u64>,
    },
    /// A change of a message. The state of the message after it is a message of the stream of its own.
    Change(ChangeEntry),
    /// An act, as the event that was delivered. It stays as it is.
    Act {
        frame: Bytes,
        /// The messages that a purge has deleted.
        targets: Vec<u64>,
    },
}

impl Entry {
    /// Returns the change that the entry is.
    pub(crate) fn change(&self) -> Option<&ChangeEntry> {
        match &self.content {
            Content::Change(change) => Some(change),
            Content::Message { .. } | Content::Act { .. } => None,
        }
    }

    pub(crate) fn is_message(&self) -> bool {
        matches!(self.content, Content::Message { .. })
    }

    pub(crate) fn is_act(&self) -> bool {
        matches!(self.content, Content::Act { .. })
    }

    /// Returns the position of the message that the entry is or changes, `None` for an act.
    pub(crate) fn subject(&self) -> Option<u64> {
        match &self.content {
            Content::Message { .. } => Some(self.seq),
            Content::Change(change) => Some(change.target),
            Content::Act { .. } => None,
        }
    }

    /// Returns the messages that the entry changes or purges.
    pub(crate) fn targets(&self) -> &[u64] {
        match &self.content {
            Content::Message { .. } => &[],
            Content::Change(change) => slice::from_ref(&change.target),
            Content::Act { targets, .. } => targets,
        }
    }

    /// Returns the entry as it is without a state of the message: as it was sent, or as replaced by a later change.
    pub(crate) fn without_state(&self, room: &RoomName) -> StoredMessage {
        match &self.content {
            Content::Message { frame, .. } | Content::Act { frame, .. } => {
                StoredMessage::new(self.seq, frame.clone())
            }
            Content::Change(change) => change.encode(room, None),
        }
    }

    /// Returns the bytes that the entry has in a record at most.
    pub(crate) fn max_bytes(&self) -> usize {
        let targets = match &self.content {
            Content::Act { targets, .. } => 2 + 8 * targets.len(),
            Content::Message { .. } | Content::Change(_) => 0,
        };
        ENTRY_BYTES + self.text_bytes() + targets
    }

    /// Returns the bytes of the event, or of the text that a record has of a change.
    pub(crate) fn text_bytes(&self) -> usize {
        match &self.content {
            Content::Message { frame, .. } | Content::Act { frame, .. } => frame.len(),
            Content::Change(change) => change_text(change).len(),
        }
    }

    pub(super) fn encode(&self, bytes: &mut BytesMut) {
        let Self { at, key, content, .. } = self;
        let (kind, connection, text) = match content {
            Content::Message { frame, is_guest, connection } => {
                (if *is_guest { flag::GUEST } else { 0 }, *connection, frame.clone())
            }
            Content::Change(change) => (flag::CHANGE, None, change_text(change)),
            Content::Act { frame, .. } => (flag::ACT, None, frame.clone()),
        };
        let has = |part: bool, flag| if part { flag } else { 0 };
        bytes.put_u64(*at);
        let targets = match content {
            Content::Act { targets, .. } => &**targets,
            _ => &[],
        };
        let parts = has(key.is_some(), flag::KEY) | has(connection.is_some(), flag::CONNECTION);
        bytes.put_u8(kind | parts | has(!targets.is_empty(), flag::TARGETS));
        if let Some(key) = key {
            key.encode(bytes);
        }
        if let Some(connection) = connection {
            bytes.put_u64(connection);
        }
        if !targets.is_empty() {
            put_count(bytes, targets.len());
            targets.iter().for_each(|seq| bytes.put_u64(*seq));
        }
        bytes.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        bytes.put_slice(&text);
    }

    pub(super) fn decode(seq: u64, bytes: &mut Bytes) -> Option<Self> {
        let at = bytes.try_get_u64().ok()?;
        let flags = bytes.try_get_u8().ok()?;
        let has = |flag| flags & flag != 0;
        let key = if has(flag::KEY) { Some(KeyUse::decode(bytes)?) } else { None };
        let connection = if has(flag::CONNECTION) { Some(bytes.try_get_u64().ok()?) } else { None };
        let count = if has(flag::TARGETS) { bytes.try_get_u16().ok()? } else { 0 };
        let targets = (0..count).map(|_| bytes.try_get_u64().ok()).collect::<Option<Vec<_>>>()?;
        let length = usize::try_from(bytes.try_get_u32().ok()?).ok()?;
        if bytes.remaining() < length {
            return None;
        }
        let text = bytes.split_to(length);
        let content = if has(flag::CHANGE) {
            Content::Change(serde_json::from_slice(&text).ok()?)
        } else if has(flag::ACT) {
            Content::Act { frame: text, targets }
        } else {
            Content::Message { frame: text, is_guest: has(flag::GUEST), connection }
        };
        Some(Self { seq, at, key, content })
    }
}

fn change_text(change: &ChangeEntry) -> Bytes {
    serde_json::to_vec(change).expect("texts and numbers are always JSON").into()
}
