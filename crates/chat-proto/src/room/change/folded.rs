use serde::{Deserialize, Serialize};

use super::ChangeKind;
use crate::User;

/// The present state of a message beside the message as it was sent: all its changes, folded into one.
///
/// It is part of a `message` event, where its fields have these names. A message that was not changed has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Folded {
    /// The `seq` of the newest entry that is folded into the message.
    pub rev: u64,
    /// The newest edit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited: Option<Edited>,
    /// The reactions, in the order in which the first of each was placed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reactions: Vec<Reaction>,
    /// True if the message is pinned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
    /// The thread that begins with this message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replies: Option<Replies>,
    /// The deletion. A deleted message has no body, no key, no mentions, and no other field of this type but `rev` and
    /// `replies`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Deleted>,
}

/// The newest edit of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Edited {
    /// The time, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The user who edited it, if it was not the author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<User>,
}

/// The deletion of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Deleted {
    /// The time, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The user who deleted it.
    pub by: User,
    /// The reason that this user gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The messages in the thread that begins with a message. A message that is deleted later still counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Replies {
    /// The number of these messages.
    pub count: u64,
    /// The `seq` of the newest one.
    pub last: u64,
}

/// One reaction to a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Reaction {
    /// The reaction, such as an emoji.
    pub reaction: String,
    /// The number of users who have placed it.
    pub count: u64,
    /// The first of these users, at most [`MAX_USERS`](Self::MAX_USERS), and fewer beyond
    /// [`Folded::MAX_NAME_BYTES`].
    pub users: Vec<User>,
    /// The number of users who placed it before the newest edit.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stale: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Reaction {
    /// Users that a reaction names.
    pub const MAX_USERS: usize = 10;

    /// Returns a reaction of these users, none of them stale.
    pub fn new(reaction: impl Into<String>, count: u64, users: Vec<User>) -> Self {
        Self { reaction: reaction.into(), count, users, stale: 0 }
    }

    /// Sets the number of users who placed it before the newest edit.
    #[must_use]
    pub fn with_stale(mut self, stale: u64) -> Self {
        self.stale = stale;
        self
    }
}

/// The bytes of the JSON of a user beside the id and the name.
const USER_JSON: usize = 20;

impl Folded {
    /// Bytes of the users that all reactions of a message name together. Each change of a reaction is sent with all
    /// reactions to each member, so their names must not cost more than a message does.
    pub const MAX_NAME_BYTES: usize = 8 * 1024;

    /// Records an edit.
    pub fn edit(&mut self, rev: u64, edited: Edited) {
        self.rev = rev;
        self.edited = Some(edited);
        for reaction in &mut self.reactions {
            reaction.stale = reaction.count;
        }
    }

    /// Records a deletion, which erases the rest but for the thread.
    pub fn delete(&mut self, rev: u64, deleted: Deleted) {
        let replies = self.replies;
        *self = Self { rev, deleted: Some(deleted), replies, ..Self::default() };
    }

    /// Records the message at the position `seq`, which is in the thread that begins with this message.
    pub fn reply(&mut self, seq: u64) {
        let count = self.replies.map_or(0, |replies| replies.count);
        self.replies = Some(Replies { count: count + 1, last: seq });
        self.rev = seq;
    }

    /// Removes the last names beyond [`MAX_NAME_BYTES`](Self::MAX_NAME_BYTES).
    fn limit_names(&mut self) {
        let mut left = Self::MAX_NAME_BYTES;
        for reaction in &mut self.reactions {
            let fits = |user: &&User| {
                let rest = left.checked_sub(USER_JSON + user.id().len() + user.name().len());
                left = rest.unwrap_or(0);
                rest.is_some()
            };
            let named = reaction.users.iter().take_while(fits).count();
            reaction.users.truncate(named);
        }
    }
}

impl Edited {
    /// Returns an edit by the author.
    pub fn new(at: u64) -> Self {
        Self { at, by: None }
    }

    /// Sets the user who edited the message, if it was not the author.
    #[must_use]
    pub fn with_by(mut self, by: Option<User>) -> Self {
        self.by = by;
        self
    }
}

impl Deleted {
    /// Returns a deletion.
    pub fn new(at: u64, by: User, reason: Option<String>) -> Self {
        Self { at, by, reason }
    }
}

/// The changes of one message, as a store keeps them: the folded state, and the newest entry of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MessageChanges {
    /// The folded state.
    pub folded: Folded,
    /// The `seq` of the newest edit, 0 if there is none.
    #[serde(default)]
    pub edit: u64,
    /// The `seq` of the newest change of the reactions, 0 if there is none.
    #[serde(default)]
    pub reactions: u64,
    /// The `seq` of the newest pinning or unpinning, 0 if there is none.
    #[serde(default)]
    pub pin: u64,
    /// The `seq` of the deletion. 0 if there is none, or if a store of an earlier version has recorded it: then it is
    /// the newest entry.
    #[serde(default)]
    pub delete: u64,
}

impl MessageChanges {
    /// Returns true if the entry at `seq` is the newest change of its kind, and a deletion has not erased it.
    pub fn is_current(&self, kind: ChangeKind, seq: u64) -> bool {
        self.newest(kind) == Some(seq)
    }

    /// Returns the `seq` of the newest change of a kind, unless a deletion has erased it.
    pub fn newest(&self, kind: ChangeKind) -> Option<u64> {
        let newest = match kind {
            ChangeKind::Deleted => self.deletion(),
            ChangeKind::Edited => self.edit,
            ChangeKind::Reactions => self.reactions,
            ChangeKind::Pinned => self.pin,
        };
        Some(newest).filter(|newest| *newest > 0)
    }

    /// Records an edit.
    pub fn edit(&mut self, seq: u64, edited: Edited) {
        self.folded.edit(seq, edited);
        self.edit = seq;
    }

    /// Records a deletion, which erases the rest but for the thread.
    pub fn delete(&mut self, seq: u64, deleted: Deleted) {
        let mut folded = std::mem::take(&mut self.folded);
        folded.delete(seq, deleted);
        *self = Self { folded, delete: seq, ..Self::default() };
    }

    /// Records the message at the position `seq`, which is in the thread that begins with this message.
    pub fn reply(&mut self, seq: u64) {
        self.delete = self.deletion();
        self.folded.reply(seq);
    }

    fn deletion(&self) -> u64 {
        match (&self.folded.deleted, self.delete) {
            (None, _) => 0,
            (Some(_), 0) => self.folded.rev,
            (Some(_), seq) => seq,
        }
    }

    /// Records the state of one reaction, `None` if no user has it any more.
    pub fn react(&mut self, seq: u64, name: &str, reaction: Option<Reaction>) {
        let reactions = &mut self.folded.reactions;
        match (reactions.iter().position(|known| known.reaction == name), reaction) {
            (Some(index), Some(reaction)) => reactions[index] = reaction,
            (Some(index), None) => drop(reactions.remove(index)),
            (None, reaction) => reactions.extend(reaction),
        }
        self.folded.limit_names();
        self.folded.rev = seq;
        self.reactions = seq;
    }

    /// Records that the message was pinned or unpinned.
    pub fn pin(&mut self, seq: u64, on: bool) {
        self.folded.pinned = on;
        self.folded.rev = seq;
        self.pin = seq;
    }
}
