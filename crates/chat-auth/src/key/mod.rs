//! Keys that verify and sign tokens.

mod algorithm;
mod jwk;
mod pem;
mod set;
mod signing;

use std::fmt;

use ring::hmac;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};

pub use algorithm::Algorithm;
pub use set::KeySet;
pub use signing::SigningKey;

/// The shortest secret of HS256 in bytes (RFC 7518 section 3.2).
pub(crate) const MIN_SECRET_BYTES: usize = 32;

/// The shortest and the longest modulus of RSA in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// The first byte of a point of an elliptic curve that is not compressed, and the length of a point of P-256.
const UNCOMPRESSED: u8 = 4;
const P256_POINT_BYTES: usize = 65;

const ED25519_BYTES: usize = 32;

/// A key that verifies the signatures of tokens, with one algorithm.
///
/// ```
/// use chat_auth::{Algorithm, VerifyingKey};
///
/// let key = VerifyingKey::from_secret(b"a secret of 32 bytes, or longer.")?.with_id("2026-11");
/// assert_eq!((key.algorithm(), key.id()), (Algorithm::Hs256, Some("2026-11")));
/// assert!(VerifyingKey::from_secret(b"too short").is_err());
/// # Ok::<(), chat_auth::InvalidKey>(())
/// ```
#[derive(Clone)]
pub struct VerifyingKey {
    id: Option<String>,
    material: Material,
}

#[derive(Clone)]
enum Material {
    Secret(hmac::Key),
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// The reason why a text is no key. It repeats nothing of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// The secret has less than 32 bytes.
    #[error("a secret has at least 32 bytes: make one with `openssl rand -base64 32`")]
    ShortSecret,
    /// The file of a secret has a key in the PEM format.
    #[error("the file has a PEM key, which is no secret")]
    NotSecret,
    /// The secret of a header is not UTF-8.
    #[error("a secret that is sent in a header is text")]
    NotText,
    /// The text is not a PEM key of the expected kind.
    #[error("the key is not in the PEM format: expected `PUBLIC KEY`, or `PRIVATE KEY` to sign")]
    Pem,
    /// The key is damaged, or of a kind that is not supported.
    #[error("the key is damaged or not supported: expected RSA, EC on P-256, or Ed25519")]
    Unsupported,
    /// The modulus of the RSA key has less than 2,048 or more than 8,192 bits.
    #[error("an RSA key has 2048 to 8192 bits")]
    RsaSize,
    /// The text is not a JSON Web Key Set (RFC 7517 section 5).
    #[error("this is not a JSON Web Key Set")]
    Jwks,
    /// The key set has no key that can be used.
    #[error("the key set has no key for RS256, ES256 or EdDSA")]
    NoKey,
    /// The key set has more than 32 keys that can be used.
    #[error("the key set has more than 32 keys")]
    TooManyKeys,
}

impl VerifyingKey {
    /// Returns the key of a secret, for HS256.
    ///
    /// # Errors
    ///
    /// [`InvalidKey::ShortSecret`] for less than 32 bytes.
    pub fn from_secret(secret: &[u8]) -> Result<Self, InvalidKey> {
        Ok(Self { id: None, material: Material::Secret(secret_key(secret)?) })
    }

    /// Reads a public key in the PEM format: RSA for RS256, EC on P-256 for ES256, or Ed25519 for EdDSA.
    ///
    /// # Errors
    ///
    /// [`InvalidKey::Pem`], [`InvalidKey::Unsupported`] or [`InvalidKey::RsaSize`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, InvalidKey> {
        pem::public_key(pem)
    }

    /// Sets the `kid`. A token that names a `kid` is verified only by keys with this id, and by keys without an id.
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
        match self.material {
            Material::Secret(_) => Algorithm::Hs256,
            Material::Rsa { .. } => Algorithm::Rs256,
            Material::P256(_) => Algorithm::Es256,
            Material::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// Returns true if the signature of the message is that of this key.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match &self.material {
            Material::Secret(key) => hmac::verify(key, message, signature),
            Material::Rsa { modulus, exponent } => RsaPublicKeyComponents { n: modulus, e: exponent }.verify(
                &RSA_PKCS1_2048_8192_SHA256,
                message,
                signature,
            ),
            Material::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            Material::Ed25519(point) => UnparsedPublicKey::new(&ED25519, point).verify(message, signature),
        };
        verified.is_ok()
    }

    fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, InvalidKey> {
        let strip = |bytes: &[u8]| bytes.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
        let (modulus, exponent) = (strip(modulus), strip(exponent));
        let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
        if !RSA_BITS.contains(&bits) {
            return Err(InvalidKey::RsaSize);
        }
        let is_exponent =
            (1..=4).contains(&exponent.len()) && exponent.last().is_some_and(|last| last % 2 == 1);
        if !is_exponent || exponent == [1] {
            return Err(InvalidKey::Unsupported);
        }
        Ok(Self { id: None, material: Material::Rsa { modulus, exponent } })
    }

    /// Returns the key of a point that is not compressed. A point that is not on the curve verifies nothing.
    fn p256(point: Vec<u8>) -> Result<Self, InvalidKey> {
        if point.len() != P256_POINT_BYTES || point.first() != Some(&UNCOMPRESSED) {
            return Err(InvalidKey::Unsupported);
        }
        Ok(Self { id: None, material: Material::P256(point) })
    }

    fn ed25519(point: Vec<u8>) -> Result<Self, InvalidKey> {
        if point.len() != ED25519_BYTES {
            return Err(InvalidKey::Unsupported);
        }
        Ok(Self { id: None, material: Material::Ed25519(point) })
    }
}

fn secret_key(secret: &[u8]) -> Result<hmac::Key, InvalidKey> {
    if secret.len() < MIN_SECRET_BYTES {
        return Err(InvalidKey::ShortSecret);
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, secret))
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
