//! A strict JSON reader: one object, no key twice at any depth, every string decodable.
//!
//! `serde_json` alone accepts an array for a struct, keeps the last of two equal keys, skips unknown values
//! without checking them, and quotes the input in its errors.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::MAX_INTEGER;
use crate::ErrorCode;

/// The fields of one JSON object. Each value is the text that was sent.
#[derive(Debug)]
pub(in crate::wire) struct Fields<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Fields<'a> {
    /// Reads a whole frame.
    pub(in crate::wire) fn parse(text: &'a [u8]) -> Result<Self, ErrorCode> {
        let text = std::str::from_utf8(text).map_err(|_| ErrorCode::BadJson)?;
        serde_json::from_str::<Strict>(text).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => ErrorCode::BadCommand("an object has a key twice"),
            _ => ErrorCode::BadJson,
        })?;
        serde_json::from_str(text).map(Self).map_err(|_| ErrorCode::BadJson)
    }

    /// Reads a frame that [`parse`](Self::parse) refuses. Of equal keys, the last counts.
    pub(in crate::wire) fn parse_lenient(text: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(text).ok().map(Self)
    }

    /// Returns a string field.
    pub(in crate::wire) fn string(
        &self,
        name: &str,
        rule: &'static str,
    ) -> Result<Option<String>, ErrorCode> {
        self.read(name, rule)
    }

    /// Returns a field that is `true` or `false`.
    pub(in crate::wire) fn boolean(&self, name: &str, rule: &'static str) -> Result<Option<bool>, ErrorCode> {
        self.read(name, rule)
    }

    /// Returns an integer field from 0 to 2^53 - 1.
    pub(in crate::wire) fn integer(&self, name: &str, rule: &'static str) -> Result<Option<u64>, ErrorCode> {
        match self.read::<u64>(name, rule)? {
            Some(number) if number > MAX_INTEGER => Err(ErrorCode::BadCommand(rule)),
            number => Ok(number),
        }
    }

    /// Returns a field that is an object, as its text.
    pub(in crate::wire) fn object(
        &self,
        name: &str,
        rule: &'static str,
    ) -> Result<Option<&'a RawValue>, ErrorCode> {
        match self.0.get(name) {
            Some(raw) if raw.get().starts_with('{') => Ok(Some(raw)),
            Some(_) => Err(ErrorCode::BadCommand(rule)),
            None => Ok(None),
        }
    }

    /// Returns the fields of a field that is an object.
    pub(in crate::wire) fn nested(&self, name: &str, rule: &'static str) -> Result<Option<Self>, ErrorCode> {
        let Some(raw) = self.object(name, rule)? else {
            return Ok(None);
        };
        serde_json::from_str(raw.get()).map(|fields| Some(Self(fields))).map_err(|_| ErrorCode::BadJson)
    }

    fn read<T: Deserialize<'a>>(&self, name: &str, rule: &'static str) -> Result<Option<T>, ErrorCode> {
        let Some(raw) = self.0.get(name) else {
            return Ok(None);
        };
        serde_json::from_str(raw.get()).map(Some).map_err(|_| ErrorCode::BadCommand(rule))
    }
}

/// A JSON value in which no object, at any depth, has a key twice. The value itself is not kept.
struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Walk).map(|()| Self)
    }
}

/// A visitor that reads any value to its end. The recursion limit of `serde_json` (128) bounds the depth.
struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            map.next_value_seed(Self)?;
            if !seen.insert(key) {
                return Err(de::Error::custom("an object has a key twice"));
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Self)?.is_some() {}
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

impl<'de> de::DeserializeSeed<'de> for Walk {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_not_one_object_is_bad_json() {
        let deep = format!("{{\"x\":{}{}}}", "[".repeat(8_000), "]".repeat(8_000));
        let bad = [
            "",
            "  ",
            "1",
            "null",
            "[]",
            "[\"join\"]",
            "\"x\"",
            "\u{feff}{}",
            "NaN",
            "{\"a\":1,}",
            "{}{}",
            "{\"a\":NaN}",
            "{\"a\":1e400}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\n\"}",
            "{'a':1}",
            &"[".repeat(1_000_000),
            &deep,
        ];
        for text in bad {
            let shown: String = text.chars().take(40).collect();
            assert_eq!(Fields::parse(text.as_bytes()).unwrap_err(), ErrorCode::BadJson, "{shown}");
        }
        assert_eq!(Fields::parse(b"{\"a\":\"\xff\"}").unwrap_err(), ErrorCode::BadJson);
    }

    #[test]
    fn a_duplicate_key_is_a_bad_command_at_any_depth() {
        for text in ["{\"a\":1,\"a\":2}", "{\"x\":{\"a\":1,\"a\":1}}", "{\"x\":[{\"a\":1,\"\\u0061\":1}]}"] {
            assert!(matches!(Fields::parse(text.as_bytes()), Err(ErrorCode::BadCommand(_))), "{text}");
        }
    }

    #[test]
    fn an_integer_is_whole_not_negative_and_below_2_to_the_53() {
        for (number, expected) in [
            ("0", Some(0)),
            ("9007199254740991", Some(MAX_INTEGER)),
            ("9007199254740992", None),
            ("18446744073709551616", None),
            ("-1", None),
            ("1.0", None),
            ("\"1\"", None),
            ("null", None),
            ("[1]", None),
        ] {
            let text = format!("{{\"n\":{number}}}");
            let fields = Fields::parse(text.as_bytes()).unwrap();
            assert_eq!(fields.integer("n", "n").ok().flatten(), expected, "{number}");
        }
    }
}
