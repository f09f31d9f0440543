use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Folded, Links};
use crate::wire::Message;
use crate::{ErrorCode, Role, RoomName, User};

/// A message on its way into a room.
///
/// A store that learns `seq` only as it writes keeps the message in the form that serde gives it, and calls
/// [`into_stored`](Self::into_stored) when it reads. The form keeps the body byte for byte, and [`User::key`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NewMessage {
    /// The author.
    #[serde(with = "crate::user::user_record")]
    pub user: User,
    /// The author's idempotency key.
    pub key: Option<String>,
    /// The body, which is delivered byte for byte.
    pub body: Box<RawValue>,
    /// The connection of a guest, as a random number that is not on the wire. A guest may change the message only from
    /// this connection, because another guest may take the same name later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<u64>,
    /// The role that the credentials and the host give the user in the room. It decides in a room with rules, and
    /// about a mention of the room.
    #[serde(default, skip_serializing_if = "has_no_rights")]
    pub role: Role,
    /// The message that this one answers, its thread, and its mentions. `None` if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<Box<Links>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn has_no_rights(role: &Role) -> bool {
    *role == Role::None
}

impl NewMessage {
    /// Returns a message without an idempotency key.
    ///
    /// ```
    /// use chat_proto::{NewMessage, User};
    /// use serde_json::value::RawValue;
    ///
    /// let body = RawValue::from_string(r#"{"text":"hi"}"#.to_owned())?;
    /// let message = NewMessage::new(User::guest("ann")?, body).with_key("a1".to_owned());
    /// assert_eq!(message.key.as_deref(), Some("a1"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(user: User, body: Box<RawValue>) -> Self {
        Self { user, key: None, body, connection: None, role: Role::None, links: None }
    }

    /// Sets the idempotency key, or removes it with `None`.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Option<String>>) -> Self {
        self.key = key.into();
        self
    }

    /// Sets the connection of a guest, or removes it with `None`.
    #[must_use]
    pub fn with_connection(mut self, connection: impl Into<Option<u64>>) -> Self {
        self.connection = connection.into();
        self
    }

    /// Sets the role of the user.
    #[must_use]
    pub fn with_role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// Sets the links to other messages and to users.
    #[must_use]
    pub fn with_links(mut self, links: Links) -> Self {
        self.set_links(links);
        self
    }

    pub(super) fn set_links(&mut self, links: Links) {
        self.links = (!links.is_empty()).then(|| Box::new(links));
    }

    /// Returns the root of the thread that the message is in.
    pub fn thread(&self) -> Option<u64> {
        self.links.as_ref()?.thread
    }

    /// Returns the content that an idempotency key stands for, the body and the links: a repeat must have the same.
    ///
    /// # Panics
    ///
    /// Never: links are always JSON.
    pub fn content(&self) -> Cow<'_, str> {
        match &self.links {
            None => self.body.get().into(),
            Some(links) => {
                let links = serde_json::to_string(links).expect("links are always JSON");
                format!("{}{links}", self.body).into()
            }
        }
    }

    /// Decides about the links of a message in a log without threads. Such a log calls it for each message that it
    /// would store.
    ///
    /// # Errors
    ///
    /// [`AppendError::Unsupported`] if the message answers another one or is in a thread. [`AppendError::Forbidden`] if
    /// the role does not allow to mention the room.
    pub fn judge_without_threads(&self) -> Result<(), AppendError> {
        match self.links.as_deref() {
            Some(Links { reply_to: None, thread: None, .. }) | None => {
                self.links.as_ref().map_or(Ok(()), |links| links.judge(self.role, None, None))
            }
            Some(_) => Err(AppendError::Unsupported),
        }
    }

    /// Erases what no reader may get after a deletion: the body, the key and the mentions. The message stays in its
    /// thread.
    pub fn erase(&mut self) {
        self.body = RawValue::NULL.to_owned();
        self.key = None;
        if let Some(links) = self.links.take() {
            self.set_links(links.with_mentions(None));
        }
    }

    /// Returns the stored message at its position in a room. Its event is encoded here, once.
    ///
    /// ```
    /// use chat_proto::{NewMessage, User};
    /// use serde_json::value::RawValue;
    ///
    /// let body = RawValue::from_string(r#"{"text":"hi"}"#.to_owned())?;
    /// let message = NewMessage::new(User::guest("ann")?, body);
    /// let stored = message.into_stored("lobby".parse()?, 7, 1_700_000_000_000);
    /// let event: serde_json::Value = serde_json::from_slice(&stored.frame)?;
    /// assert_eq!((&event["type"], &event["seq"]), (&"message".into(), &7.into()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[expect(clippy::needless_pass_by_value, reason = "a store that reads has a name for each message")]
    pub fn into_stored(self, room: RoomName, seq: u64, at: u64) -> StoredMessage {
        self.stored(&room, seq, at)
    }

    /// Returns the stored message at its position in a room.
    pub(super) fn stored(self, room: &RoomName, seq: u64, at: u64) -> StoredMessage {
        self.folded(room, seq, at, None)
    }

    /// Returns the stored message at its position in a room, with its changes. A deleted message has no body and no key
    /// in the event.
    ///
    /// ```
    /// use chat_proto::{Deleted, Folded, NewMessage, User};
    /// use serde_json::value::RawValue;
    ///
    /// let ann = User::guest("ann")?;
    /// let mut folded = Folded::default();
    /// folded.delete(8, Deleted::new(1_700_000_000_001, ann.clone(), None));
    /// let message = NewMessage::new(ann, RawValue::from_string(r#"{"text":"hi"}"#.to_owned())?);
    /// let stored = message.folded(&"lobby".parse()?, 7, 1_700_000_000_000, Some(&folded));
    /// assert!(!str::from_utf8(&stored.frame)?.contains("hi"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn folded(&self, room: &RoomName, seq: u64, at: u64, folded: Option<&Folded>) -> StoredMessage {
        let Self { user, key, body, links, .. } = self;
        let is_deleted = folded.is_some_and(|folded| folded.deleted.is_some());
        let content = Some((key.as_deref(), &**body)).filter(|_| !is_deleted);
        let (key, body) = content.map_or((None, None), |(key, body)| (key, Some(body)));
        let event = Message { room, seq, user, at, key, body, folded, links: links.as_deref() };
        StoredMessage { seq, frame: event.encode() }
    }
}

