//! A digest of 20 bytes as hexadecimal digits.

use std::borrow::Cow;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

pub(super) fn serialize<S: Serializer>(digest: &[u8; 20], serializer: S) -> Result<S::Ok, S::Error> {
    let digits = digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    serializer.serialize_str(&digits)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 20], D::Error> {
    let text = Cow::<str>::deserialize(deserializer)?;
    parse(&text).ok_or_else(|| D::Error::custom("a digest has 40 hexadecimal digits"))
}

fn parse(text: &str) -> Option<[u8; 20]> {
    let mut digest = [0; 20];
    let is_hex = text.len() == 40 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    for (byte, at) in digest.iter_mut().zip((0..).step_by(2)).filter(|_| is_hex) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    is_hex.then_some(digest)
}
