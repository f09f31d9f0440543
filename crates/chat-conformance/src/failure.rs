use std::fmt;

use crate::transcript::{Direction, Entry, indented};
use crate::{Case, Transcript};

/// Characters that are shown of what came.
const SHOWN: usize = 600;

/// Why a case failed: what was expected, and what came instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The client to which it happened, if it was one.
    pub client: Option<String>,
    /// What the contract says.
    pub expected: String,
    /// What the server did.
    pub came: String,
}

impl Failure {
    /// A failure that shows in no client in particular.
    pub fn new(expected: impl fmt::Display, came: impl fmt::Display) -> Self {
        Self { client: None, expected: expected.to_string(), came: shortened(came.to_string()) }
    }

    /// The failure as somebody reads it who has never seen the case: what was sent, what was expected and
    /// where that is written, what came, where to look, and the whole conversation.
    pub fn explain(&self, case: &Case, transcript: &Transcript) -> String {
        self.explained(case, transcript, &format!("  look at   {}\n", case.look))
    }

    /// The failure, for somebody who may not have our code: `hint` is empty, or a line that says where to look.
    pub(crate) fn explained(&self, case: &Case, transcript: &Transcript, hint: &str) -> String {
        let entries = transcript.entries();
        let mine = |entry: &&Entry| self.client.as_ref().is_none_or(|client| *client == entry.client);
        let sent = entries.iter().rfind(|entry| mine(entry) && entry.direction == Direction::Sent);
        let sent = sent.map_or_else(
            || "nothing".to_owned(),
            |entry| format!("{}: {}", entry.client, indented(&entry.what, "            ")),
        );
        format!(
            "{}\n  sent      {sent}\n  expected  {}\n  as in     {}\n  came      {}\n{hint}  \
             transcript (seconds, client, > sent, < received)\n{}",
            case.statement,
            self.expected,
            case.source,
            self.came,
            transcript.to_text("    "),
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, came {}", self.expected, self.came)
    }
}

/// Long lists of events say no more than their beginnings; the transcript has all of it.
fn shortened(text: String) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{} ... ({} bytes)", &text[..end], text.len()),
        None => text,
    }
}
