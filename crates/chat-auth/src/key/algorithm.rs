use std::fmt;

/// A signature algorithm (RFC 7518 section 3, RFC 8037).
///
/// Each key has exactly one. A token that names another algorithm than that of the key is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// HMAC with SHA-256: one secret signs and verifies.
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256 and a key of 2,048 to 8,192 bits.
    Rs256,
    /// ECDSA on the curve P-256 with SHA-256.
    Es256,
    /// `Ed25519`.
    EdDsa,
}

impl Algorithm {
    /// Returns the name in the header of a token.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Returns the algorithm of a name in the header of a token. `Ed25519` is the newer name of `EdDSA` (RFC 9864).
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "HS256" => Some(Self::Hs256),
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
