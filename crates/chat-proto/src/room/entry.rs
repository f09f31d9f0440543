use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::{Event, RoomName, User};

/// A message on its way into a room.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Who wrote it.
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

impl Range {
    /// Returns the range of the newest messages of a log, at most `limit`.
    ///
    /// ```
    /// use chat_proto::Range;
    ///
    /// assert_eq!(Range::newest(10), Range::Before { seq: u64::MAX, limit: 10 });
    /// ```
    pub fn newest(limit: usize) -> Self {
        Self::Before { seq: u64::MAX, limit }
    }
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
