use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::rights::{InvalidPattern, Rights};
use crate::SigningKey;
use chat_core::Role;

/// A token for development and tests. In production, the login service of the host signs tokens.
///
/// ```
/// use std::time::Duration;
///
/// use chat_auth::{NewToken, Role, SigningKey};
///
/// let key = SigningKey::from_secret(b"a secret of 32 bytes, or longer.")?;
/// let token = NewToken::new("7", Duration::from_secs(3_600)).name("Ann").room("lobby", Role::Member)?.sign(&key)?;
/// assert_eq!(token.split('.').count(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct NewToken {
    claims: Map<String, Value>,
    rights: Rights,
    lifetime: Duration,
}

/// A token that could not be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token cannot be signed with this key")]
pub struct SignError;

impl NewToken {
    /// Returns a token for the user with this id, which is valid for `lifetime` from its signature on.
    pub fn new(subject: impl Into<String>, lifetime: Duration) -> Self {
        Self { claims: Map::new(), rights: Rights::default(), lifetime }.claim("sub", subject.into())
    }

    /// Sets a claim. The times are set when the token is signed.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Sets the name that other users read.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        self.claim("name", name.into())
    }

    /// Sets the issuer.
    #[must_use]
    pub fn issuer(self, issuer: impl Into<String>) -> Self {
        self.claim("iss", issuer.into())
    }

    /// Sets the audience.
    #[must_use]
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.claim("aud", audience.into())
    }

    /// Makes the user an owner of all rooms.
    #[must_use]
    pub fn admin(self) -> Self {
        self.claim("admin", true)
    }

    /// Adds a pattern of rooms: see [`Rights`]. Rooms that no pattern matches are forbidden.
    ///
    /// # Errors
    ///
    /// [`InvalidPattern`] if no room matches the pattern.
    pub fn room(mut self, pattern: &str, role: Role) -> Result<Self, InvalidPattern> {
        self.rights = self.rights.with_room(pattern, role)?;
        Ok(self)
    }

    /// Signs the token.
    ///
    /// # Errors
    ///
    /// [`SignError`] if the key cannot sign.
    pub fn sign(&self, key: &SigningKey) -> Result<String, SignError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut claims = self.claims.clone();
        claims.insert("iat".to_owned(), now.as_secs().into());
        claims.insert("exp".to_owned(), now.saturating_add(self.lifetime).as_secs().into());
        if let Some(rooms) = self.rights.rooms() {
            claims.insert("rooms".to_owned(), json!(rooms));
        }
        let mut header = json!({"alg": key.algorithm().as_str(), "typ": "JWT"});
        if let Some(id) = key.id() {
            header["kid"] = id.into();
        }
        let encode = |json: String| BASE64_URL_SAFE_NO_PAD.encode(json);
        let signed = format!("{}.{}", encode(header.to_string()), encode(Value::Object(claims).to_string()));
        let signature = key.sign(signed.as_bytes()).map_err(|_| SignError)?;
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}
