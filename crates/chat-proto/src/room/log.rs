use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha1::{Digest, Sha1};

use crate::{Event, Limits, RoomName, User, UserKey};

/// A message on its way into a room.
///
/// A store that learns `seq` only as it writes keeps the message in the form that serde gives it, and calls
/// [`into_stored`](Self::into_stored) when it reads. The form keeps the body byte for byte, and [`User::key`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewMessage {
    /// Who wrote it.
    #[serde(with = "crate::name::user_record")]
    pub user: User,
    /// The sender's idempotency key.
    pub key: Option<String>,
    /// The body, as it is to be delivered.
    pub body: Box<RawValue>,
}

impl NewMessage {
    /// The message that this becomes at its place in a room: its event is encoded here, once, with what the sender
    /// wrote byte for byte.
    pub fn into_stored(self, room: RoomName, seq: u64, at: u64) -> StoredMessage {
        let Self { user, key, body } = self;
        StoredMessage { seq, frame: Event::Message { room, seq, user, at, key, body }.encode() }
    }
}

/// A message that a room's log holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its place in the room: 1, 2, 3, ... within one epoch.
    pub seq: u64,
    /// Its `message` event as the text of a frame.
    pub frame: Bytes,
}

impl StoredMessage {
    /// Whether the frame is text in braces.
    ///
    /// That it is an event is up to the log, which keeps what [`NewMessage::into_stored`] made. But a frame that is no
    /// text ends the connection that gets it, and one that does not end takes the rest of its page with it.
    pub(crate) fn is_object(&self) -> bool {
        matches!(*self.frame, [b'{', .., b'}']) && str::from_utf8(&self.frame).is_ok()
    }
}

/// The answer to an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendReceipt {
    /// The message's place in the room.
    pub seq: u64,
    /// When it was committed: milliseconds since the Unix epoch, by the server's clock.
    pub at: u64,
    /// Whether an earlier append with the same key had stored it already.
    pub duplicate: bool,
}

/// Why a message was not appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The key was used before, for another body.
    #[error("the key was used for another body")]
    KeyConflict,
    /// The log could not take it. Whether it is stored is not known, so a retry needs the same key.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// A log that cannot be used now. A later attempt may succeed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the log is not available: {cause}")]
pub struct Unavailable {
    cause: String,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl PartialEq for Unavailable {
    /// Compares the causes.
    fn eq(&self, other: &Self) -> bool {
        self.cause == other.cause
    }
}

impl Eq for Unavailable {}

impl Unavailable {
    /// Returns an error with a cause for the server's log.
    pub fn new(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), source: None }
    }

    /// Returns an error that another one has caused.
    pub fn from_source(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self { cause: source.to_string(), source: Some(Arc::new(source)) }
    }

    /// Returns the cause, for the server's log.
    pub fn cause(&self) -> &str {
        &self.cause
    }
}

/// Which messages of a log to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// The newest before this position.
    Before {
        /// The first position not wanted.
        seq: u64,
        /// How many messages at most.
        limit: usize,
    },
    /// The oldest after this position.
    After {
        /// The last position not wanted.
        seq: u64,
        /// How many messages at most.
        limit: usize,
    },
}

/// A part of a log, oldest message first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The epoch in which the positions count.
    pub epoch: String,
    /// The messages.
    pub messages: Vec<StoredMessage>,
    /// Whether the log holds more in the direction that was asked.
    pub more: bool,
}

/// How far a log reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogBounds {
    /// Names one life of the log: positions of different epochs do not compare.
    pub epoch: String,
    /// The newest message, 0 if there is none.
    pub head: u64,
    /// The oldest message still readable; `head + 1` if there is none.
    pub first: u64,
}

/// The state of a room that lives in memory: its newest messages and the keys they were sent with.
#[derive(Debug)]
pub struct Log {
    room: RoomName,
    epoch: String,
    limits: Arc<Limits>,
    entries: VecDeque<StoredMessage>,
    bytes: usize,
    head: u64,
    /// The time of the newest message.
    last_at: u64,
    /// What each (user, key) was used for.
    keys: BTreeMap<(UserKey, String), Keyed>,
    key_order: VecDeque<(UserKey, String)>,
}

#[derive(Debug)]
struct Keyed {
    seq: u64,
    at: u64,
    body: [u8; 20],
}

