use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Folded, Links, Unavailable};
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
