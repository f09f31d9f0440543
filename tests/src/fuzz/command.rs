use fastrand::Rng;
use serde_json::{Map, Value};

use super::bytes::mutate_bytes;
use super::dictionary::{MEMBERS, TEXTS, VALUES};

/// The string that marks the place of a raw value.
const MARK: &str = "\u{e000}mark\u{e000}";

/// The longest text in bytes that repeats one character. It is below the limit of a frame.
const MAX_TEXT: usize = 15_000;

/// Returns a command that differs from `text` in a value or two, and may be no command at all.
pub(super) fn mutate_command(rng: &mut Rng, text: &str) -> String {
    let Ok(Value::Object(mut members)) = serde_json::from_str(text) else {
        return mutate_text(rng, text);
    };
    let raw = match rng.u8(..8) {
        0 => return add_member(rng, text),
        1 => return mutate_text(rng, text),
        2 => {
            let name = rng.choice(members.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
            members.remove(&name);
            return Value::Object(members).to_string();
        }
        3 => string(&long_text(rng)),
        4 => string(rng.choice(TEXTS).unwrap_or_default()),
        5 => nested(rng),
        _ => rng.choice(VALUES).unwrap_or_default().to_owned(),
    };
    let Some(value) = random_value(rng, &mut members) else { return add_member(rng, text) };
    *value = Value::from(MARK);
    Value::Object(members).to_string().replace(&string(MARK), &raw)
}

fn add_member(rng: &mut Rng, text: &str) -> String {
    let member = rng.choice(MEMBERS).unwrap_or_default();
    if rng.bool() {
        text.replacen('{', &format!("{{{member},"), 1)
    } else {
        let (before, after) = text.rsplit_once('}').unwrap_or((text, ""));
        format!("{before},{member}}}{after}")
    }
}

fn mutate_text(rng: &mut Rng, text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    mutate_bytes(rng, &mut bytes, "{\"type\":\"send\",\"room\":\"lobby\"}\u{2028}\\u0000".as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns a member of an object, or of an object in it.
fn random_value<'m>(rng: &mut Rng, members: &'m mut Map<String, Value>) -> Option<&'m mut Value> {
    let value = rng.choice(members.values_mut())?;
    let is_parent = value.as_object().is_some_and(|members| !members.is_empty());
    if !is_parent || rng.bool() {
        return Some(value);
    }
    random_value(rng, value.as_object_mut()?)
}

/// Returns a text of one character or a few of them, of a length around the limits of names, keys, bodies and frames.
fn long_text(rng: &mut Rng) -> String {
    let unit = match rng.u8(..3) {
        0 => "a".to_owned(),
        1 => rng.char(..).to_string(),
        _ => rng.choice(TEXTS).unwrap_or_default().to_owned(),
    };
    let bytes = rng.choice([32, 33, 64, 65, 128, 256, 257, 4_096, 4_097, MAX_TEXT]).unwrap_or(1);
    unit.repeat(bytes / unit.len().max(1))
}

/// Returns a nested value, whose depth is around the limit of the JSON parser or far above it.
fn nested(rng: &mut Rng) -> String {
    let depth = rng.choice([2, 62, 126, 127, 128, 129, 2_500]).unwrap_or(2);
    let (open, close) = rng.choice([("[", "]"), ("{\"a\":", "}")]).unwrap_or_default();
    let value = if open == "[" { "" } else { "0" };
    format!("{}{value}{}", open.repeat(depth), close.repeat(depth))
}

fn string(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_mutated_into_valid_and_invalid_json() {
        let mut rng = Rng::with_seed(1);
        let command = r#"{"type":"send","room":"lobby","body":{"text":"x","more":{"a":1}}}"#;
        let mutated: Vec<_> = (0..1_000).map(|_| mutate_command(&mut rng, command)).collect();
        let valid = mutated.iter().filter(|text| serde_json::from_str::<Value>(text).is_ok()).count();
        assert!((400..990).contains(&valid), "{valid} of 1000 are JSON");
        let is_nested = |text: &String| text.contains(r#""more":{"a":"#) && !text.contains(r#""a":1}"#);
        assert!(mutated.iter().any(is_nested), "no nested value is replaced");
        assert!(mutated.iter().all(|text| !text.contains(MARK)));
    }
}
