//! The mistake in the JSON body of a call, in words that repeat nothing of the body. A body is read in this way only
//! after it was refused.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, Expected, IntoDeserializer, MapAccess,
    Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::Value;
use serde_json::map::Iter;

/// A mistake, and the fields around it. All names are those of the type.
#[derive(Debug)]
pub(super) struct Mistake {
    /// From the innermost field to the outermost one.
    path: Vec<&'static str>,
    text: String,
}

/// Returns the first mistake of a body, or `None` if it has the form of the type.
pub(super) fn find<T: DeserializeOwned>(body: &Value) -> Option<Mistake> {
    T::deserialize(Node(body)).err()
}

impl Mistake {
    fn new(text: impl Into<String>) -> Self {
        Self { path: Vec::new(), text: text.into() }
    }

    fn inside(mut self, field: Option<&'static str>) -> Self {
        self.path.extend(field);
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path: Vec<_> = self.path.iter().rev().copied().collect();
        match &*path {
            [] => f.write_str("the body")?,
            path => write!(f, "`{}`", path.join("."))?,
        }
        write!(f, " {}", self.text)
    }
}

impl std::error::Error for Mistake {}

impl Error for Mistake {
    /// Leaves the text out, because it could repeat a part of the body.
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::new("is not valid")
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("must be {expected}"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        one_of(expected)
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("has an unknown field; its fields are {}", names(expected)))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new("is missing").inside(Some(field))
    }
}

fn one_of(variants: &[&str]) -> Mistake {
    Mistake::new(format!("must be one of {}", names(variants)))
}

fn names(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// A part of a body.
#[derive(Clone, Copy)]
struct Node<'a>(&'a Value);

impl<'de> Node<'de> {
    fn integer<V: Visitor<'de>>(self, visitor: V, max: u64) -> Result<V::Value, Mistake> {
        let wrong = |_| Mistake::new(format!("must be an integer from 0 to {max}"));
        self.deserialize_any(visitor).map_err(wrong)
    }
}

impl<'de> IntoDeserializer<'de, Mistake> for Node<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (None, Some(number)) => visitor.visit_i64(number),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or_default()),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => visitor.visit_seq(SeqDeserializer::new(items.iter().map(Node))),
            Value::Object(members) => {
                let members = members.iter().map(|(key, value)| (key.as_str(), Node(value)));
                visitor.visit_map(MapDeserializer::new(members))
            }
        }
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.integer(visitor, u32::MAX.into())
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.integer(visitor, u64::MAX)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        if self.0.is_object() {
            self.deserialize_any(visitor)
        } else {
            Err(Mistake::new("must be an object"))
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        match self.0 {
            Value::Object(members) => {
                visitor.visit_map(Fields { fields, members: members.iter(), next: None })
            }
            _ => Err(Mistake::new("must be an object")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        match self.0 {
            Value::String(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            _ => Err(one_of(variants)),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct
        identifier ignored_any
    }
}

/// The members of an object, whose type has these fields.
struct Fields<'de> {
    fields: &'static [&'static str],
    members: Iter<'de>,
    /// The field whose value is next, and the value.
    next: Option<(Option<&'static str>, Node<'de>)>,
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mistake> {
        let Some((key, value)) = self.members.next() else { return Ok(None) };
        self.next = Some((self.fields.iter().copied().find(|field| field == key), Node(value)));
        seed.deserialize(key.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mistake> {
        let (field, value) = self.next.take().unwrap_or((None, Node(&Value::Null)));
        seed.deserialize(value).map_err(|mistake| mistake.inside(field))
    }
}

#[cfg(test)]
mod tests {
    use chat_auth::Grant;
    use serde_json::json;

    use super::super::moderation::{NewRestriction, NewRole};
    use super::*;

    fn mistake<T: DeserializeOwned>(body: &Value) -> String {
        find::<T>(body).map_or_else(|| "none".to_owned(), |mistake| mistake.to_string())
    }

    #[test]
    fn a_mistake_names_its_field_and_repeats_nothing_of_the_body() {
        let by = json!({"id": "service:ops", "name": "Ops"});
        for (body, expected) in [
            (json!({"by": by, "id": "7", "role": "owner"}), "none"),
            (json!([]), "the body must be an object"),
            (
                json!({"by": by, "id": "7", "rank": "s3cr3t"}),
                "the body has an unknown field; its fields are `by`, `id`, `role`",
            ),
            (json!({"by": by, "id": "7"}), "`role` is missing"),
            (json!({"by": "s3cr3t", "id": "7", "role": "owner"}), "`by` must be an object"),
            (json!({"by": {"id": "s3cr3t"}, "id": "7", "role": "owner"}), "`by.name` is missing"),
            (
                json!({"by": {"id": "1", "name": "2", "s3cr3t": 3}, "id": "7", "role": "owner"}),
                "`by` has an unknown field; its fields are `id`, `name`",
            ),
            (json!({"by": {"id": ["s3cr3t"], "name": "2"}}), "`by.id` must be a string"),
            (
                json!({"by": by, "id": "7", "role": "s3cr3t"}),
                "`role` must be one of `none`, `member`, `moderator`, `owner`",
            ),
            (
                json!({"by": by, "id": "7", "role": {"s3cr3t": 1}}),
                "`role` must be one of `none`, `member`, `moderator`, `owner`",
            ),
        ] {
            assert_eq!(mistake::<NewRole>(&body), expected, "{body}");
        }
    }

    #[test]
    fn a_mistake_in_a_number_or_in_a_map_names_the_field_of_the_type() {
        let wrong = "`until` must be an integer from 0 to 18446744073709551615";
        for until in [json!("s3cr3t"), json!(-1), json!(1.5), json!([1])] {
            let body =
                json!({"by": {"id": "1", "name": "2"}, "id": "7", "what": "mute", "until": until.clone()});
            assert_eq!(mistake::<NewRestriction>(&body), wrong, "{body}");
        }
        for (body, expected) in [
            (json!({"sub": "7", "rooms": {"s3cr3t-*": "member"}, "limits": {"rate": 1}}), "none"),
            (
                json!({"sub": "7", "rooms": {"s3cr3t-*": "king"}}),
                "`rooms` must be one of `none`, `member`, `moderator`, `owner`",
            ),
            (json!({"sub": "7", "rooms": []}), "`rooms` must be an object"),
            (json!({"sub": "7", "admin": "s3cr3t"}), "`admin` must be a boolean"),
            (
                json!({"sub": "7", "limits": {"rate": 4_294_967_296_u64}}),
                "`limits.rate` must be an integer from 0 to 4294967295",
            ),
        ] {
            assert_eq!(mistake::<Grant>(&body), expected, "{body}");
        }
    }
}
