use serde::{Deserialize, Serialize};

use super::{JoinRule, RoomRules, Standing};
use crate::{Role, RoomName, User, UserKey};

/// The users of a direct room, in the order of their ids: two, or one who writes notes. Nobody else may be in it.
///
/// ```
/// use chat_proto::{Direct, User};
///
/// let (ann, bob) = (User::new("1", "Ann")?, User::new("2", "Bob")?);
/// let direct = Direct::new(&bob, &ann);
/// assert_eq!(direct.other(&ann.key()), Some(&bob));
/// assert!(!direct.contains(&User::guest("1")?.key()), "a guest is another user");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Direct(Vec<User>);

impl Direct {
    /// Returns the users of the direct room of these two.
    pub fn new(one: &User, other: &User) -> Self {
        let mut users = vec![one.clone(), other.clone()];
        users.sort_by(|one, other| one.id().cmp(other.id()));
        users.dedup_by(|one, other| one.id() == other.id());
        Self(users)
    }

    /// Returns true if this is one of the users. A guest never is.
    pub fn contains(&self, user: &UserKey) -> bool {
        !user.is_guest() && self.0.iter().any(|one| one.id() == user.id())
    }

    /// Returns the user with whom this one is in the room. In a room for notes, that is the user.
    pub fn other(&self, user: &UserKey) -> Option<&User> {
        let other = || self.0.iter().find(|other| other.id() != user.id());
        self.contains(user).then(|| other().or(self.0.first())).flatten()
    }

    /// Returns true if this is one of the users, with this name.
    pub fn has_name_of(&self, user: &User) -> bool {
        !user.is_guest() && self.0.iter().any(|one| one.id() == user.id() && one.name() == user.name())
    }

    pub(crate) fn users(&self) -> &[User] {
        &self.0
    }

    /// Returns the name of the room of these users. `None` if they are not one or two, in the order of their ids.
    pub(crate) fn room(&self) -> Option<RoomName> {
        match self.users() {
            [one] => Some(RoomName::direct(one.id(), one.id())),
            [one, other] if one.id() < other.id() => Some(RoomName::direct(one.id(), other.id())),
            _ => None,
        }
    }

    /// Returns the same users, of whom one has the name that this user has now.
    #[must_use]
    pub(super) fn renamed(mut self, user: &User) -> Self {
        self.0.iter_mut().filter(|one| one.id() == user.id()).for_each(|one| *one = user.clone());
        self
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.0.iter().map(|user| size_of::<User>() + user.id().len() + user.name().len()).sum()
    }
}

impl RoomRules {
    /// Returns the rules of a direct room.
    pub(crate) fn of_direct(direct: Direct) -> Self {
        Self { join: JoinRule::Members, direct: Some(direct), ..Self::default() }
    }

    /// Returns the rules of a room whose log has none. Such a room is open, but a direct room is one of nobody until it
    /// is opened.
    pub fn unset(room: &RoomName) -> Self {
        if room.is_direct() { Self::of_direct(Direct::default()) } else { Self::default() }
    }

    /// Returns the standing of a user under these rules: the one that the log keeps for the id, with the role that the
    /// credentials and the host grant. In a direct room the two users are members, and no other role counts.
    #[must_use]
    pub fn standing(&self, user: &UserKey, stored: Standing, granted: Role) -> Standing {
        match &self.direct {
            None => stored.of(user).granted(granted),
            Some(direct) if direct.contains(user) => Standing { role: Role::Member, ..stored },
            Some(_) => Standing { role: Role::None, ..stored },
        }
    }

    /// Returns the other user of a direct room.
    pub fn other(&self, user: &UserKey) -> Option<&User> {
        self.direct.as_ref()?.other(user)
    }
}
