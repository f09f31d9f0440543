use serde::{Deserialize, Serialize};

use super::{Restriction, RoomRules};
use crate::room::is_reason;
use crate::{Limits, Role, RoomName, User};

/// An act on its way into a room: it sets the rules of the room or the standing of a user, or deletes all messages of
/// a user.
///
/// ```
/// use chat_proto::{Act, NewAct, Restrict, Restriction, Role, User};
///
/// let restriction = Some(Restriction::new(Restrict::Mute, None));
/// let act = Act::Restrict { user: User::from_id("7")?, restriction, reason: None };
/// let act = NewAct::new(User::new("1", "Ann")?, act).with_role(Role::Moderator);
/// assert!(!act.is_host);
/// # Ok::<(), chat_proto::InvalidUser>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NewAct {
    /// The user who acts.
    #[serde(with = "crate::user::user_record")]
    pub user: User,
    /// The role that the credentials and the host give this user in the room.
    pub role: Role,
    /// True if the host service itself acts. It has all rights, also over owners.
    pub is_host: bool,
    /// The role that the credentials give the user on whom this one acts, as far as it is known.
    pub target_role: Role,
    /// The act.
    pub act: Act,
}

/// The effect of a [`NewAct`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Act {
    /// Creates the room, or sets its rules.
    Create {
        /// All rules.
        rules: RoomRules,
    },
    /// Opens the direct room of the user who acts and another one, or updates the name of the user who acts in it.
    Direct {
        /// The other user.
        with: User,
    },
    /// Gives a user a role.
    Role {
        /// The user. Only the id counts.
        user: User,
        /// The role.
        role: Role,
    },
    /// Restricts a user.
    Restrict {
        /// The user. Only the id counts.
        user: User,
        /// The restriction, `None` to end the present one.
        restriction: Option<Restriction>,
        /// A reason, which members see.
        reason: Option<String>,
    },
    /// Deletes all messages of a user.
    Purge {
        /// The user. Only the id counts.
        user: User,
    },
}

impl Act {
    /// Returns the user on whom the act acts.
    pub fn target(&self) -> Option<&User> {
        match self {
            Self::Create { .. } | Self::Direct { .. } => None,
            Self::Role { user, .. } | Self::Restrict { user, .. } | Self::Purge { user } => Some(user),
        }
    }

    /// Returns true if the texts of the act have the sizes and the characters that the protocol allows.
    pub fn is_valid(&self, limits: &Limits) -> bool {
        match self {
            Self::Create { rules } => rules.is_valid(limits),
            Self::Direct { .. } | Self::Role { .. } | Self::Purge { .. } => true,
            Self::Restrict { reason, .. } => reason.as_ref().is_none_or(|reason| is_reason(reason, limits)),
        }
    }
}

impl NewAct {
    /// Returns an act of a user without a role.
    pub fn new(user: User, act: Act) -> Self {
        Self { user, role: Role::None, is_host: false, target_role: Role::None, act }
    }

    /// Returns true if a room of this name can have the act. Nobody sets the rules of a direct room or gives roles in
    /// it, and only the host restricts its users or purges them.
    pub fn fits(&self, room: &RoomName) -> bool {
        match &self.act {
            Act::Direct { with } => *room == RoomName::direct(self.user.id(), with.id()),
            Act::Create { .. } | Act::Role { .. } => !room.is_direct(),
            Act::Restrict { .. } | Act::Purge { .. } => self.is_host || !room.is_direct(),
        }
    }

    /// Returns true if both are acts of the same user on the same one, which for a purge is a repeat.
    pub fn repeats(&self, other: &Self) -> bool {
        let id = |act: &Self| act.act.target().map(|user| user.id().to_owned());
        id(self) == id(other) && (self.is_host, self.user.key()) == (other.is_host, other.user.key())
    }

    /// Sets the role of the user.
    #[must_use]
    pub fn with_role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// Sets the role of the user on whom this one acts.
    #[must_use]
    pub fn with_target_role(mut self, role: Role) -> Self {
        self.target_role = role;
        self
    }

    /// Lets the host service itself act, in the name of the user.
    #[must_use]
    pub fn by_host(mut self) -> Self {
        self.is_host = true;
        self
    }
}