/// An entry in the log of a room: a message in its present form, a change of one, or an act. Only a read of
/// [`Range::Entries`] and the reports of a log have changes and acts, and a read of [`Range::Acts`] has acts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredMessage {
    /// The position in the room: 1, 2, 3, ... within one epoch.
    pub seq: u64,
    /// The `message`, `changed`, `role` or `settings` event as the text of a frame.
    pub frame: Bytes,
}

impl StoredMessage {
    /// Returns the entry of a frame that a store has kept, at its position.
    pub fn new(seq: u64, frame: impl Into<Bytes>) -> Self {
        Self { seq, frame: frame.into() }
    }

    /// Returns true if the frame is text in braces.
    ///
    /// The log is trusted to return the events that [`NewMessage::into_stored`] made. But a frame that is not text
    /// would end the connection that gets it, and a truncated frame would make its page invalid.
    pub(crate) fn is_object(&self) -> bool {
        matches!(*self.frame, [b'{', .., b'}']) && str::from_utf8(&self.frame).is_ok()
    }
}

/// The answer to an append.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppendReceipt {
    /// The epoch in which the position counts.
    pub epoch: String,
    /// The message's position in the room.
    pub seq: u64,
    /// The time of the commit, by the server's clock, in milliseconds since the Unix epoch.
    pub at: u64,
    /// True if an earlier append with the same key has stored the message.
    pub duplicate: bool,
}

