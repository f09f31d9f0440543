use std::collections::hash_map::{Entry, HashMap};
use std::fmt;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Reads an object in which no member occurs twice, at any depth. Of two members with one name, readers choose
/// different ones (RFC 8725 section 2.4).
///
/// The depth is bounded by `serde_json`, and the size by the caller. Other members than those of `T` are ignored.
pub(crate) fn object<T: DeserializeOwned>(json: &[u8]) -> Option<T> {
    let Unique(value) = serde_json::from_slice(json).ok()?;
    // A struct can also be read from an array, which no standard allows here.
    if value.is_object() { serde_json::from_value(value).ok() } else { None }
}

/// A value without members that occur twice.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unique(value)) = values.next_element()? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = HashMap::new();
        while let Some((name, Unique(value))) = members.next_entry::<String, Unique>()? {
            match object.entry(name) {
                Entry::Vacant(entry) => entry.insert(value),
                Entry::Occupied(_) => return Err(A::Error::custom("a member occurs twice")),
            };
        }
        Ok(Value::Object(object.into_iter().collect::<Map<_, _>>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_with_a_member_twice_is_refused_at_any_depth() {
        for json in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"b":{"a":1,"a":2}}"#,
            r#"{"b":[{"a":1,"a":2}]}"#,
            "[1]",
            "1",
            r#"{"a":1} x"#,
            "{",
        ] {
            assert_eq!(object::<Value>(json.as_bytes()), None, "{json}");
        }
        let json = r#"{"a":[1,-1,1.5,null,true,"b",{"a":{}}],"b":{"a":1}}"#;
        assert_eq!(object::<Value>(json.as_bytes()), serde_json::from_str(json).ok());
    }

    #[test]
    fn deep_json_is_refused() {
        for depth in [1_000, 100_000] {
            let json = format!(r#"{{"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
            assert_eq!(object::<Value>(json.as_bytes()), None);
            let json = format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
            assert_eq!(object::<Value>(json.as_bytes()), None);
        }
    }
}
