//! The terms of the search index: for each character of a word, the trigram that starts there.

use chat_proto::{fold, search_text};

/// Characters of a term. Terms at the end of a word are shorter.
const TERM_CHARS: usize = 3;

/// Words that a query may have.
const MAX_QUERY_WORDS: usize = 32;

/// Terms at each end of a word that a query uses. More terms would exclude few further messages.
const END_TERMS: usize = 4;

/// Returns the prefix of a room's terms, so that a search reads the entries of one room only.
///
/// Two rooms may have the same prefix. The search also filters by id, so their messages do not mix.
pub(crate) fn room_prefix(room: &str) -> String {
    format!("{:08x}", crc32fast::hash(room.as_bytes()))
}

/// Returns the index terms of a message's body, separated by spaces.
///
/// Each character of each word starts a term. So each part of a word consists of terms, in every script.
pub(crate) fn index_terms(prefix: &str, frame: &[u8]) -> String {
    let mut found = String::new();
    // A body that is nested too deeply for the parser is stored, but a search does not find it.
    for word in search_text(frame).unwrap_or_default().split_whitespace() {
        add(prefix, word, &mut found);
    }
    found
}

/// Returns the FTS5 expression for a query: the conjunction of the terms of its words.
///
/// It matches all messages that a [`Scan`](chat_core::Scan) matches, and a few more. Returns `None` if the query has no
/// words or too many. Each term is quoted and contains no quotes, so a query has no operators.
pub(crate) fn match_expression(prefix: &str, query: &str) -> Option<String> {
    let folded = fold(query);
    let words: Vec<_> = folded.split_whitespace().collect();
    let terms: Vec<_> = words.iter().flat_map(|word| query_terms(prefix, word)).collect();
    (1..=MAX_QUERY_WORDS).contains(&words.len()).then(|| terms.join(" AND "))
}

fn query_terms(prefix: &str, word: &str) -> Vec<String> {
    let chars: Vec<_> = word.chars().map(escape).collect();
    let quoted = |chars: &[char]| format!("\"{prefix}{}\"", chars.iter().collect::<String>());
    if chars.len() < TERM_CHARS {
        // The index contains it as a complete term only at the end of a word.
        return vec![quoted(&chars) + "*"];
    }
    let windows: Vec<_> = chars.windows(TERM_CHARS).collect();
    let last = windows.len().saturating_sub(END_TERMS);
    let ends = windows.iter().enumerate().filter(|(at, _)| *at < END_TERMS || *at >= last);
    let mut terms: Vec<_> = ends.map(|(_, window)| quoted(window)).collect();
    terms.dedup();
    terms
}

fn add(prefix: &str, word: &str, found: &mut String) {
    for (at, _) in word.char_indices() {
        if !found.is_empty() {
            found.push(' ');
        }
        found.push_str(prefix);
        found.extend(word[at..].chars().take(TERM_CHARS).map(escape));
    }
}

/// Returns the character, or a replacement from the private use area if FTS5's tokenizer would split at it.
fn escape(c: char) -> char {
    const PRIVATE_USE_AREA: u32 = 0xe000;
    let is_separator = c.is_ascii() && !c.is_ascii_alphanumeric();
    if is_separator { char::from_u32(PRIVATE_USE_AREA + u32::from(c)).unwrap_or(c) } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indexed(body: &str) -> String {
        index_terms("", format!(r#"{{"type":"message","body":{body}}}"#).as_bytes())
    }

    #[test]
    fn each_character_starts_a_term() {
        assert_eq!(indexed(r#"{"text":"Hello a-b"}"#), "hel ell llo lo o a\u{e02d}b \u{e02d}b b");
        assert_eq!(indexed(r#"{"text":"안녕하세요"}"#), "안녕하 녕하세 하세요 세요 요");
        assert_eq!(indexed(r#"{"more":[{"note":"on"},3,true,null],"key":"x"}"#), "x on n");
    }

    #[test]
    fn each_word_of_a_query_becomes_quoted_terms() {
        for (query, expected) in [
            ("ell", "\"ell\""),
            ("Hel lo", "\"hel\" AND \"lo\"*"),
            ("하세요", "\"하세요\""),
            ("안녕하세", "\"안녕하\" AND \"녕하세\""),
            ("녕", "\"녕\"*"),
            ("\"*", "\"\u{e022}\u{e02a}\"*"),
            ("a\u{3000}b", "\"a\"* AND \"b\"*"),
            ("aaaaaaaaaaaaaab", "\"aaa\" AND \"aab\""),
            (
                "abcdefghijkl",
                "\"abc\" AND \"bcd\" AND \"cde\" AND \"def\" AND \"ghi\" AND \"hij\" AND \"ijk\" AND \"jkl\"",
            ),
        ] {
            assert_eq!(match_expression("", query).as_deref(), Some(expected), "{query}");
        }
    }

    #[test]
    fn all_terms_of_a_room_start_with_its_prefix() {
        let prefix = room_prefix("lobby");
        let frame = r#"{"body":{"text":"안녕하세"}}"#;
        assert_eq!(
            index_terms(&prefix, frame.as_bytes()),
            format!("{prefix}안녕하 {prefix}녕하세 {prefix}하세 {prefix}세")
        );
        assert_eq!(
            match_expression(&prefix, "안녕하세"),
            Some(format!("\"{prefix}안녕하\" AND \"{prefix}녕하세\""))
        );
    }

    #[test]
    fn a_query_with_no_words_or_too_many_has_no_expression() {
        assert_eq!(match_expression("", " \u{a0}"), None);
        assert_eq!(match_expression("", &"a ".repeat(33)), None);
        assert!(match_expression("", &"a ".repeat(32)).is_some());
    }
}
