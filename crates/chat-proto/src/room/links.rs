//! The links of a message: the message that it answers, the thread that it is in, and the users that it mentions.

use std::collections::BTreeSet;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{AppendError, Unavailable};
use crate::user::is_user_id;
use crate::{ErrorCode, Limits, Role};

/// The text of [`Mentions::Room`] on the wire.
const ROOM: &str = "@room";

/// The links of a message to other messages and to users. They are part of its `message` event, under these names.
///
/// ```
/// use chat_proto::{Links, Mentions};
///
/// let links = Links::default().with_thread(7).with_mentions(Mentions::users(["ann", "bob", "ann"]));
/// assert_eq!(serde_json::to_string(&links)?, r#"{"thread":7,"mentions":["ann","bob"]}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Links {
    /// The `seq` of the message that this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<u64>,
    /// The `seq` of the root of the thread that the message is in: the message with which the thread begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<u64>,
    /// The users that the message mentions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mentions: Option<Mentions>,
}

/// The users that a message mentions: on the wire, a list of user ids, or the text `"@room"`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mentions {
    /// The users with these ids. An id need not be that of a user.
    Users(Vec<String>),
    /// All users of the room. Only a moderator may mention them.
    Room,
}

impl Mentions {
    /// Returns the mentions of these users. A repeated id counts once.
    pub fn users(ids: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut seen = BTreeSet::new();
        let ids = ids.into_iter().map(Into::into);
        Self::Users(ids.filter(|id| seen.insert(id.clone())).collect())
    }

    /// Returns true if no user is mentioned.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Users(ids) if ids.is_empty())
    }

    /// Returns true if there are not too many ids, and each can be that of a user.
    pub fn is_valid(&self, limits: &Limits) -> bool {
        match self {
            Self::Users(ids) => ids.len() <= limits.wire.max_mentions && ids.iter().all(|id| is_user_id(id)),
            Self::Room => true,
        }
    }

    /// Returns the bytes that the ids take, rounded up.
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::Users(ids) => ids.iter().map(|id| size_of::<String>() + id.len()).sum(),
            Self::Room => 0,
        }
    }
}

impl Serialize for Mentions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Users(ids) => ids.serialize(serializer),
            Self::Room => serializer.serialize_str(ROOM),
        }
    }
}

impl<'de> Deserialize<'de> for Mentions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Read {
            Users(Vec<String>),
            Text(String),
        }
        match Read::deserialize(deserializer)? {
            Read::Users(ids) => Ok(Self::users(ids)),
            Read::Text(text) if text == ROOM => Ok(Self::Room),
            Read::Text(_) => Err(D::Error::custom("the text is not @room")),
        }
    }
}

/// A message that a link names, as the log has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linked {
    /// The root of the thread that it is in.
    pub thread: Option<u64>,
}

impl Linked {
    /// Returns true if a thread can begin with the message: it is in no thread itself.
    pub fn is_root(self) -> bool {
        self.thread.is_none()
    }
}

impl Links {
    /// Sets the message that this one answers.
    #[must_use]
    pub fn with_reply_to(mut self, seq: impl Into<Option<u64>>) -> Self {
        self.reply_to = seq.into();
        self
    }

    /// Sets the root of the thread that the message is in.
    #[must_use]
    pub fn with_thread(mut self, root: impl Into<Option<u64>>) -> Self {
        self.thread = root.into();
        self
    }

    /// Sets the users that the message mentions. An empty list is the same as none.
    #[must_use]
    pub fn with_mentions(mut self, mentions: impl Into<Option<Mentions>>) -> Self {
        self.mentions = mentions.into().filter(|mentions| !mentions.is_empty());
        self
    }

    /// Returns true if there is no link.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns true if all users of the room are mentioned.
    pub fn mentions_room(&self) -> bool {
        self.mentions == Some(Mentions::Room)
    }

    /// Returns true if the positions and the mentions are valid, wherever they lead.
    pub fn is_valid(&self, limits: &Limits) -> bool {
        [self.reply_to, self.thread].into_iter().flatten().all(|seq| (1..=crate::MAX_INTEGER).contains(&seq))
            && self.mentions.as_ref().is_none_or(|mentions| mentions.is_valid(limits))
    }

    /// Decides about the links of a message by a user with this role. `reply_to` and `thread` are the messages that the
    /// links name, `None` if the log does not have them: they were removed, are yet to come, or are changes.
    ///
    /// A store calls it inside of its serialized append, after the check of the key. Deleted messages can be named.
    ///
    /// # Errors
    ///
    /// [`AppendError::Forbidden`] if the role does not allow to mention the room; then [`AppendError::NoMessage`].
    pub fn judge(
        &self,
        role: Role,
        reply_to: Option<Linked>,
        thread: Option<Linked>,
    ) -> Result<(), AppendError> {
        if self.mentions_room() && role < Role::Moderator {
            return Err(AppendError::Forbidden);
        }
        let has_replied = self.reply_to.is_none() || reply_to.is_some();
        let has_root = self.thread.is_none() || thread.is_some_and(Linked::is_root);
        if has_replied && has_root { Ok(()) } else { Err(AppendError::NoMessage) }
    }
}

/// An error of a read of a thread.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ThreadError {
    /// The log does not support threads.
    #[error("the log does not support threads")]
    Unsupported,
    /// The log has no message at this position with which a thread can begin.
    #[error("the log has no message at this position with which a thread can begin")]
    NoMessage,
    /// The log cannot be read now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<ThreadError> for ErrorCode {
    fn from(error: ThreadError) -> Self {
        match error {
            ThreadError::Unsupported => Self::Unsupported,
            ThreadError::NoMessage => Self::NoMessage,
            ThreadError::Unavailable(_) => Self::Unavailable,
        }
    }
}
