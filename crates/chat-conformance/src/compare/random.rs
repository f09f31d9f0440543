/// Fields whose values are random, or derived from a time.
const RANDOM: [&str; 7] =
    ["at", "until", "epoch", "expires_at", "connection", "reconnect_in_ms", "retry_after_ms"];

pub(super) fn timeless_text(text: &str) -> Vec<u8> {
    timeless(text.as_bytes())
}

/// Replaces the random values in JSON. All other bytes stay.
pub(super) fn timeless(json: &[u8]) -> Vec<u8> {
    without(&RANDOM, json)
}

/// Replaces the value of each of these fields, a number or a short text, by `~`.
pub(super) fn without(fields: &[&str], json: &[u8]) -> Vec<u8> {
    let mut bytes = json.to_vec();
    for field in fields {
        // A quote inside a string is escaped: so this matches only the start of a field.
        let name = format!("\"{field}\":");
        let mut from = 0;
        while let Some(found) = bytes[from..].windows(name.len()).position(|window| window == name.as_bytes())
        {
            from += found + name.len();
            let is_text = bytes.get(from) == Some(&b'"');
            from += usize::from(is_text);
            let ends = |byte: &u8| if is_text { *byte == b'"' } else { !byte.is_ascii_digit() };
            let length = bytes[from..].iter().position(ends).unwrap_or(bytes.len() - from);
            bytes.splice(from..from + length, *b"~");
        }
    }
    bytes
}

pub(super) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
