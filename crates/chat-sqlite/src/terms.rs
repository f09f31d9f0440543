use chat_core::RoomName;
use serde_json::Value;
use serde_json::value::RawValue;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Words of a query that are looked for.
const QUERY_WORDS: usize = 32;

/// A part of a text by which it can be found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    /// Letters and digits of a script that puts spaces between words.
    Word(String),
    /// Characters of a script that puts none, or no reliable ones: Korean glues particles to its words.
    Run(Vec<char>),
}

impl Term {
    /// What stands in the index for it.
    fn indexed(self) -> Vec<String> {
        match self {
            Self::Word(word) => vec![word],
            // The last character once more, so that each begins something.
            Self::Run(run) => pairs(&run).into_iter().chain(run.last().map(char::to_string)).collect(),
        }
    }
}

/// With what the terms of a room begin, so that a search looks at its own room's alone. Rooms that share it by
/// chance are told apart later.
pub(crate) fn scope(room: &RoomName) -> String {
    format!("{:08x}", crc32fast::hash(room.as_str().as_bytes()))
}

/// The terms of all texts in a message's body, with a space between; they hold nothing but letters, marks, digits.
pub(crate) fn of_body(scope: &str, body: &RawValue) -> String {
    let mut found = Vec::new();
    // What is nested too deep to be read is stored, and not found.
    if let Ok(value) = serde_json::from_str::<Value>(body.get()) {
        collect(&value, &mut found);
    }
    scoped(scope, &found)
}

/// What SQLite is to look for: every word of a query, its parts side by side, the last of them perhaps longer.
/// None if the query says nothing that can be found, or too much.
///
/// Nothing of the query's own punctuation is left in it: each phrase stands in quotes, and has none.
pub(crate) fn pattern(scope: &str, query: &str) -> Option<String> {
    // What NFKC makes a space parts words too.
    let query: String = query.nfkc().collect();
    let phrases: Vec<_> = query.split_whitespace().filter_map(|word| phrase(scope, word)).collect();
    (1..=QUERY_WORDS).contains(&phrases.len()).then(|| phrases.join(" AND "))
}

fn phrase(scope: &str, word: &str) -> Option<String> {
    let mut terms = split(word);
    let last = terms.pop()?;
    let mut parts: Vec<_> = terms.into_iter().flat_map(Term::indexed).collect();
    let goes_on = match last {
        Term::Run(run) if run.len() > 1 => {
            parts.extend(pairs(&run));
            ""
        }
        Term::Run(run) => {
            parts.extend(run.iter().map(char::to_string));
            "*"
        }
        Term::Word(word) => {
            parts.push(word);
            "*"
        }
    };
    Some(format!("\"{}\"{goes_on}", scoped(scope, &parts)))
}

fn scoped(scope: &str, terms: &[String]) -> String {
    terms.iter().map(|term| format!("{scope}{term}")).collect::<Vec<_>>().join(" ")
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.extend(split(text).into_iter().flat_map(Term::indexed)),
        Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
        Value::Object(fields) => fields.values().for_each(|value| collect(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn pairs(run: &[char]) -> Vec<String> {
    run.windows(2).map(|pair| pair.iter().collect()).collect()
}

fn split(text: &str) -> Vec<Term> {
    let mut terms = Vec::new();
    // By way of the upper case, since letters of one upper case (the two small sigmas) are to be one.
    for c in text.nfkc().flat_map(char::to_uppercase).flat_map(char::to_lowercase) {
        let is_mark = is_combining_mark(c);
        if !(c.is_alphanumeric() || is_mark) {
            terms.push(None);
            continue;
        }
        let starts_run = is_unspaced(c);
        match terms.last_mut() {
            Some(Some(Term::Run(run))) if starts_run || is_mark => run.push(c),
            Some(Some(Term::Word(word))) if !starts_run => word.push(c),
            _ if starts_run => terms.push(Some(Term::Run(vec![c]))),
            // A mark on nothing says nothing.
            _ if is_mark => {}
            _ => terms.push(Some(Term::Word(c.to_string()))),
        }
    }
    terms.into_iter().flatten().collect()
}

/// Thai, Lao, Tibetan, Myanmar, Khmer; Hangul; Kana, Bopomofo, Han and what stands among them.
fn is_unspaced(c: char) -> bool {
    matches!(
        c,
        '\u{e00}'..='\u{fff}'
            | '\u{1000}'..='\u{109f}'
            | '\u{1100}'..='\u{11ff}'
            | '\u{1780}'..='\u{17ff}'
            | '\u{2e80}'..='\u{2fdf}'
            | '\u{3005}'..='\u{3007}'
            | '\u{3021}'..='\u{303c}'
            | '\u{3041}'..='\u{31ff}'
            | '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}'
            | '\u{a960}'..='\u{a97f}'
            | '\u{ac00}'..='\u{d7ff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{1aff0}'..='\u{1b16f}'
            | '\u{20000}'..='\u{3ffff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indexed(text: &str) -> String {
        let body = serde_json::json!({ "text": text }).to_string();
        of_body("", &RawValue::from_string(body).expect("JSON"))
    }

    #[test]
    fn words_are_folded_and_runs_become_pairs() {
        assert_eq!(indexed("Hello, WORLD-7!"), "hello world 7");
        assert_eq!(indexed("안녕하세요 ok"), "안녕 녕하 하세 세요 요 ok");
        assert_eq!(indexed("ﬁn Ⅳ ｶﾞ Ａ"), "fin iv ガ a");
        assert_eq!(indexed("iPhone을 샀다"), "iphone 을 샀다 다");
        assert_eq!(indexed("... \"' *"), "");
    }

    #[test]
    fn all_texts_of_a_body_are_found_and_nothing_else() {
        let body = r#"{"text":"one","more":[{"note":"two"},3,true,null],"key":{"a":"three"}}"#;
        assert_eq!(of_body("", &RawValue::from_string(body.to_owned()).expect("JSON")), "three two one");
    }

    #[test]
    fn every_word_of_a_query_becomes_a_quoted_phrase() {
        for (query, expected) in [
            ("Hel wor", "\"hel\"* AND \"wor\"*"),
            ("녕하세", "\"녕하 하세\""),
            ("녕", "\"녕\"*"),
            ("don't", "\"don t\"*"),
            ("안녕x", "\"안녕 녕 x\"*"),
            ("x안녕", "\"x 안녕\""),
            ("a\u{3000}b", "\"a\"* AND \"b\"*"),
            ("NEAR(\"z\", 3) OR terms:y*", "\"near z\"* AND \"3\"* AND \"or\"* AND \"terms y\"*"),
        ] {
            assert_eq!(pattern("", query).as_deref(), Some(expected), "{query}");
        }
    }

    #[test]
    fn every_term_of_a_room_begins_like_its_others() {
        let scope = scope(&"lobby".parse().expect("a room name"));
        let body = RawValue::from_string(r#"{"text":"x 안녕"}"#.to_owned()).expect("JSON");
        assert_eq!(of_body(&scope, &body), format!("{scope}x {scope}안녕 {scope}녕"));
        assert_eq!(pattern(&scope, "x안녕"), Some(format!("\"{scope}x {scope}안녕\"")));
    }

    #[test]
    fn a_query_that_says_nothing_or_too_much_is_none() {
        assert_eq!(pattern("", " \"*?! "), None);
        assert_eq!(pattern("", "\u{301}"), None);
        assert_eq!(pattern("", &"a ".repeat(33)), None);
        assert!(pattern("", &"a ".repeat(32)).is_some());
    }
}
