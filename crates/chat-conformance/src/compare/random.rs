/// Fields whose values are random, a time, or made of one.
const RANDOM: [&str; 5] = ["at", "epoch", "connection", "reconnect_in_ms", "retry_after_ms"];

pub(super) fn timeless_text(text: &str) -> Vec<u8> {
    timeless(text.as_bytes())
}

/// JSON without what is random in it; all other bytes are as they were.
pub(super) fn timeless(json: &[u8]) -> Vec<u8> {
    without(&RANDOM, json)
}

/// JSON with `~` in place of the value of each of these fields, numbers or short texts.
pub(super) fn without(fields: &[&str], json: &[u8]) -> Vec<u8> {
    let mut bytes = json.to_vec();
    for field in fields {
        // A quote within a string is escaped: this is nowhere but where a field begins.
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
