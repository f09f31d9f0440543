//! A strict JSON reader: one object, no key twice at any depth, every string decodable.
//!
//! `serde_json` alone accepts an array for a struct, keeps the last of two equal keys, skips unknown values
//! without checking them, and quotes the input in its errors.

mod strict;
mod value;

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use self::strict::{Key, Keys, Walk};
use self::value::Value;
use super::MAX_INTEGER;
use crate::ErrorCode;

/// The fields that commands have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wire) enum Field {
    Active,
    After,
    Before,
    Body,
    Epoch,
    Join,
    Key,
    Last,
    Limit,
    Mentions,
    On,
    Post,
    Query,
    Reaction,
    Reason,
    Receipts,
    Ref,
    ReplyTo,
    Rev,
    Role,
    Room,
    Seq,
    Seqs,
    Thread,
    Title,
    Token,
    Type,
    Until,
    User,
    What,
    With,
}

impl Field {
    fn of(key: &str) -> Option<Self> {
        Some(match key {
            "active" => Self::Active,
            "after" => Self::After,
            "before" => Self::Before,
            "body" => Self::Body,
            "epoch" => Self::Epoch,
            "join" => Self::Join,
            "key" => Self::Key,
            "last" => Self::Last,
            "limit" => Self::Limit,
            "mentions" => Self::Mentions,
            "on" => Self::On,
            "post" => Self::Post,
            "query" => Self::Query,
            "reaction" => Self::Reaction,
            "reason" => Self::Reason,
            "receipts" => Self::Receipts,
            "ref" => Self::Ref,
            "reply_to" => Self::ReplyTo,
            "rev" => Self::Rev,
            "role" => Self::Role,
            "room" => Self::Room,
            "seq" => Self::Seq,
            "seqs" => Self::Seqs,
            "thread" => Self::Thread,
            "title" => Self::Title,
            "token" => Self::Token,
            "type" => Self::Type,
            "until" => Self::Until,
            "user" => Self::User,
            "what" => Self::What,
            "with" => Self::With,
            _ => return None,
        })
    }

    /// Returns true if some command has an object or a list in this field.
    fn may_be_nested(self) -> bool {
        matches!(self, Self::After | Self::Body | Self::Mentions | Self::Seqs)
    }
}

/// The number of fields that need no allocation. More are possible, and unusual.
const FEW_FIELDS: usize = 6;

/// The fields of one JSON object that commands know, read in one pass. Each field occurs once.
#[derive(Debug, Default)]
pub(in crate::wire) struct Fields<'a>(SmallVec<[(Field, Value<'a>); FEW_FIELDS]>);

impl<'a> Fields<'a> {
    /// Reads a whole frame.
    pub(in crate::wire) fn parse(text: &'a [u8]) -> Result<Self, ErrorCode> {
        let text = std::str::from_utf8(text).map_err(|_| ErrorCode::BadJson)?;
        serde_json::from_str(text).map_err(|_| strict::error(text))
    }

    /// Reads the `ref` and the `room` of a frame that [`parse`](Self::parse) refuses. Of equal keys, the last counts.
    pub(in crate::wire) fn parse_lenient(text: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        serde_json::from_str(text).map(|Lenient(fields)| fields).ok()
    }

    /// Returns a string field.
    pub(in crate::wire) fn string(
        &self,
        field: Field,
        rule: &'static str,
    ) -> Result<Option<&str>, ErrorCode> {
        match self.get(field) {
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(ErrorCode::BadCommand(rule)),
            None => Ok(None),
        }
    }

    /// Returns a string field that other commands have as an object.
    pub(in crate::wire) fn text(
        &self,
        field: Field,
        rule: &'static str,
    ) -> Result<Option<String>, ErrorCode> {
        match self.get(field) {
            Some(Value::Text(text)) => Ok(Some(text.to_string())),
            Some(Value::Raw(raw)) => {
                serde_json::from_str(raw.get()).map(Some).map_err(|_| ErrorCode::BadCommand(rule))
            }
            Some(_) => Err(ErrorCode::BadCommand(rule)),
            None => Ok(None),
        }
    }

    /// Returns a field that is `true` or `false`.
    pub(in crate::wire) fn boolean(
        &self,
        field: Field,
        rule: &'static str,
    ) -> Result<Option<bool>, ErrorCode> {
        match self.get(field) {
            Some(Value::Boolean(boolean)) => Ok(Some(*boolean)),
            Some(_) => Err(ErrorCode::BadCommand(rule)),
            None => Ok(None),
        }
    }

