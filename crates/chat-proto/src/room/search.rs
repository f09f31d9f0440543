use serde::Deserialize;
use serde_json::Value;
use unicode_normalization::UnicodeNormalization;

use super::{StoredMessage, Unavailable};
use crate::Limits;

/// A search in a room's log.
///
/// ```
/// use chat_proto::Search;
///
/// let newest = Search::new("pear", 20);
/// let older = newest.clone().before(100);
/// assert_eq!((newest.before, older.before), (None, Some(100)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Search {
    /// The words that a message must have, as a user typed them.
    pub query: String,
    /// The largest number of messages.
    pub limit: usize,
    /// The first position that is not searched; `None` for the whole log.
    pub before: Option<u64>,
}

impl Search {
    /// Returns a search in the whole log, for at most `limit` messages.
    pub fn new(query: impl Into<String>, limit: usize) -> Self {
        Self { query: query.into(), limit, before: None }
    }

    /// Searches only before the position `seq`, which continues an earlier page. `None` searches the whole log.
    #[must_use]
    pub fn before(mut self, seq: impl Into<Option<u64>>) -> Self {
        self.before = seq.into();
        self
    }

    /// Returns true if the message at the position `seq` is searched.
    pub fn covers(&self, seq: u64) -> bool {
        self.before.is_none_or(|before| seq < before)
    }

    /// Returns true if the query is not blank and not longer than
    /// [`WireLimits::max_query_bytes`](crate::WireLimits::max_query_bytes).
    pub fn is_valid(&self, limits: &Limits) -> bool {
        self.query.len() <= limits.wire.max_query_bytes && !self.query.trim().is_empty()
    }
}

/// A page of the messages that a search has found, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SearchPage {
    /// The messages: at most [`WireLimits::max_batch_bytes`](crate::WireLimits::max_batch_bytes) bytes, or one that is
    /// longer.
    pub messages: Vec<StoredMessage>,
    /// True if older messages match too.
    pub more: bool,
}

impl SearchPage {
    /// Returns a page of these messages, after which no other matches.
    pub fn new(messages: Vec<StoredMessage>) -> Self {
        Self { messages, more: false }
    }

    /// Sets [`more`](Self::more).
    #[must_use]
    pub fn with_more(mut self, more: bool) -> Self {
        self.more = more;
        self
    }
}

/// An error of a search.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// The log cannot search.
    #[error("the log cannot search")]
    Unsupported,
    /// The query is blank or too long.
    #[error("the query is blank or too long")]
    BadQuery,
    /// The search took too long. A query of longer words takes less time.
    #[error("the search took too long")]
    TooExpensive,
    /// The log cannot be read now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// A search that examines messages one by one. It serves a log without an index, and checks the candidates of an
/// index.
///
/// A message matches if every word of the query occurs in a string of its body, as a word or as a part of one. Upper
/// and lower case are equal, and so are texts that NFKC makes equal: see [`fold`].
///
/// ```
/// use chat_proto::{Limits, Scan, Search, StoredMessage};
///
/// let search = Search::new("PEAR", 10);
/// let mut scan = Scan::new(&search, &Limits::default());
/// for (seq, text) in [(3, "Spears"), (2, "a plum"), (1, "pears")] {
///     let frame = format!(r#"{{"type":"message","body":{{"text":"{text}"}}}}"#);
///     assert!(scan.look(&StoredMessage::new(seq, frame)));
/// }
/// let found: Vec<u64> = scan.finish().messages.iter().map(|stored| stored.seq).collect();
/// assert_eq!(found, [3, 1]);
/// ```
#[derive(Debug)]
pub struct Scan {
    words: Vec<String>,
    limit: usize,
    max_bytes: usize,
    bytes: usize,
    found: SearchPage,
}

impl Scan {
    /// Returns a search that has not examined a message yet.
    pub fn new(search: &Search, limits: &Limits) -> Self {
        Self {
            words: fold(&search.query).split_whitespace().map(ToOwned::to_owned).collect(),
            limit: search.limit,
            max_bytes: limits.wire.max_batch_bytes,
            bytes: 0,
            found: SearchPage { messages: Vec::new(), more: false },
        }
    }

