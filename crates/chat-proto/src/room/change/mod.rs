//! Changes to messages: entries of the log that say what has become of an earlier message.

mod error;
mod folded;
mod judge;
mod reactions;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use unicode_normalization::is_nfc;

pub use error::ChangeError;
pub use folded::{Deleted, Edited, Folded, MessageChanges, Reaction, Replies};
pub use judge::{Target, Verdict};
pub use reactions::ReactionSets;

use super::{Mentions, NewMessage, StoredMessage};
use crate::name::{are_joiners_valid, is_blank};
use crate::wire::Changed;
use crate::{Limits, Role, RoomName, User, has_visible, is_printable};

/// A change on its way into a room.
///
/// A store that learns `seq` only as it writes keeps the change in the form that serde gives it.
///
/// ```
/// use chat_proto::{Change, NewChange, Role, User};
///
/// let change = NewChange::new(User::guest("ann")?, 41, Change::Pin { on: true }).with_role(Role::Moderator);
/// assert_eq!((change.target, change.key), (41, None));
/// # Ok::<(), chat_proto::InvalidUserName>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NewChange {
    /// The user who makes the change.
    #[serde(with = "crate::user::user_record")]
    pub user: User,
    /// The role that the credentials and the host give the user in the room.
    pub role: Role,
    /// The connection of a guest: see [`NewMessage::connection`](super::NewMessage::connection).
    pub connection: Option<u64>,
    /// The `seq` of the message.
    pub target: u64,
    /// The change.
    pub change: Change,
    /// The newest entry that the user knows of the message. A later edit is a conflict.
    pub rev: Option<u64>,
    /// The idempotency key of an edit.
    pub key: Option<String>,
    /// The users that an edited message mentions from now on. `None` leaves its mentions as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mentions: Option<Mentions>,
}

/// The effect of a [`NewChange`] on its message.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Change {
    /// Replaces the body.
    Edit {
        /// The new body, which is delivered byte for byte.
        body: Box<RawValue>,
    },
    /// Deletes the message. Its body, earlier bodies, reactions and pin are erased.
    Delete {
        /// A reason, which members see.
        reason: Option<String>,
    },
    /// Adds or removes a reaction of the user.
    React {
        /// The reaction, such as an emoji.
        reaction: String,
        /// True to add it.
        on: bool,
    },
    /// Pins or unpins the message.
    Pin {
        /// True to pin it.
        on: bool,
    },
}

impl Change {
    /// Returns the kind of the entry that this change makes.
    pub fn kind(&self) -> ChangeKind {
        match self {
            Self::Edit { .. } => ChangeKind::Edited,
            Self::Delete { .. } => ChangeKind::Deleted,
            Self::React { .. } => ChangeKind::Reactions,
            Self::Pin { .. } => ChangeKind::Pinned,
        }
    }
}

/// The kind of an entry that changes a message: the `what` of a `changed` event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ChangeKind {
    /// The message has another body.
    Edited,
    /// The message was deleted.
    Deleted,
    /// The message has other reactions.
    Reactions,
    /// The message was pinned or unpinned.
    Pinned,
}

impl Change {
    /// Returns true if the texts of the change have the sizes and the characters that the protocol allows. The body of
    /// an edit is checked by its type of message.
    pub fn is_valid(&self, limits: &Limits) -> bool {
        match self {
            Self::Edit { body } => body.get().len() <= limits.wire.max_frame_bytes,
            Self::Delete { reason } => reason.as_ref().is_none_or(|reason| is_reason(reason, limits)),
            Self::React { reaction, .. } => is_reaction(reaction, limits),
            Self::Pin { .. } => true,
        }
    }
}

/// Returns true if a text can be a reaction. Each joiner or variation selector in it is part of a sequence, such as an
/// emoji.
pub(crate) fn is_reaction(text: &str, limits: &Limits) -> bool {
    let characters: Vec<char> = text.chars().take(limits.wire.max_reaction_bytes + 1).collect();
    let without_joiners: String = characters.iter().filter(|c| !is_blank(**c)).collect();
    (1..=limits.wire.max_reaction_bytes).contains(&text.len())
        && is_printable(&without_joiners)
        && are_joiners_valid(&characters)
        && has_visible(text)
        && is_nfc(text)
}

/// Returns true if a text can be the reason of a deletion.
pub(crate) fn is_reason(text: &str, limits: &Limits) -> bool {
    text.len() <= limits.wire.max_reason_bytes && is_printable(text)
}

