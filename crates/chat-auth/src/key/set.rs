use super::{Algorithm, InvalidKey, VerifyingKey, jwk};

/// Keys of a set. It limits the signatures that are checked for one token.
const MAX_KEYS: usize = 32;

/// The keys that tokens may be signed with, for example the current one and the previous one.
///
/// ```
/// use chat_auth::{KeySet, VerifyingKey};
///
/// let current = VerifyingKey::from_secret(b"the current secret, of 32 bytes.")?;
/// let previous = VerifyingKey::from_secret(b"the previous one, also 32 bytes.")?;
/// assert_eq!(KeySet::new([current, previous])?.len(), 2);
/// # Ok::<(), chat_auth::InvalidKey>(())
/// ```
#[derive(Clone, Debug)]
pub struct KeySet(pub(super) Vec<VerifyingKey>);

impl KeySet {
    /// Returns a set of these keys. They are tried in this order.
    ///
    /// # Errors
    ///
    /// [`InvalidKey::NoKey`] without a key, and [`InvalidKey::TooManyKeys`] for more than 32.
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>) -> Result<Self, InvalidKey> {
        let keys: Vec<_> = keys.into_iter().take(MAX_KEYS + 1).collect();
        match keys.len() {
            0 => Err(InvalidKey::NoKey),
            1..=MAX_KEYS => Ok(Self(keys)),
            _ => Err(InvalidKey::TooManyKeys),
        }
    }

    /// Returns a set of the keys of these sets, in this order.
    ///
    /// # Errors
    ///
    /// The errors of [`KeySet::new`].
    pub fn concat(sets: impl IntoIterator<Item = Self>) -> Result<Self, InvalidKey> {
        Self::new(sets.into_iter().flat_map(Self::into_keys))
    }

    /// Reads a JSON Web Key Set (RFC 7517). Keys that cannot be used here are ignored, and so are secrets.
    ///
    /// ```
    /// use chat_auth::KeySet;
    ///
    /// let set = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a",
    ///     "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    /// assert_eq!(KeySet::from_jwks(set)?.len(), 1);
    /// # Ok::<(), chat_auth::InvalidKey>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidKey::Jwks`] for another text, and the errors of [`KeySet::new`].
    pub fn from_jwks(json: &[u8]) -> Result<Self, InvalidKey> {
        Self::new(jwk::keys(json)?)
    }

    /// Returns the number of keys.
    #[expect(clippy::len_without_is_empty, reason = "a set is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn into_keys(self) -> Vec<VerifyingKey> {
        self.0
    }

    /// Returns the keys of an algorithm that a token with this `kid` may be signed with.
    pub(crate) fn candidates(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &VerifyingKey> {
        let fits = move |key: &&VerifyingKey| id.is_none() || key.id().is_none() || key.id() == id;
        self.0.iter().filter(move |key| key.algorithm() == algorithm).filter(fits)
    }
}
