use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use ring::{error, hmac};

use super::{Algorithm, InvalidKey, MIN_SECRET_BYTES, pem, secret_key};
use crate::SignError;

/// A key that signs tokens: see [`NewToken`](crate::NewToken).
pub struct SigningKey {
    id: Option<String>,
    pair: Pair,
}

enum Pair {
    Secret(hmac::Key),
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// Returns the key of a secret, for HS256.
    ///
    /// # Errors
    ///
    /// [`InvalidKey::ShortSecret`] for less than 32 bytes.
    pub fn from_secret(secret: &[u8]) -> Result<Self, InvalidKey> {
        Ok(Self { id: None, pair: Pair::Secret(secret_key(secret)?) })
    }

    /// Returns a random secret of 32 bytes for HS256, as text in base64url.
    ///
    /// ```
    /// use chat_auth::SigningKey;
    ///
    /// let secret = SigningKey::new_secret()?;
    /// assert!(SigningKey::from_secret(secret.as_bytes()).is_ok());
    /// # Ok::<(), chat_auth::SignError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SignError`] if the operating system has no random numbers.
    pub fn new_secret() -> Result<String, SignError> {
        let mut secret = [0; MIN_SECRET_BYTES];
        getrandom::fill(&mut secret).map_err(|_| SignError)?;
        Ok(BASE64_URL_SAFE_NO_PAD.encode(secret))
    }

    /// Reads a private key in the PEM format of PKCS #8: RSA for RS256, EC on P-256 for ES256, or Ed25519 for EdDSA.
    ///
    /// # Errors
    ///
    /// [`InvalidKey::Pem`] or [`InvalidKey::Unsupported`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, InvalidKey> {
        let document = pem::private_key(pem)?;
        let (der, rng) = (document.as_bytes(), SystemRandom::new());
        let rsa = || RsaKeyPair::from_pkcs8(der).ok().map(Pair::Rsa);
        let p256 =
            || EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &rng).ok().map(Pair::P256);
        // The file has no public key if it was made with openssl.
        let ed25519 = || Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok().map(Pair::Ed25519);
        let pair = rsa().or_else(p256).or_else(ed25519).ok_or(InvalidKey::Unsupported)?;
        Ok(Self { id: None, pair })
    }

    /// Sets the `kid` that tokens name.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Returns the `kid`.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Returns the algorithm.
    pub fn algorithm(&self) -> Algorithm {
        match self.pair {
            Pair::Secret(_) => Algorithm::Hs256,
            Pair::Rsa(_) => Algorithm::Rs256,
            Pair::P256(_) => Algorithm::Es256,
            Pair::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, error::Unspecified> {
        let rng = SystemRandom::new();
        Ok(match &self.pair {
            Pair::Secret(key) => hmac::sign(key, message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &rng, message, &mut signature)?;
                signature
            }
            Pair::P256(pair) => pair.sign(&rng, message)?.as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}