impl NewChange {
    /// Returns a change by a user without a role.
    pub fn new(user: User, target: u64, change: Change) -> Self {
        let (role, connection, rev, key, mentions) = Default::default();
        Self { user, role, connection, target, change, rev, key, mentions }
    }

    /// Sets the role of the user.
    #[must_use]
    pub fn with_role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// Sets the connection of a guest.
    #[must_use]
    pub fn with_connection(mut self, connection: impl Into<Option<u64>>) -> Self {
        self.connection = connection.into();
        self
    }

    /// Sets the newest entry that the user knows of the message.
    #[must_use]
    pub fn with_rev(mut self, rev: impl Into<Option<u64>>) -> Self {
        self.rev = rev.into();
        self
    }

    /// Sets the idempotency key.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Option<String>>) -> Self {
        self.key = key.into();
        self
    }

    /// Sets the users that an edited message mentions from now on: nobody with an empty list. `None` leaves its
    /// mentions as they are.
    #[must_use]
    pub fn with_mentions(mut self, mentions: impl Into<Option<Mentions>>) -> Self {
        self.mentions = mentions.into();
        self
    }

    /// Returns the content that an idempotency key stands for: a repeat must have the same. `None` without a key, and
    /// for a change that is no edit.
    ///
    /// # Panics
    ///
    /// Never: mentions are always JSON.
    pub fn content(&self) -> Option<String> {
        let Change::Edit { body } = &self.change else { return None };
        self.key.as_ref()?;
        let mentions = self.mentions.as_ref().map(serde_json::to_string).transpose();
        let mentions = mentions.expect("mentions are always JSON").unwrap_or_default();
        // A message with this body has another content.
        Some(format!("edit {} {body}{mentions}", self.target))
    }

    /// Brings a message to its new body and mentions, if this is an edit.
    pub fn edit_content(&self, message: &mut NewMessage) {
        if let Change::Edit { body } = &self.change {
            message.body.clone_from(body);
            if let Some(mentions) = &self.mentions {
                let links = message.links.take().map_or_else(Default::default, |links| *links);
                message.set_links(links.with_mentions(mentions.clone()));
            }
        }
    }
}

/// An entry of a log that changes a message. The state of the message is not part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChangeEntry {
    /// The position of the entry.
    pub seq: u64,
    /// The time of the commit, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The user who made the change.
    #[serde(with = "crate::user::user_record")]
    pub by: User,
    /// The `seq` of the message.
    pub target: u64,
    /// The kind of the change.
    pub kind: ChangeKind,
}

impl ChangeEntry {
    /// Returns an entry.
    pub fn new(seq: u64, at: u64, by: User, target: u64, kind: ChangeKind) -> Self {
        Self { seq, at, by, target, kind }
    }

    /// Returns the `changed` event of this entry. `state` is the present state of the message and the message itself,
    /// or `None` if the log no longer has it.
    ///
    /// If a later entry has replaced this change, the event says only that. So a log needs to keep no earlier state of
    /// a message, and an erased body is in no event. Nothing replaces a deletion: without a state, only its reason is
    /// missing.
    pub fn encode(&self, room: &RoomName, state: Option<(&MessageChanges, &NewMessage)>) -> StoredMessage {
        let state = state.filter(|(changes, _)| changes.is_current(self.kind, self.seq));
        let frame =
            Changed { room, entry: self, state: state.map(|(changes, message)| (&changes.folded, message)) };
        StoredMessage { seq: self.seq, frame: frame.encode() }
    }
}

/// The answer to a change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChangeReceipt {
    /// The epoch in which the position counts.
    pub epoch: String,
    /// The position of the entry. `None` if the message already was as the change would have made it.
    pub seq: Option<u64>,
    /// True if an earlier change has done this: an edit with the same key, or a deletion.
    pub duplicate: bool,
}

impl ChangeReceipt {
    /// Returns the receipt of a change that was stored now.
    pub fn new(epoch: impl Into<String>, seq: u64) -> Self {
        Self { epoch: epoch.into(), seq: Some(seq), duplicate: false }
    }

    /// Returns the receipt of a change that changes nothing.
    pub fn unchanged(epoch: impl Into<String>) -> Self {
        Self { epoch: epoch.into(), seq: None, duplicate: false }
    }

    /// Returns the receipt for a repeated change, whose entry an earlier one has stored.
    #[must_use]
    pub fn repeated(self) -> Self {
        Self { duplicate: true, ..self }
    }
}
