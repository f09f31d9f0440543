use std::collections::BTreeMap;
use std::sync::Arc;

use chat_core::{Identity, IdentityLimits, InvalidUser, Rate, Role};
use serde::Deserialize;

use super::rights::{InvalidPattern, Rights};
use crate::user;

/// The user, the rights and the limits that credentials give, as a login service sends them in JSON.
///
/// The members are the claims of a [token](crate::Claims) that have no condition: `sub`, `name`, `admin`, `rooms` and
/// `limits`. Only `sub` is required. A name that the chat does not allow is shortened, or replaced by the id.
///
/// ```
/// use chat_auth::{Grant, Tickets};
/// use chat_core::Identity;
///
/// let grant: Grant = serde_json::from_str(r#"{"sub":"7","name":"Ann","rooms":{"team-*":"member"}}"#)?;
/// let ticket = Tickets::default().issue(Identity::try_from(grant)?)?;
/// assert_eq!(ticket.len(), 64);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    pub(super) sub: String,
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) admin: bool,
    pub(super) rooms: Option<BTreeMap<String, Role>>,
    #[serde(default)]
    pub(super) limits: GrantLimits,
}

/// The limits as they are in JSON. Unknown ones are ignored, as in a token.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct GrantLimits {
    connections: Option<usize>,
    rate: Option<u32>,
    burst: Option<u32>,
}

/// A [`Grant`] that names no valid user, or no valid room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidGrant {
    /// The id of the user is not valid.
    #[error("`sub` has 1 to 255 bytes and no control characters")]
    User(#[from] InvalidUser),
    /// A key of `rooms` is not valid.
    #[error("a key of `rooms` is the name of a room, or the beginning of names with a * at the end")]
    Room(#[from] InvalidPattern),
}

impl Grant {
    pub(super) fn rights(&self) -> Result<Rights, InvalidPattern> {
        let mut rights = Rights::default().with_admin(self.admin);
        for (pattern, role) in self.rooms.iter().flatten() {
            rights = rights.with_room(pattern, *role)?;
        }
        Ok(if self.rooms.is_some() { rights.restricted() } else { rights })
    }

    pub(super) fn limits(&self) -> IdentityLimits {
        let mut limits = IdentityLimits::default();
        limits.max_connections = self.limits.connections;
        limits.rate = self.limits.rate.map(|rate| Rate::new(rate, self.limits.burst.unwrap_or(rate)));
        limits
    }

    pub(super) fn user(&self) -> Result<chat_core::User, InvalidUser> {
        user::named(&self.sub, self.name.as_deref())
    }
}

impl TryFrom<Grant> for Identity {
    type Error = InvalidGrant;

    /// Returns the identity of the user, with the rights and the limits.
    fn try_from(grant: Grant) -> Result<Self, InvalidGrant> {
        let mut identity = Self::from(grant.user()?);
        identity.limits = grant.limits();
        identity.rights = grant.rights()?.restricting();
        Ok(identity)
    }
}

impl Rights {
    /// Returns these rights as a check of a host. `None` without a claim about rooms or an administrator, because then
    /// only the host decides.
    pub(super) fn restricting(self) -> Option<Arc<dyn chat_core::Authorize>> {
        (self.is_admin() || self.rooms().is_some()).then(|| Arc::new(self) as Arc<dyn chat_core::Authorize>)
    }
}
