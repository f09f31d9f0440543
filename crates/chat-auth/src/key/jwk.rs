use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::{InvalidKey, UNCOMPRESSED, VerifyingKey};
use crate::json;

/// A JSON Web Key Set (RFC 7517 section 5).
#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Value>,
}

/// The members of a JSON Web Key (RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2) that count here.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

/// Reads the keys that verify signatures. Others are ignored (RFC 7517 section 5): keys of another kind or for another
/// use, and secrets, because a set is public.
pub(super) fn keys(set: &[u8]) -> Result<Vec<VerifyingKey>, InvalidKey> {
    let Jwks { keys } = json::object(set).ok_or(InvalidKey::Jwks)?;
    Ok(keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).filter_map(key).collect())
}

fn key(jwk: Jwk) -> Option<VerifyingKey> {
    let is_for_signatures = jwk.purpose.is_none_or(|purpose| purpose == "sig");
    let verifies = jwk.key_ops.is_none_or(|operations| operations.iter().any(|name| name == "verify"));
    if !is_for_signatures || !verifies {
        return None;
    }
    let bytes = |member: Option<String>| BASE64_URL_SAFE_NO_PAD.decode(member?).ok();
    let key = match (&*jwk.kty, jwk.crv.as_deref()) {
        ("RSA", _) => VerifyingKey::rsa(&bytes(jwk.n)?, &bytes(jwk.e)?),
        ("EC", Some("P-256")) => {
            VerifyingKey::p256([&[UNCOMPRESSED][..], &bytes(jwk.x)?, &bytes(jwk.y)?].concat())
        }
        ("OKP", Some("Ed25519")) => VerifyingKey::ed25519(bytes(jwk.x)?),
        _ => return None,
    };
    let key = key.ok()?;
    let fits = jwk.alg.is_none_or(|alg| super::Algorithm::from_name(&alg) == Some(key.algorithm()));
    let key = match jwk.kid {
        Some(id) => key.with_id(id),
        None => key,
    };
    fits.then_some(key)
}
