use spki::der::asn1::UintRef;
use spki::der::{Decode, Document, Reader, SliceReader};
use spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};

use super::{InvalidKey, VerifyingKey};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Reads a `PUBLIC KEY` (RFC 5280 section 4.1).
pub(super) fn public_key(pem: &[u8]) -> Result<VerifyingKey, InvalidKey> {
    let document = document(pem, "PUBLIC KEY")?;
    let key = SubjectPublicKeyInfoRef::from_der(document.as_bytes()).map_err(|_| InvalidKey::Unsupported)?;
    let bytes = key.subject_public_key.as_bytes().ok_or(InvalidKey::Unsupported)?;
    if key.algorithm.oid == RSA {
        let (modulus, exponent) = rsa_numbers(bytes).map_err(|_| InvalidKey::Unsupported)?;
        VerifyingKey::rsa(modulus, exponent)
    } else if key.algorithm.oid == EC && key.algorithm.parameters_oid() == Ok(P256) {
        VerifyingKey::p256(bytes.to_vec())
    } else if key.algorithm.oid == ED25519 {
        VerifyingKey::ed25519(bytes.to_vec())
    } else {
        Err(InvalidKey::Unsupported)
    }
}

/// Reads a `PRIVATE KEY` (PKCS #8, RFC 5208).
pub(super) fn private_key(pem: &[u8]) -> Result<Document, InvalidKey> {
    document(pem, "PRIVATE KEY")
}

fn document(pem: &[u8], expected: &str) -> Result<Document, InvalidKey> {
    let pem = str::from_utf8(pem).map_err(|_| InvalidKey::Pem)?;
    match Document::from_pem(pem) {
        Ok((label, document)) if label == expected => Ok(document),
        _ => Err(InvalidKey::Pem),
    }
}

/// Returns the modulus and the exponent of an RSA public key (RFC 8017 appendix A.1.1).
fn rsa_numbers(der: &[u8]) -> spki::der::Result<(&[u8], &[u8])> {
    SliceReader::new(der)?
        .sequence(|reader| Ok((UintRef::decode(reader)?.as_bytes(), UintRef::decode(reader)?.as_bytes())))
}