impl AppendReceipt {
    /// Returns the receipt of a message that was stored now.
    ///
    /// ```
    /// use chat_proto::AppendReceipt;
    ///
    /// let first = AppendReceipt::new("k3f9", 7, 1_700_000_000_000);
    /// assert!(!first.duplicate && first.repeated().duplicate);
    /// ```
    pub fn new(epoch: impl Into<String>, seq: u64, at: u64) -> Self {
        Self { epoch: epoch.into(), seq, at, duplicate: false }
    }

    /// Returns the receipt for a repeated append, whose message an earlier append has stored.
    #[must_use]
    pub fn repeated(self) -> Self {
        Self { duplicate: true, ..self }
    }
}

/// An error of an append.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The key was used before, for another body or other links.
    #[error("the key was used for another body or other links")]
    KeyConflict,
    /// The user has no right to send the message, or to mention the room in it.
    #[error("the user has no right to send the message")]
    Forbidden,
    /// The user is muted.
    #[error("the user is muted")]
    Muted,
    /// The log has no message at a position that the message names, or no thread can begin with that message.
    #[error("the log has no message at a position that the message names")]
    NoMessage,
    /// The log does not support replies and threads.
    #[error("the log does not support replies and threads")]
    Unsupported,
    /// The log could not store the message now. The message may be stored, so a retry needs the same key.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<AppendError> for ErrorCode {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::KeyConflict => Self::KeyConflict,
            AppendError::NoMessage => Self::NoMessage,
            AppendError::Forbidden => Self::Forbidden,
            AppendError::Muted => Self::Muted,
            AppendError::Unsupported => Self::Unsupported,
            AppendError::Unavailable(_) => Self::Unavailable,
        }
    }
}

/// An error of a log that cannot be used now. A later attempt may succeed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the log is not available: {cause}")]
pub struct Unavailable {
    cause: String,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
    is_over_quota: bool,
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
        Self { cause: cause.into(), source: None, is_over_quota: false }
    }

    /// Returns an error that another one has caused.
    pub fn from_source(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self { cause: source.to_string(), source: Some(Arc::new(source)), is_over_quota: false }
    }

    /// Returns an error of a store that refuses a message because of a quota: of bytes, or of a user's keys. Nothing is
    /// stored.
    ///
    /// ```
    /// use chat_proto::Unavailable;
    ///
    /// assert!(Unavailable::over_quota("the disk quota is reached").is_over_quota());
    /// assert!(!Unavailable::new("the disk does not answer").is_over_quota());
    /// ```
    pub fn over_quota(cause: impl Into<String>) -> Self {
        Self { is_over_quota: true, ..Self::new(cause) }
    }

    /// Returns true if a quota of the store is the cause.
    pub fn is_over_quota(&self) -> bool {
        self.is_over_quota
    }

    /// Returns the cause, for the server's log.
    pub fn cause(&self) -> &str {
        &self.cause
    }
}

/// A part of a log to read: messages, or entries of all kinds.
///
/// A store answers a range that it does not know with [`Unavailable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Range {
    /// The newest messages of the log.
    Newest {
        /// The largest number of messages.
        limit: usize,
    },
    /// The newest messages before a position.
    Before {
        /// The first position that is not in the range.
        seq: u64,
        /// The largest number of messages.
        limit: usize,
    },
    /// The oldest messages after a position.
    After {
        /// The last position that is not in the range.
        seq: u64,
        /// The largest number of messages.
        limit: usize,
    },
    /// The oldest entries after a position, messages and changes. In a log without changes, it is the same as
    /// [`After`](Self::After).
    Entries {
        /// The last position that is not in the range.
        after: u64,
        /// The largest number of entries.
        limit: usize,
    },
    /// The oldest [acts](crate::Act) after a position.
    Acts {
        /// The last position that is not in the range.
        after: u64,
        /// The largest number of acts.
        limit: usize,
    },
}

