use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{JoinRule, PostRule, Restrict, RoomRules, Standing};
use crate::room::{AppendError, Change, ChangeError};
use crate::{ErrorCode, Role};

/// A right of a user in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Right {
    /// Join, read, and search.
    Join,
    /// Send messages, and show that the user is typing.
    Send,
    /// React to messages.
    React,
    /// Edit the user's own messages.
    Edit,
    /// Delete the user's own messages.
    Delete,
    /// Delete the messages of others.
    DeleteOthers,
    /// Pin messages.
    Pin,
    /// Mention all users of the room.
    MentionRoom,
    /// Restrict users of a lower role.
    Restrict,
    /// Give roles up to that of a moderator.
    Role,
    /// Set the rules of the room.
    Settings,
    /// Delete all messages of a user.
    Purge,
}

impl Right {
    /// The rights that `joined.may` lists, in its order.
    const LISTED: [Self; 11] = [
        Self::Send,
        Self::React,
        Self::Edit,
        Self::Delete,
        Self::DeleteOthers,
        Self::Pin,
        Self::MentionRoom,
        Self::Restrict,
        Self::Role,
        Self::Settings,
        Self::Purge,
    ];

    /// Returns the word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Send => "send",
            Self::React => "react",
            Self::Edit => "edit",
            Self::Delete => "delete",
            Self::DeleteOthers => "delete_others",
            Self::Pin => "pin",
            Self::MentionRoom => "mention_room",
            Self::Restrict => "restrict",
            Self::Role => "role",
            Self::Settings => "settings",
            Self::Purge => "purge",
        }
    }
}

/// The reason why a user may not do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoRight {
    /// The user does not have the right, or is banned.
    #[error("the user does not have the right")]
    Forbidden,
    /// The user would have the right, but is muted.
    #[error("the user is muted")]
    Muted,
}

impl From<NoRight> for ErrorCode {
    fn from(denied: NoRight) -> Self {
        match denied {
            NoRight::Forbidden => Self::Forbidden,
            NoRight::Muted => Self::Muted,
        }
    }
}

impl From<NoRight> for ChangeError {
    fn from(denied: NoRight) -> Self {
        match denied {
            NoRight::Forbidden => Self::Forbidden,
            NoRight::Muted => Self::Muted,
        }
    }
}

impl From<NoRight> for AppendError {
    fn from(denied: NoRight) -> Self {
        match denied {
            NoRight::Forbidden => Self::Forbidden,
            NoRight::Muted => Self::Muted,
        }
    }
}

impl RoomRules {
    /// Decides if a user of this standing has a right, at a time in milliseconds since the Unix epoch. The role is the
    /// [effective](Standing::granted) one.
    ///
    /// # Errors
    ///
    /// [`NoRight`] if the user does not have the right.
    pub fn check(&self, right: Right, standing: &Standing, now: u64) -> Result<(), NoRight> {
        let has_role = standing.role >= self.needed(right);
        match standing.restricted(now) {
            None if has_role => Ok(()),
            Some(Restrict::Mute) if has_role => match right {
                Right::Join | Right::Delete => Ok(()),
                _ => Err(NoRight::Muted),
            },
            _ => Err(NoRight::Forbidden),
        }
    }

    /// Returns the rights of a user of this standing.
    pub fn rights(&self, standing: &Standing, now: u64) -> Rights {
        let has = |right: &Right| self.check(*right, standing, now).is_ok();
        Right::LISTED.into_iter().filter(has).collect()
    }

    /// Returns the time from which a user of this standing may write, in milliseconds since the Unix epoch: 0 if the
    /// user may now. `None` is never, as far as it is known.
    pub fn writes_from(&self, standing: &Standing, now: u64) -> Option<u64> {
        match self.check(Right::Send, standing, now) {
            Ok(()) => Some(0),
            Err(NoRight::Muted) => standing.restriction?.until,
            Err(NoRight::Forbidden) => None,
        }
    }

    /// Returns the lowest role that has a right.
    fn needed(&self, right: Right) -> Role {
        let join = match self.join {
            JoinRule::Open => Role::None,
            JoinRule::Members => Role::Member,
        };
        let post = match self.post {
            PostRule::Everybody => Role::None,
            PostRule::Members => Role::Member,
            PostRule::Moderators => Role::Moderator,
        };
        match right {
            Right::Join | Right::Delete => join,
            Right::Send | Right::React | Right::Edit => join.max(post),
            Right::DeleteOthers | Right::Pin | Right::MentionRoom | Right::Restrict => Role::Moderator,
            Right::Role | Right::Settings | Right::Purge => Role::Owner,
        }
    }
}

impl Standing {
    /// Decides about a right under the rules of a room, or without rules: see [`RoomRules::check`].
    ///
    /// # Errors
    ///
    /// [`NoRight`] if a user of this standing does not have the right.
    pub fn check(&self, rules: Option<&RoomRules>, right: Right, now: u64) -> Result<(), NoRight> {
        match rules {
            Some(rules) => rules.check(right, self, now),
            None => RoomRules::default().check(right, self, now),
        }
    }

    /// Checks that a user of this standing may make a change, at a time in milliseconds since the Unix epoch. Returns
    /// the role with which [`Target::judge`](crate::Target::judge) decides about it: none for a user who is muted.
    ///
    /// # Errors
    ///
    /// [`NoRight`] if the user has no right to such a change of any message.
    pub fn judge_change(
        &self,
        rules: Option<&RoomRules>,
        change: &Change,
        now: u64,
    ) -> Result<Role, NoRight> {
        let right = match change {
            Change::Edit { .. } => Right::Edit,
            Change::React { .. } => Right::React,
            // Of one's own message. The role decides about those of others.
            Change::Delete { .. } => Right::Delete,
            Change::Pin { .. } => Right::Pin,
        };
        self.check(rules, right, now)?;
        Ok(if self.restricted(now).is_some() { Role::None } else { self.role })
    }
}

/// A set of rights: the list `joined.may`.
///
/// ```
/// use chat_proto::{Right, Rights};
///
/// let rights: Rights = [Right::Send, Right::Pin].into_iter().collect();
/// assert!(rights.contains(Right::Pin) && !rights.contains(Right::Restrict));
/// assert_eq!(rights.iter().map(Right::as_str).collect::<Vec<_>>(), ["send", "pin"]);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Rights(u16);

impl Rights {
    /// Returns true if the set has a right.
    pub fn contains(self, right: Right) -> bool {
        self.0 & bit(right) != 0
    }

    /// Returns the rights, in the order of the wire.
    pub fn iter(self) -> impl Iterator<Item = Right> {
        Right::LISTED.into_iter().filter(move |right| self.contains(*right))
    }
}

fn bit(right: Right) -> u16 {
    1 << right as u16
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        Self(rights.into_iter().fold(0, |set, right| set | bit(right)))
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for Rights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Right::as_str))
    }
}

/// Reads a list of words. Words that this version does not know are left out.
impl<'de> Deserialize<'de> for Rights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;

        impl<'de> Visitor<'de> for Words {
            type Value = Rights;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of rights")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut words: A) -> Result<Rights, A::Error> {
                let mut rights = Rights::default();
                while let Some(word) = words.next_element::<std::borrow::Cow<'_, str>>()? {
                    let known = Right::LISTED.into_iter().find(|right| right.as_str() == word);
                    rights.0 |= known.map_or(0, bit);
                }
                Ok(rights)
            }
        }

        deserializer.deserialize_seq(Words)
    }
}