    /// Examines a message. The newest must come first. Returns false once the page is full.
    pub fn look(&mut self, stored: &StoredMessage) -> bool {
        if !self.fits(stored) {
            return true;
        }
        self.bytes += stored.frame.len();
        let is_full = self.found.messages.len() >= self.limit
            || (self.bytes > self.max_bytes && !self.found.messages.is_empty());
        if is_full {
            self.found.more = true;
            return false;
        }
        self.found.messages.push(stored.clone());
        true
    }

    /// Returns the page.
    pub fn finish(self) -> SearchPage {
        self.found
    }

    fn fits(&self, stored: &StoredMessage) -> bool {
        search_text(&stored.frame).is_some_and(|text| self.words.iter().all(|word| text.contains(word)))
    }
}

/// Returns the text in which a search looks for words: all strings of a message's body, folded, each on a line of its
/// own. Returns `None` if the frame is not a message, or is nested too deeply.
///
/// Some characters become up to 18 when they are folded. To bound the cost of a search and of an index, the text has at
/// most as many characters as the frame has bytes. The rest of the body is not searched.
///
/// ```
/// use chat_proto::search_text;
///
/// let frame = r#"{"type":"message","body":{"text":"Hello","n":1,"more":["World"]}}"#;
/// assert_eq!(search_text(frame.as_bytes()).as_deref(), Some("world\nhello\n"));
/// assert_eq!(search_text(b"{}"), None);
/// ```
pub fn search_text(frame: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Message {
        body: Value,
    }
    let message = serde_json::from_slice::<Message>(frame).ok()?;
    let mut text = String::new();
    collect(&message.body, &mut text, &mut { frame.len() });
    Some(text)
}

