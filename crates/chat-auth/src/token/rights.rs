use std::collections::BTreeMap;
use std::str::FromStr;

use async_trait::async_trait;
use chat_core::{Action, Authorize, Forbidden, Role, RoomName, User};

/// The rooms that the claims of a token admit to, and the roles in them.
///
/// A pattern is the name of a room, or the beginning of names with a `*` at the end. Of the patterns that match a room,
/// the longest one decides. A room that no pattern matches is forbidden. There is no other way to forbid a room:
/// [`Role::None`] admits to it.
///
/// ```
/// use chat_auth::{Rights, Role};
///
/// let rights = Rights::default()
///     .with_room("lobby", Role::Member)?
///     .with_room("team-*", Role::Moderator)?
///     .with_room("team-a", Role::Owner)?;
/// let role = |room: &str| Some(rights.role(&room.parse().ok()?));
/// assert_eq!(role("team-a"), Some(Some(Role::Owner)));
/// assert_eq!(role("team-b"), Some(Some(Role::Moderator)));
/// assert_eq!(role("staff"), Some(None));
/// # Ok::<(), chat_auth::InvalidPattern>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    is_admin: bool,
    /// `None` admits to all rooms.
    rooms: Option<BTreeMap<String, Role>>,
}

/// A text that is no pattern of rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pattern is the name of a room, or the beginning of names with a * at the end")]
pub struct InvalidPattern;

impl Rights {
    /// Sets if the user is an owner of all rooms.
    #[must_use]
    pub fn with_admin(mut self, is_admin: bool) -> Self {
        self.is_admin = is_admin;
        self
    }

    /// Adds a pattern. With it, rooms that no pattern matches are forbidden.
    ///
    /// # Errors
    ///
    /// [`InvalidPattern`] if no name of a room matches the pattern.
    pub fn with_room(mut self, pattern: &str, role: Role) -> Result<Self, InvalidPattern> {
        // A letter after the beginning makes a name, except if the beginning is as long as a name may be.
        let name = pattern.strip_suffix('*').map(|prefix| format!("{prefix}a"));
        let parsed = RoomName::from_str(name.as_deref().unwrap_or(pattern));
        parsed.map_err(|_| InvalidPattern)?;
        self.rooms.get_or_insert_default().insert(pattern.to_owned(), role);
        Ok(self)
    }

    /// Forbids all rooms that no pattern matches, even if there is no pattern.
    pub(super) fn restricted(mut self) -> Self {
        self.rooms.get_or_insert_default();
        self
    }

    /// Returns true if the user is an owner of all rooms.
    pub fn is_admin(&self) -> bool {
        self.is_admin
    }

    /// Returns the patterns and their roles. `None` admits to all rooms.
    pub fn rooms(&self) -> Option<&BTreeMap<String, Role>> {
        self.rooms.as_ref()
    }

    /// Returns the role in a room. `None` means that the room is forbidden.
    pub fn role(&self, room: &RoomName) -> Option<Role> {
        if self.is_admin {
            return Some(Role::Owner);
        }
        let Some(rooms) = &self.rooms else { return Some(Role::None) };
        let room = room.as_str();
        if let Some(role) = rooms.get(room) {
            return Some(*role);
        }
        let prefixes = rooms.iter().filter_map(|(pattern, role)| Some((pattern.strip_suffix('*')?, *role)));
        let matching = prefixes.filter(|(prefix, _)| room.starts_with(prefix));
        matching.max_by_key(|(prefix, _)| prefix.len()).map(|(_, role)| role)
    }
}

/// Allows all actions in the rooms that are not forbidden.
#[async_trait]
impl Authorize for Rights {
    async fn authorize(&self, _: &User, room: &RoomName, _: &Action<'_>) -> Result<(), Forbidden> {
        self.role(room).map(drop).ok_or(Forbidden::Rights)
    }

    async fn role(&self, _: &User, room: &RoomName) -> Result<Role, Forbidden> {
        self.role(room).ok_or(Forbidden::Rights)
    }
}
