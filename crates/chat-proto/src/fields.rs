//! JSON read strictly: one object, no key twice at any depth, every string decodable.
//!
//! `serde_json` alone would take an array for a struct, keep the last of two equal keys, skip unknown
//! values to any depth unread, and quote the input in its errors.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::ErrorCode;

/// The largest integer that every JSON reader can hold (2^53 - 1).
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// The fields of one JSON object, each as the text it was sent as.
#[derive(Debug)]
pub(crate) struct Fields<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Fields<'a> {
    /// Reads a whole frame.
    pub(crate) fn parse(text: &'a [u8]) -> Result<Self, ErrorCode> {
        let text = std::str::from_utf8(text).map_err(|_| ErrorCode::BadJson)?;
        serde_json::from_str::<Strict>(text).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => ErrorCode::BadCommand("an object has a key twice"),
            _ => ErrorCode::BadJson,
        })?;
        serde_json::from_str(text).map(Self).map_err(|_| ErrorCode::BadJson)
    }

    /// Reads a frame that [`parse`](Self::parse) refuses, as far as that goes; of equal keys the last counts.
    pub(crate) fn salvage(text: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(text).ok().map(Self)
    }

    /// A string field.
    pub(crate) fn string(&self, name: &str, otherwise: &'static str) -> Result<Option<String>, ErrorCode> {
        self.read(name, otherwise)
    }

    /// A field that is `true` or `false`.
    pub(crate) fn boolean(&self, name: &str, otherwise: &'static str) -> Result<Option<bool>, ErrorCode> {
        self.read(name, otherwise)
    }

    /// An integer field from 0 to 2^53 - 1.
    pub(crate) fn integer(&self, name: &str, otherwise: &'static str) -> Result<Option<u64>, ErrorCode> {
        match self.read::<u64>(name, otherwise)? {
            Some(number) if number > MAX_INTEGER => Err(ErrorCode::BadCommand(otherwise)),
            number => Ok(number),
        }
    }

    /// A field that is an object, as its text.
    pub(crate) fn object(
        &self,
        name: &str,
        otherwise: &'static str,
    ) -> Result<Option<&'a RawValue>, ErrorCode> {
        match self.0.get(name) {
            Some(raw) if raw.get().starts_with('{') => Ok(Some(raw)),
            Some(_) => Err(ErrorCode::BadCommand(otherwise)),
            None => Ok(None),
        }
    }

    /// The fields of a field that is an object.
    pub(crate) fn nested(&self, name: &str, otherwise: &'static str) -> Result<Option<Self>, ErrorCode> {
        let Some(raw) = self.object(name, otherwise)? else {
            return Ok(None);
        };
        serde_json::from_str(raw.get()).map(|fields| Some(Self(fields))).map_err(|_| ErrorCode::BadJson)
    }

    fn read<T: Deserialize<'a>>(&self, name: &str, otherwise: &'static str) -> Result<Option<T>, ErrorCode> {
        let Some(raw) = self.0.get(name) else {
            return Ok(None);
        };
        serde_json::from_str(raw.get()).map(Some).map_err(|_| ErrorCode::BadCommand(otherwise))
    }
}

/// Accepts one JSON object in which, at every depth, no key stands twice; keeps nothing of it.
struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Walk).map(|()| Self)
    }
}

/// Reads any value to its end. Depth is bounded by `serde_json`'s own recursion limit (128).
struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            map.next_value_seed(self.again())?;
            if !seen.insert(key) {
                return Err(de::Error::custom("a key stands twice"));
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(self.again())?.is_some() {}
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

impl Walk {
    fn again(&self) -> Self {
        Self
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
    fn what_is_not_one_object_is_bad_json() {
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
    fn a_key_that_stands_twice_is_a_bad_command_at_any_depth() {
        for text in ["{\"a\":1,\"a\":2}", "{\"x\":{\"a\":1,\"a\":1}}", "{\"x\":[{\"a\":1,\"\\u0061\":1}]}"] {
            assert!(matches!(Fields::parse(text.as_bytes()), Err(ErrorCode::BadCommand(_))), "{text}");
        }
    }

    #[test]
    fn integers_are_whole_not_negative_and_below_two_to_the_53() {
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