/// Adds all strings of a body to `text`, until `left` characters are added.
fn collect(value: &Value, text: &mut String, left: &mut usize) {
    match value {
        Value::String(string) => {
            for character in folded(string).take(*left) {
                text.push(character);
                *left -= 1;
            }
            text.push('\n');
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, text, left)),
        Value::Object(fields) => fields.values().for_each(|value| collect(value, text, left)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Returns a text in the form in which a search compares it. The words are those of `split_whitespace`.
///
/// ```
/// use chat_proto::fold;
///
/// assert_eq!(fold("Stra\u{df}e"), fold("STRASSE"));
/// assert_eq!(fold("\u{ff46}\u{ff55}\u{ff4c}\u{ff4c}"), "full");
/// ```
pub fn fold(text: &str) -> String {
    folded(text).collect()
}

fn folded(text: &str) -> impl Iterator<Item = char> {
    let lower = text.nfkc().flat_map(char::to_lowercase);
    // The upper case makes letters equal that only differ in lower case, such as the two small sigmas. The other case of
    // a letter can be a sequence that has a composed form.
    lower.flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfkc()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_ignores_the_case_of_every_letter_and_changes_nothing_the_second_time() {
        let has_case = |c: &char| c.to_lowercase().chain(c.to_uppercase()).any(|other| other != *c);
        for letter in ('\0'..=char::MAX).filter(has_case) {
            for text in [letter.to_string(), format!("{letter}\u{301}"), format!("\u{3b1}{letter}")] {
                let folded = fold(&text);
                assert_eq!(fold(&folded), folded, "{text}");
                let composed: String = text.nfkc().collect();
                assert_eq!(fold(&composed.to_uppercase()), folded, "{text}");
                assert_eq!(fold(&composed.to_lowercase()), folded, "{text}");
            }
        }
    }

    fn stored(seq: u64, body: &str) -> StoredMessage {
        StoredMessage { seq, frame: format!(r#"{{"type":"message","seq":{seq},"body":{body}}}"#).into() }
    }

    fn search(query: &str, limit: usize, max_batch: usize, bodies: &[&str]) -> (Vec<u64>, bool) {
        let search = Search::new(query, limit);
        let mut scan = Scan::new(
            &search,
            &Limits::default().with(|limits| {
                limits.wire.max_batch_bytes = max_batch;
            }),
        );
        let stored: Vec<_> = (1..).zip(bodies).map(|(seq, body)| stored(seq, body)).collect();
        let _wanted = stored.iter().rev().all(|stored| scan.look(stored));
        let found = scan.finish();
        (found.messages.iter().map(|stored| stored.seq).collect(), found.more)
    }

    fn finds(query: &str, text: &str) -> bool {
        let body = serde_json::json!({ "text": text }).to_string();
        search(query, 9, 9_999, &[&body]).0 == [1]
    }

    #[test]
    fn every_word_of_a_query_must_occur_as_a_word_or_a_part_of_one() {
        assert!(finds("안녕", "여러분, 안녕하세요"));
        assert!(finds("low  fox", "The fox is yellow"));
        assert!(!finds("fox hen", "The fox is yellow"));
        assert!(!finds("foxis", "fox is"));
    }

    #[test]
    fn case_width_and_composition_make_no_difference() {
        for (query, text) in [
            ("HELLO", "hello"),
            ("straße", "STRASSE"),
            ("οδος", "ΟΔΟΣ"),
            ("ｆｕｌｌ", "full"),
            ("\u{1112}\u{1161}\u{11ab}", "한"),
            ("e\u{301}", "É"),
            ("a\u{3000}b", "b a"),
        ] {
            assert!(finds(query, text), "{query}");
            assert!(finds(text, query), "{text}");
        }
    }

    #[test]
    fn only_strings_of_the_body_are_searched() {
        let body = r#"{"name":"Ann","deep":[{"x":"pe\u0061r"}],"n":4711,"flag":true}"#;
        for (query, fits) in [
            ("ann", true),
            ("pear ann", true),
            ("name", false),
            ("4711", false),
            ("true", false),
            ("message", false),
        ] {
            assert_eq!(search(query, 9, 9_999, &[body]).0 == [1], fits, "{query}");
        }
    }

    #[test]
    fn the_newest_matches_come_first_and_more_is_true_if_older_ones_match() {
        let bodies = [r#"{"t":"a"}"#, r#"{"t":"b"}"#, r#"{"t":"a b"}"#, r#"{"t":"a"}"#];
        assert_eq!(search("a", 3, 9_999, &bodies), (vec![4, 3, 1], false));
        assert_eq!(search("a", 2, 9_999, &bodies), (vec![4, 3], true));
        assert_eq!(search("b", 1, 9_999, &bodies), (vec![3], true));
        assert_eq!(search("c", 1, 9_999, &bodies), (vec![], false));
    }

    #[test]
    fn the_searched_text_has_at_most_as_many_characters_as_the_frame_has_bytes() {
        // U+FDFA has 3 bytes and becomes 18 characters.
        let frame = format!(r#"{{"body":{{"a":"{}","b":"tail"}}}}"#, "\u{fdfa}".repeat(1_000));
        let text = search_text(frame.as_bytes()).expect("a message");
        assert_eq!(text.chars().filter(|c| *c != '\n').count(), frame.len());
        assert!(!text.contains("tail"));
        let frame = format!(r#"{{"body":{{"a":"{}","b":"tail"}}}}"#, "\u{e9}\u{d55c}".repeat(1_000));
        assert!(
            search_text(frame.as_bytes()).expect("a message").contains("tail"),
            "ordinary text is complete"
        );
    }

    #[test]
    fn a_page_is_bounded_by_bytes_but_never_empty() {
        let bodies = [r#"{"t":"a"}"#, r#"{"t":"a"}"#, r#"{"t":"a"}"#];
        let length = stored(1, bodies[0]).frame.len();
        assert_eq!(search("a", 9, length * 2, &bodies), (vec![3, 2], true));
        assert_eq!(search("a", 9, length * 2 - 1, &bodies), (vec![3], true));
        assert_eq!(search("a", 9, 1, &bodies), (vec![3], true));
        assert_eq!(search("a", 9, length * 3, &bodies), (vec![3, 2, 1], false));
    }
}
