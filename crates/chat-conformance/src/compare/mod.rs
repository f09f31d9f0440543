//! What must be the same whichever mechanism served a case.
//!
//! Two transcripts are compared connection by connection, and what the server sent byte for byte. This is all that
//! is left open, since the protocol leaves it open:
//!
//! | left open | because |
//! |---|---|
//! | the values of `at`, `epoch`, `connection`, `reconnect_in_ms`, `retry_after_ms` | they are random, a time, or made of one |
//! | order, casing and reason phrase of an HTTP head; `Date`; how the length of a body is told; the casing of `Connection`, and all of it in a refusal | the HTTP library writes them; status, all other lines and the body are compared |
//! | pings of the server and the pongs to them | they come when the timer says so |
//! | FIN or RST | it depends on what the client had sent by then; cases that are about it ask for a FIN |
//! | `sent` ahead of or behind the own message | section 4 says so |
//! | where among the events a pong stands | a control frame may come anywhere (RFC 6455 section 5.4) |
//! | where among a connection's replies it hears what others do in a room, whom of several it hears of first, and how much of that it has heard when the case ends | others are not waited for |
//! | `members` of `joined` | how soon it shows that somebody has gone without a word is nobody's promise |
//! | how often the same was written in a row | the server decides when it has had enough |
//! | all but how each kind of thing looks, in cases that are declared a race | their reasons are with the cases |
//!
//! Casing, pings, FIN and repeated writes are always left open; the order of things only where two conversations are
//! not the same as they stand.

mod answer;
mod conversation;
mod lanes;
mod line;
mod looks;
mod random;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use conversation::conversations;
use lanes::Lanes;
use looks::looks;

use crate::{Case, Transcript};

/// How two transcripts compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Entries that are the same, in the same places.
    pub exact: usize,
    /// Entries that are the same but for what is left open, most of them their places.
    pub open: usize,
    /// The first entry that is not the same.
    pub difference: Option<Difference>,
}

/// Where two transcripts part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The connection.
    pub client: String,
    /// What both have ahead of it.
    pub before: Vec<String>,
    /// What the reference has there, and a little more.
    pub expected: Vec<String>,
    /// What the other has there, and a little more.
    pub came: Vec<String>,
}

/// Compares what one mechanism did in a case with what the reference did.
pub fn compare(case: &Case, reference: &Transcript, other: &Transcript) -> Comparison {
    let (ours, theirs) = (conversations(reference), conversations(other));
    let mut comparison = Comparison::default();
    if case.race.is_some() {
        return looks(&ours, &theirs);
    }
    let clients: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    for client in clients {
        let none = Vec::new();
        let ours = ours.get(client).unwrap_or(&none);
        let theirs = theirs.get(client).unwrap_or(&none);
        if ours == theirs {
            comparison.exact += ours.len();
            continue;
        }
        match Lanes::of(ours).differs(&Lanes::of(theirs)) {
            None => {
                let exact = ours.iter().zip(theirs).filter(|(ours, theirs)| ours == theirs).count();
                comparison.exact += exact;
                comparison.open += ours.len().max(theirs.len()) - exact;
            }
            Some(difference) => {
                let difference = Difference { client: client.clone(), ..difference };
                return Comparison { difference: Some(difference), ..comparison };
            }
        }
    }
    comparison
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, before, expected, came } = self;
        writeln!(f, "  client {client}")?;
        for (sign, lines) in [(' ', before), ('-', expected), ('+', came)] {
            for line in lines.iter().flat_map(|line| line.lines()) {
                writeln!(f, "  {sign} {line}")?;
            }
        }
        Ok(())
    }
}
