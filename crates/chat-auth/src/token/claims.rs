use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chat_core::{Identity, Role, User};
use serde::Deserialize;

use super::grant::{Grant, GrantLimits};
use super::rights::Rights;
use crate::{Rejection, json};

/// The last second that a claim may name: the end of the year 9999.
const MAX_SECONDS: f64 = 253_402_300_799.0;

/// The claims of a token whose signature and conditions hold.
///
/// | claim | meaning |
/// |---|---|
/// | `sub` | the id of the user, as in [`User::new`] |
/// | `exp`, `nbf` | the time until which the token is valid, and from which on |
/// | `iss`, `aud` | the issuer, and the audience: a text or a list of texts |
/// | `name` | the name that other users read |
/// | `admin` | true for an owner of all rooms |
/// | `rooms` | patterns of rooms with roles, as in `{"lobby":"member","team-*":"moderator"}`: see [`Rights`] |
/// | `limits` | limits of the user: `connections`, and `rate` (commands per second) with `burst`; 0 is no limit |
///
/// `sub` and `exp` are required. Unknown claims are ignored. So far, each [`Role`] has the same effect, also `none`: it
/// admits to the room.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Claims {
    /// The user.
    pub user: User,
    /// The time until which the token is valid: `exp`, and the leeway of the verifier.
    pub expires_at: SystemTime,
    /// The rights in rooms.
    pub rights: Rights,
    /// The limits of the user. 0 is no limit.
    pub limits: chat_core::IdentityLimits,
}

/// The claims as they are in the token.
#[derive(Debug, Deserialize)]
pub(super) struct RawClaims {
    sub: String,
    exp: f64,
    nbf: Option<f64>,
    #[serde(rename = "iat")]
    _iat: Option<f64>,
    iss: Option<String>,
    aud: Option<Audience>,
    name: Option<String>,
    #[serde(default)]
    admin: bool,
    rooms: Option<BTreeMap<String, Role>>,
    #[serde(default)]
    limits: GrantLimits,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl RawClaims {
    /// Parses the payload of a token whose signature holds.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, Rejection> {
        json::object(payload).ok_or(Rejection::Claims)
    }

    /// Returns true if the token is of one of these issuers. Without issuers, every token is.
    pub(super) fn is_of(&self, issuers: &[String]) -> bool {
        issuers.is_empty() || self.iss.as_ref().is_some_and(|issuer| issuers.contains(issuer))
    }

    /// Returns true if the token is for one of these audiences. Without audiences, only a token without `aud` is: a
    /// token for somebody else must not be used here (RFC 7519 section 4.1.3).
    pub(super) fn is_for(&self, audiences: &[String]) -> bool {
        match &self.aud {
            None => audiences.is_empty(),
            Some(Audience::One(audience)) => audiences.contains(audience),
            Some(Audience::Several(several)) => several.iter().any(|audience| audiences.contains(audience)),
        }
    }

    /// Returns the claims if the token is valid now.
    pub(super) fn at(self, now: SystemTime, leeway: Duration) -> Result<Claims, Rejection> {
        let expires_at = time(self.exp)? + leeway;
        if now >= expires_at {
            return Err(Rejection::Expired);
        }
        if self.nbf.map(time).transpose()?.is_some_and(|from| now + leeway < from) {
            return Err(Rejection::Early);
        }
        let Self { sub, name, admin, rooms, limits, .. } = self;
        let grant = Grant { sub, name, admin, rooms, limits };
        let rights = grant.rights().map_err(|_| Rejection::Claims)?;
        let user = grant.user().map_err(|_| Rejection::User)?;
        Ok(Claims { user, expires_at, rights, limits: grant.limits() })
    }
}

/// Returns the time of a `NumericDate` (RFC 7519 section 2).
fn time(seconds: f64) -> Result<SystemTime, Rejection> {
    if !(0.0..=MAX_SECONDS).contains(&seconds) {
        return Err(Rejection::Claims);
    }
    Ok(UNIX_EPOCH + Duration::from_secs_f64(seconds))
}

impl From<Claims> for Identity {
    /// Returns the identity of the user, with the rights, the limits and the time of the token.
    fn from(claims: Claims) -> Self {
        let mut identity = Self::from(claims.user);
        identity.expires_at = Some(claims.expires_at);
        identity.limits = claims.limits;
        identity.rights = claims.rights.restricting();
        identity
    }
}