impl Range {
    /// Returns the range of the newest messages of a log, at most `limit`.
    ///
    /// ```
    /// use chat_proto::Range;
    ///
    /// assert_eq!(Range::newest(10), Range::Newest { limit: 10 });
    /// ```
    pub fn newest(limit: usize) -> Self {
        Self::Newest { limit }
    }

    /// Returns the range of the newest messages before `seq`, at most `limit`.
    pub fn before(seq: u64, limit: usize) -> Self {
        Self::Before { seq, limit }
    }

    /// Returns the range of the oldest entries after `seq`, at most `limit`.
    pub fn entries(after: u64, limit: usize) -> Self {
        Self::Entries { after, limit }
    }

    /// Returns the range of the oldest acts after `seq`, at most `limit`.
    pub fn acts(after: u64, limit: usize) -> Self {
        Self::Acts { after, limit }
    }

    /// Returns the range of the oldest messages after `seq`, at most `limit`.
    pub fn after(seq: u64, limit: usize) -> Self {
        Self::After { seq, limit }
    }
}

/// A part of a log, oldest entry first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// The epoch in which the positions count.
    pub epoch: String,
    /// The entries. They are messages, except for [`Range::Entries`], which has changes too.
    pub messages: Vec<StoredMessage>,
    /// True if the log has more of them in the direction of the range.
    pub more: bool,
}

impl Page {
    /// Returns a page of these entries, after which the log has no more.
    pub fn new(epoch: impl Into<String>, messages: Vec<StoredMessage>) -> Self {
        Self { epoch: epoch.into(), messages, more: false }
    }

    /// Sets [`more`](Self::more).
    #[must_use]
    pub fn with_more(mut self, more: bool) -> Self {
        self.more = more;
        self
    }

    /// Returns a page that was read newest entry first, in the order of a page.
    pub(super) fn reversed(mut self) -> Self {
        self.messages.reverse();
        self
    }
}

/// The extent of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogBounds {
    /// The identifier of the log's contents. A log that is lost and begins again gets another epoch. Positions of
    /// different epochs cannot be compared.
    pub epoch: String,
    /// The `seq` of the newest entry, 0 if there is none.
    pub head: u64,
    /// The `seq` of the oldest entry that can be read; `head + 1` if there is none.
    pub first: u64,
    /// True if some entries are changes or acts, so that positions do not count messages.
    pub has_changes: bool,
    /// True if the log has or had an act, so that the room may have rules, and users in it a standing.
    pub has_rules: bool,
    /// The `seq`s of the pinned messages, ascending.
    pub pins: Vec<u64>,
}

impl LogBounds {
    /// Returns the extent of a log that has kept all its messages.
    ///
    /// ```
    /// use chat_proto::LogBounds;
    ///
    /// let bounds = LogBounds::new("k3f9", 100);
    /// assert_eq!((bounds.first, bounds.head), (1, 100));
    /// assert_eq!(bounds.with_first(21).first, 21);
    /// ```
    pub fn new(epoch: impl Into<String>, head: u64) -> Self {
        Self { epoch: epoch.into(), head, first: 1, has_changes: false, has_rules: false, pins: Vec::new() }
    }

    /// Sets [`has_changes`](Self::has_changes).
    #[must_use]
    pub fn with_changes(mut self, has_changes: bool) -> Self {
        self.has_changes = has_changes;
        self
    }

    /// Sets [`has_rules`](Self::has_rules).
    #[must_use]
    pub fn with_rules(mut self, has_rules: bool) -> Self {
        self.has_rules = has_rules;
        self
    }

    /// Sets the pinned messages.
    #[must_use]
    pub fn with_pins(mut self, pins: Vec<u64>) -> Self {
        self.pins = pins;
        self
    }

    /// Sets the `seq` of the oldest entry that can be read.
    #[must_use]
    pub fn with_first(mut self, first: u64) -> Self {
        self.first = first;
        self
    }
}
