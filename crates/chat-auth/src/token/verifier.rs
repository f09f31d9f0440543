use std::time::{Duration, SystemTime};

use super::claims::{Claims, RawClaims};
use super::compact::Compact;
use crate::{KeySet, Rejection};

/// The conditions under which a token is valid.
///
/// A token is checked in this order: its length, its form, its header, its signature, and then its claims. No claim is
/// read before the signature holds.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use chat_auth::{KeySet, NewToken, Rejection, SigningKey, TokenVerifier, VerifyingKey};
///
/// let secret = b"a secret of 32 bytes, or longer.";
/// let token = NewToken::new("7", Duration::from_secs(60)).audience("chat").sign(&SigningKey::from_secret(secret)?)?;
///
/// let keys = KeySet::new([VerifyingKey::from_secret(secret)?])?;
/// let verifier = TokenVerifier::new().audience("chat");
/// let claims = verifier.verify(&token, &keys, SystemTime::now())?;
/// assert_eq!(claims.user.id(), "7");
///
/// let later = SystemTime::now() + Duration::from_secs(3_600);
/// assert_eq!(verifier.verify(&token, &keys, later), Err(Rejection::Expired));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct TokenVerifier {
    issuers: Vec<String>,
    audiences: Vec<String>,
    leeway: Duration,
    max_token_bytes: usize,
}

impl Default for TokenVerifier {
    /// Returns the same as [`new`](Self::new).
    fn default() -> Self {
        Self {
            issuers: Vec::new(),
            audiences: Vec::new(),
            leeway: Duration::from_secs(10),
            max_token_bytes: 8 * 1024,
        }
    }
}

impl TokenVerifier {
    /// Returns a verifier that accepts each issuer, and tokens without an audience.
    pub fn new() -> Self {
        Self::default()
    }

    /// Accepts tokens of this issuer. Each call adds one, and tokens of others are refused.
    #[must_use]
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuers.push(issuer.into());
        self
    }

    /// Accepts tokens for this audience. Each call adds one, and tokens for others are refused.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Sets the time by which the clock of an issuer may differ. Default 10 s.
    #[must_use]
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Sets the length of a token in bytes. Default 8 KiB, half of a request head.
    #[must_use]
    pub fn max_token_bytes(mut self, max: usize) -> Self {
        self.max_token_bytes = max;
        self
    }

    /// Returns the claims of a token that one of the keys has signed and that is valid now.
    ///
    /// # Errors
    ///
    /// The [`Rejection`] for the log.
    pub fn verify(&self, token: &str, keys: &KeySet, now: SystemTime) -> Result<Claims, Rejection> {
        if token.len() > self.max_token_bytes {
            return Err(Rejection::TooLong);
        }
        let compact = Compact::parse(token)?;
        let payload = compact.verify(keys.candidates(compact.key_id.as_deref(), compact.algorithm))?;
        let claims = RawClaims::parse(&payload)?;
        if !claims.is_of(&self.issuers) {
            return Err(Rejection::Issuer);
        }
        if !claims.is_for(&self.audiences) {
            return Err(Rejection::Audience);
        }
        claims.at(now, self.leeway)
    }
}