    /// Returns an integer field from 0 to 2^53 - 1.
    pub(in crate::wire) fn integer(
        &self,
        field: Field,
        rule: &'static str,
    ) -> Result<Option<u64>, ErrorCode> {
        let number = match self.get(field) {
            Some(Value::Integer(number)) => Some(*number),
            Some(Value::Raw(raw)) => serde_json::from_str(raw.get()).ok(),
            Some(_) => None,
            None => return Ok(None),
        };
        number.filter(|number| *number <= MAX_INTEGER).map(Some).ok_or(ErrorCode::BadCommand(rule))
    }

    /// Returns a field that is an object, as its text.
    pub(in crate::wire) fn object(
        &self,
        field: Field,
        rule: &'static str,
    ) -> Result<Option<&'a RawValue>, ErrorCode> {
        match self.get(field) {
            Some(Value::Raw(raw)) if raw.get().starts_with('{') => Ok(Some(raw)),
            Some(_) => Err(ErrorCode::BadCommand(rule)),
            None => Ok(None),
        }
    }

    /// Returns a field that is a list of at most `max` integers from 0 to 2^53 - 1.
    pub(in crate::wire) fn integers(
        &self,
        field: Field,
        max: usize,
        rule: &'static str,
    ) -> Result<Option<Vec<u64>>, ErrorCode> {
        let numbers: Vec<u64> = match self.get(field) {
            Some(Value::Raw(raw)) => {
                serde_json::from_str(raw.get()).map_err(|_| ErrorCode::BadCommand(rule))?
            }
            Some(_) => return Err(ErrorCode::BadCommand(rule)),
            None => return Ok(None),
        };
        let is_valid = numbers.len() <= max && numbers.iter().all(|number| *number <= MAX_INTEGER);
        if is_valid { Ok(Some(numbers)) } else { Err(ErrorCode::BadCommand(rule)) }
    }

    /// Returns a field that [may be an object or a list](Field::may_be_nested), as its text.
    pub(in crate::wire) fn raw(&self, field: Field) -> Option<&'a RawValue> {
        match self.get(field) {
            Some(Value::Raw(raw)) => Some(raw),
            _ => None,
        }
    }

    /// Returns the fields of a field that is an object.
    pub(in crate::wire) fn nested(
        &self,
        field: Field,
        rule: &'static str,
    ) -> Result<Option<Self>, ErrorCode> {
        let Some(raw) = self.object(field, rule)? else {
            return Ok(None);
        };
        serde_json::from_str(raw.get()).map(Some).map_err(|_| ErrorCode::BadJson)
    }

    /// Returns true if the object has this field.
    pub(in crate::wire) fn has(&self, field: Field) -> bool {
        self.get(field).is_some()
    }

    fn get(&self, field: Field) -> Option<&Value<'a>> {
        self.0.iter().find(|(known, _)| *known == field).map(|(_, value)| value)
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let (mut fields, mut unknown) = (Fields::default(), Keys::default());
        while let Some(key) = map.next_key::<Key<'de>>()? {
            let Some(field) = Field::of(&key.0) else {
                map.next_value_seed(Walk::WHOLE)?;
                unknown.insert(key)?;
                continue;
            };
            let value = if field.may_be_nested() {
                let raw: &RawValue = map.next_value()?;
                strict::check(raw).map_err(de::Error::custom)?;
                Value::Raw(raw)
            } else {
                map.next_value()?
            };
            if fields.has(field) {
                return Err(strict::key_twice());
            }
            fields.0.push((field, value));
        }
        Ok(fields)
    }
}

/// The fields that the reply to an invalid frame needs.
struct Lenient<'a>(Fields<'a>);

impl<'de> Deserialize<'de> for Lenient<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(LenientVisitor).map(Self)
    }
}

struct LenientVisitor;

impl<'de> Visitor<'de> for LenientVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields::default();
        while let Some(key) = map.next_key::<Key<'de>>()? {
            match Field::of(&key.0) {
                Some(field @ (Field::Ref | Field::Room)) => {
                    let raw: &RawValue = map.next_value()?;
                    let value = serde_json::from_str(raw.get()).unwrap_or(Value::Other);
                    fields.0.retain(|(known, _)| *known != field);
                    fields.0.push((field, value));
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(fields)
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
            let text = format!("{{\"limit\":{number}}}");
            let fields = Fields::parse(text.as_bytes()).unwrap();
            assert_eq!(fields.integer(Field::Limit, "limit").ok().flatten(), expected, "{number}");
        }
    }
}
