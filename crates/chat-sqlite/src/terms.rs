use chat_core::RoomName;
use chat_proto::fold;
use serde::Deserialize;
use serde_json::Value;

/// Characters of a term, but for those with which a word ends.
const LENGTH: usize = 3;

/// Words of a query that are looked for.
const QUERY_WORDS: usize = 32;

/// Terms of a word that the index is asked for: more would hardly tell more messages apart.
const WORD_TERMS: usize = 8;

/// With what the terms of a room begin, so that a search looks at its own room's alone. Rooms that share it by
/// chance are told apart later.
pub(crate) fn scope(room: &RoomName) -> String {
    format!("{:08x}", crc32fast::hash(room.as_str().as_bytes()))
}

/// What the index has of a message: for each character of each word in its body's texts, a term that begins there.
/// So a part of a word is made of terms, in every script.
pub(crate) fn of_frame(scope: &str, frame: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Message {
        body: Value,
    }
    let mut found = String::new();
    // What is nested too deep to be read is stored, and not found.
    if let Ok(message) = serde_json::from_slice::<Message>(frame) {
        collect(scope, &message.body, &mut found);
    }
    found
}

/// What the index is asked for: the terms in each word of a query. It finds all that a [`Scan`](chat_core::Scan)
/// does, and hardly more. None for a query of no words or too many.
///
/// No syntax of the query's own is left in it: each term stands in quotes, and has none.
pub(crate) fn pattern(scope: &str, query: &str) -> Option<String> {
    let folded = fold(query);
    let words: Vec<_> = folded.split_whitespace().collect();
    let terms: Vec<_> = words.iter().flat_map(|word| wanted(scope, word)).collect();
    (1..=QUERY_WORDS).contains(&words.len()).then(|| terms.join(" AND "))
}

fn wanted(scope: &str, word: &str) -> Vec<String> {
    let chars: Vec<_> = word.chars().map(plain).collect();
    let quoted = |chars: &[char]| format!("\"{scope}{}\"", chars.iter().collect::<String>());
    if chars.len() < LENGTH {
        // It may stand anywhere in a word, or at its end.
        return vec![quoted(&chars) + "*"];
    }
    chars.windows(LENGTH).take(WORD_TERMS).map(quoted).collect()
}

fn collect(scope: &str, value: &Value, found: &mut String) {
    match value {
        Value::String(text) => fold(text).split_whitespace().for_each(|word| add(scope, word, found)),
        Value::Array(values) => values.iter().for_each(|value| collect(scope, value, found)),
        Value::Object(fields) => fields.values().for_each(|value| collect(scope, value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn add(scope: &str, word: &str, found: &mut String) {
    for (at, _) in word.char_indices() {
        if !found.is_empty() {
            found.push(' ');
        }
        found.push_str(scope);
        found.extend(word[at..].chars().take(LENGTH).map(plain));
    }
}

/// The character, or what stands for it in the index where it would part terms there.
fn plain(c: char) -> char {
    const PRIVATE: u32 = 0xe000;
    let parts = c.is_ascii() && !c.is_ascii_alphanumeric();
    if parts { char::from_u32(PRIVATE + u32::from(c)).unwrap_or(c) } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indexed(body: &str) -> String {
        of_frame("", format!(r#"{{"type":"message","body":{body}}}"#).as_bytes())
    }

    #[test]
    fn every_character_begins_a_term() {
        assert_eq!(indexed(r#"{"text":"Hello a-b"}"#), "hel ell llo lo o a\u{e02d}b \u{e02d}b b");
        assert_eq!(indexed(r#"{"text":"안녕하세요"}"#), "안녕하 녕하세 하세요 세요 요");
        assert_eq!(indexed(r#"{"more":[{"note":"on"},3,true,null],"key":"x"}"#), "x on n");
    }

    #[test]
    fn every_word_of_a_query_becomes_quoted_terms() {
        for (query, expected) in [
            ("ell", "\"ell\""),
            ("Hel lo", "\"hel\" AND \"lo\"*"),
            ("하세요", "\"하세요\""),
            ("안녕하세", "\"안녕하\" AND \"녕하세\""),
            ("녕", "\"녕\"*"),
            ("\"*", "\"\u{e022}\u{e02a}\"*"),
            ("a\u{3000}b", "\"a\"* AND \"b\"*"),
        ] {
            assert_eq!(pattern("", query).as_deref(), Some(expected), "{query}");
        }
    }

    #[test]
    fn every_term_of_a_room_begins_like_its_others() {
        let scope = scope(&"lobby".parse().expect("a room name"));
        let frame = r#"{"body":{"text":"안녕하세"}}"#;
        assert_eq!(
            of_frame(&scope, frame.as_bytes()),
            format!("{scope}안녕하 {scope}녕하세 {scope}하세 {scope}세")
        );
        assert_eq!(pattern(&scope, "안녕하세"), Some(format!("\"{scope}안녕하\" AND \"{scope}녕하세\"")));
    }

    #[test]
    fn a_query_of_no_words_or_too_many_is_none() {
        assert_eq!(pattern("", " \u{a0}"), None);
        assert_eq!(pattern("", &"a ".repeat(33)), None);
        assert!(pattern("", &"a ".repeat(32)).is_some());
    }
}
