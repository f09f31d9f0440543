use serde::{Deserialize, Serialize};

/// The role of a user in a room. A later one has all rights of an earlier one.
///
/// Each user may write, react, and change or delete what the user has written. A moderator may also delete and pin the
/// messages of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Role {
    /// No role: the rights of everybody in an open room. It does not forbid the room.
    #[default]
    None,
    /// A member.
    Member,
    /// A moderator.
    Moderator,
    /// An owner.
    Owner,
}

impl Role {
    /// Returns true if the role protects its user from some of those who act on users. Only moderators and owners act
    /// on users, so a lower role protects from nobody.
    pub fn protects(self) -> bool {
        self >= Self::Moderator
    }
}
