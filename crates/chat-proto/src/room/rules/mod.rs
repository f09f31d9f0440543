//! The rules of a room, the standing of its users, and the acts that set them: entries of the log.

mod act;
mod direct;
mod entry;
mod governance;
mod judge;
mod places;
mod right;

use serde::{Deserialize, Serialize};

pub use act::{Act, NewAct};
pub use direct::Direct;
pub use entry::{ActEntry, ActState};
pub(super) use entry::{Affects, affects};
pub use governance::Governance;
pub use judge::{ActContext, ActEffect};
pub use places::PurgePlaces;
pub use right::{NoRight, Right, Rights};

use crate::{Limits, Role, UserKey, has_visible, is_printable};

/// The rules of a room. Without them, a room is open: each user may join it and write.
///
/// ```
/// use chat_proto::{JoinRule, PostRule, RoomRules};
///
/// let rules = RoomRules::default().with_join(JoinRule::Members).with_post(PostRule::Moderators);
/// assert_eq!(rules.title, None);
/// assert_eq!(RoomRules::default().post, PostRule::Everybody);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RoomRules {
    /// The users who may join.
    #[serde(default)]
    pub join: JoinRule,
    /// The users who may write, of those who may join.
    #[serde(default, skip_serializing_if = "PostRule::is_everybody")]
    pub post: PostRule,
    /// The title that clients show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// True if the members see how far the others have read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub receipts: bool,
    /// The users of a direct room. `None` for other rooms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<Direct>,
}

/// The users who may join a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum JoinRule {
    /// Each user.
    #[default]
    Open,
    /// Users with the role of a member, or a higher one.
    Members,
}

/// The users who may write into a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PostRule {
    /// Each user who may join. It is not on the wire: there, `post` is absent.
    #[default]
    Everybody,
    /// Users with the role of a member, or a higher one.
    Members,
    /// Moderators and owners.
    Moderators,
}

impl PostRule {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_everybody(&self) -> bool {
        *self == Self::Everybody
    }
}

impl RoomRules {
    /// Sets the users who may join.
    #[must_use]
    pub fn with_join(mut self, join: JoinRule) -> Self {
        self.join = join;
        self
    }

    /// Sets the users who may write.
    #[must_use]
    pub fn with_post(mut self, post: PostRule) -> Self {
        self.post = post;
        self
    }

    /// Sets the title.
    #[must_use]
    pub fn with_title(mut self, title: impl Into<Option<String>>) -> Self {
        self.title = title.into();
        self
    }

    /// Sets if the members see how far the others have read.
    #[must_use]
    pub fn with_receipts(mut self, receipts: bool) -> Self {
        self.receipts = receipts;
        self
    }

    /// Returns true if the title has a size and characters that the protocol allows.
    pub fn is_valid(&self, limits: &Limits) -> bool {
        self.title.as_ref().is_none_or(|title| is_title(title, limits))
    }
}

/// Returns true if a text can be the title of a room.
pub(crate) fn is_title(text: &str, limits: &Limits) -> bool {
    text.len() <= limits.wire.max_title_bytes && is_printable(text) && has_visible(text)
}

/// The standing of a user in a room, as its log keeps it: a role, and at most one restriction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Standing {
    /// The role. The credentials of the user, or the host, may give a higher one.
    pub role: Role,
    /// The restriction, which may have ended.
    pub restriction: Option<Restriction>,
}

/// A restriction of a user. It holds whatever the role of the user is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Restriction {
    /// The kind of the restriction.
    pub what: Restrict,
    /// The time at which it ends by itself, in milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// The kind of a [`Restriction`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Restrict {
    /// The user may read, and delete what the user has written.
    Mute,
    /// The user may do nothing, not even join.
    Ban,
}

impl Restriction {
    /// Returns a restriction that ends at a time in milliseconds since the Unix epoch, or never.
    pub fn new(what: Restrict, until: Option<u64>) -> Self {
        Self { what, until }
    }

    /// Returns true if it has not ended at a time in milliseconds since the Unix epoch.
    pub fn holds(&self, now: u64) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl Standing {
    /// Returns a standing.
    pub fn new(role: Role, restriction: Option<Restriction>) -> Self {
        Self { role, restriction }
    }

    /// Returns the standing that holds for this user. Anybody can take the name of a guest, so a role that the log
    /// keeps is for users of the host service. A restriction holds for a guest of the same id too.
    #[must_use]
    pub fn of(self, user: &UserKey) -> Self {
        Self { role: if user.is_guest() { Role::None } else { self.role }, ..self }
    }

    /// Sets the role, unless the present one is higher. The credentials of the user or the host give it.
    #[must_use]
    pub fn granted(self, role: Role) -> Self {
        Self { role: self.role.max(role), ..self }
    }

    /// Returns the restriction, unless it has ended at a time in milliseconds since the Unix epoch.
    pub fn restriction_at(&self, now: u64) -> Option<Restriction> {
        self.restriction.filter(|restriction| restriction.holds(now))
    }

    /// Returns the kind of the restriction at a time in milliseconds since the Unix epoch.
    pub fn restricted(&self, now: u64) -> Option<Restrict> {
        Some(self.restriction_at(now)?.what)
    }

    /// Returns true if it has no effect any more, at a time in milliseconds since the Unix epoch.
    pub fn has_ended(&self, now: u64) -> bool {
        self.role == Role::None && self.restricted(now).is_none()
    }

    /// Returns true if a log need not keep it.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
