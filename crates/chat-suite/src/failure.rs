use std::fmt;

use crate::Verdict;

/// The number of characters of an expectation or a result that are kept.
const MAX_CHARS: usize = 1_200;

/// The reason why a case failed: what was expected, and what happened instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The client that saw the failure, if the suite has clients and one saw it.
    pub client: Option<String>,
    /// The behaviour that the contract requires.
    pub expected: String,
    /// The behaviour that was observed.
    pub actual: String,
}

impl Failure {
    /// A failure that belongs to no client in particular. Long texts are cut.
    pub fn new(expected: impl fmt::Display, actual: impl fmt::Display) -> Self {
        Self { client: None, expected: cut(expected.to_string()), actual: cut(actual.to_string()) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, got {}", self.expected, self.actual)
    }
}

impl std::error::Error for Failure {}

/// Fails unless `holds`.
///
/// # Errors
///
/// A [`Failure`] of `expected` and `actual`, if the condition does not hold.
pub fn check(holds: bool, expected: impl fmt::Display, actual: impl fmt::Display) -> Verdict {
    if holds { Ok(()) } else { Err(Failure::new(expected, actual)) }
}

/// Returns `text` with `indent` in front of all lines except the first.
pub fn indented(text: &str, indent: &str) -> String {
    text.lines().collect::<Vec<_>>().join(&format!("\n{indent}"))
}

fn cut(text: String) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{} ... ({} bytes)", &text[..end], text.len()),
        None => text,
    }
}
