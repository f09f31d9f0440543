use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::{Algorithm, Rejection, json};

/// The types of tokens that are accepted. Other types are for other purposes (RFC 8725 section 3.11).
const TYPES: [&str; 4] = ["jwt", "at+jwt", "application/jwt", "application/at+jwt"];

/// A token in the compact form (RFC 7515 section 7.1), whose signature is not verified yet.
pub(super) struct Compact<'a> {
    pub(super) algorithm: Algorithm,
    /// The `kid`.
    pub(super) key_id: Option<String>,
    signed: &'a [u8],
    payload: &'a str,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    /// Extensions that a reader must understand. None is understood here.
    crit: Option<IgnoredAny>,
}

impl<'a> Compact<'a> {
    /// Parses a token. The base64 must be canonical, so a signature has one spelling.
    pub(super) fn parse(token: &'a str) -> Result<Self, Rejection> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Rejection::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Rejection::Malformed)?;
        if payload.contains('.') {
            return Err(Rejection::Malformed);
        }
        let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| Rejection::Malformed);
        let (header, signature) = (decode(header)?, decode(signature)?);
        let header: Header = json::object(&header).ok_or(Rejection::Header)?;
        let is_known = |typ: String| TYPES.contains(&&*typ.to_ascii_lowercase());
        if header.crit.is_some() || !header.typ.is_none_or(is_known) {
            return Err(Rejection::Header);
        }
        let algorithm = Algorithm::from_name(&header.alg).ok_or(Rejection::Algorithm)?;
        Ok(Self { algorithm, key_id: header.kid, signed: signed.as_bytes(), payload, signature })
    }

    /// Returns the payload if one of the keys verifies the signature.
    pub(super) fn verify<'k>(
        &self,
        keys: impl Iterator<Item = &'k crate::VerifyingKey>,
    ) -> Result<Vec<u8>, Rejection> {
        let mut keys = keys.peekable();
        if keys.peek().is_none() {
            return Err(Rejection::UnknownKey);
        }
        if !keys.into_iter().any(|key| key.verifies(self.signed, &self.signature)) {
            return Err(Rejection::Signature);
        }
        BASE64_URL_SAFE_NO_PAD.decode(self.payload).map_err(|_| Rejection::Malformed)
    }
}