impl Log {
    /// The empty log of a room.
    pub fn new(room: RoomName, epoch: String, limits: Arc<Limits>) -> Self {
        Self {
            room,
            epoch,
            limits,
            entries: VecDeque::new(),
            bytes: 0,
            head: 0,
            last_at: 0,
            keys: BTreeMap::new(),
            key_order: VecDeque::new(),
        }
    }

    /// Adds a message at the time `at` (ms since the Unix epoch), unless its key says that it is here.
    ///
    /// Returns the stored message with the answer if one was added.
    ///
    /// # Errors
    ///
    /// [`AppendError::KeyConflict`] if the key was used for another body.
    pub fn append(
        &mut self,
        at: u64,
        draft: NewMessage,
    ) -> Result<(AppendReceipt, Option<StoredMessage>), AppendError> {
        self.forget_keys(at);
        let slot = draft.key.clone().map(|key| {
            let slot = (draft.user.key(), key);
            (slot, Sha1::digest(draft.body.get()).into())
        });
        if let Some((slot, digest)) = &slot
            && let Some(known) = self.keys.get(slot)
        {
            return if known.body == *digest {
                Ok((AppendReceipt { seq: known.seq, at: known.at, duplicate: true }, None))
            } else {
                Err(AppendError::KeyConflict)
            };
        }
        let seq = self.head + 1;
        // A clock that is set back must not make a message older than the one before it.
        let at = at.max(self.last_at);
        self.last_at = at;
        let stored = draft.into_stored(self.room.clone(), seq, at);
        self.head = seq;
        self.bytes += stored.frame.len();
        self.entries.push_back(stored.clone());
        if let Some((slot, body)) = slot {
            self.key_order.push_back(slot.clone());
            self.keys.insert(slot, Keyed { seq, at, body });
        }
        self.trim();
        Ok((AppendReceipt { seq, at, duplicate: false }, Some(stored)))
    }

    /// Reads part of the log. A page of more than one message has at most
    /// [`WireLimits::max_batch_bytes`] bytes.
    pub fn read(&self, range: Range) -> Page {
        let first = self.first();
        let index = |seq: u64| usize::try_from(seq.clamp(first, self.head + 1) - first).unwrap_or(usize::MAX);
        let (messages, more) = match range {
            Range::Before { seq, limit } => {
                let end = index(seq);
                let taken = self.fitting(self.entries.range(..end).rev(), limit);
                (self.entries.range(end - taken..end).cloned().collect(), taken < end)
            }
            Range::After { seq, limit } => {
                let start = index(seq.saturating_add(1));
                let taken = self.fitting(self.entries.range(start..), limit);
                let end = start + taken;
                (self.entries.range(start..end).cloned().collect(), end < self.entries.len())
            }
        };
        Page { epoch: self.epoch.clone(), messages, more }
    }

    /// How far the log reaches.
    pub fn bounds(&self) -> LogBounds {
        LogBounds { epoch: self.epoch.clone(), head: self.head, first: self.first() }
    }

    fn first(&self) -> u64 {
        self.entries.front().map_or(self.head + 1, |oldest| oldest.seq)
    }

    fn fitting<'a>(&self, entries: impl Iterator<Item = &'a StoredMessage>, limit: usize) -> usize {
        let mut bytes = 0;
        entries
            .take(limit)
            .enumerate()
            .take_while(|(index, stored)| {
                bytes += stored.frame.len();
                *index == 0 || bytes <= self.limits.wire.max_batch_bytes
            })
            .count()
    }

    fn trim(&mut self) {
        while self.entries.len() > self.limits.rooms.log_messages.max(1)
            || (self.bytes > self.limits.rooms.log_bytes && self.entries.len() > 1)
        {
            let Some(oldest) = self.entries.pop_front() else {
                break;
            };
            self.bytes -= oldest.frame.len();
        }
        while self.key_order.len() > self.limits.rooms.log_keys {
            let Some(oldest) = self.key_order.pop_front() else {
                break;
            };
            self.keys.remove(&oldest);
        }
    }

    fn forget_keys(&mut self, now: u64) {
        while let Some(oldest) = self.key_order.front() {
            let age = self.keys.get(oldest).map_or(u64::MAX, |keyed| now.saturating_sub(keyed.at));
            if Duration::from_millis(age) < self.limits.rooms.key_window {
                break;
            }
            self.keys.remove(oldest);
            self.key_order.pop_front();
        }
    }
}
