use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use crate::ErrorCode;

/// The depth of objects and lists that `serde_json` reads.
const MAX_DEPTH: u8 = 127;

/// The number of keys of an object that are compared one by one.
const FEW_KEYS: usize = 8;

/// Returns the error of a text that is not one JSON object without a key that occurs twice. The first error in the
/// text decides.
pub(super) fn error(text: &str) -> ErrorCode {
    match serde_json::from_str::<Strict>(text) {
        Err(error) if error.is_data() => ErrorCode::BadCommand("an object has a key twice"),
        _ => ErrorCode::BadJson,
    }
}

/// Checks a field of the object that a text has.
pub(super) fn check(field: &RawValue) -> serde_json::Result<()> {
    Walk::FIELD.deserialize(&mut serde_json::Deserializer::from_str(field.get()))
}

/// A JSON value in which no object, at any depth, has a key twice. The value itself is not kept.
struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Walk::WHOLE.deserialize(deserializer).map(|()| Self)
    }
}

/// A visitor that reads any value to its end. It goes no deeper than this number of objects and lists.
#[derive(Clone, Copy)]
pub(super) struct Walk(u8);

impl Walk {
    /// The walk of a whole text, or of a value that is read as a part of it. `serde_json` counts the depth.
    pub(super) const WHOLE: Self = Self(MAX_DEPTH);

    /// The walk of a field of the object that a text has.
    const FIELD: Self = Self(MAX_DEPTH - 1);

    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        self.0.checked_sub(1).map(Self).ok_or_else(|| E::custom("a value is too deep"))
    }
}

impl<'de> Visitor<'de> for Walk {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let value = self.deeper()?;
        let mut keys = Keys::default();
        while let Some(key) = map.next_key()? {
            map.next_value_seed(value)?;
            keys.insert(key)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let element = self.deeper()?;
        while seq.next_element_seed(element)?.is_some() {}
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

impl<'de> DeserializeSeed<'de> for Walk {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// A key of an object, copied only if it has escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
pub(super) struct Key<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// The keys of one object. The first ones need no allocation.
#[derive(Default)]
pub(super) struct Keys<'a> {
    few: SmallVec<[Cow<'a, str>; FEW_KEYS]>,
    more: BTreeSet<Cow<'a, str>>,
}

impl<'a> Keys<'a> {
    /// Adds a key. It is an error if the object has the key already.
    pub(super) fn insert<E: de::Error>(&mut self, Key(key): Key<'a>) -> Result<(), E> {
        let is_new = if self.few.contains(&key) {
            false
        } else if self.few.len() < FEW_KEYS {
            self.few.push(key);
            true
        } else {
            self.more.insert(key)
        };
        if is_new { Ok(()) } else { Err(key_twice()) }
    }
}

/// Returns the error of an object that has a key twice.
pub(super) fn key_twice<E: de::Error>() -> E {
    E::custom("an object has a key twice")
}
