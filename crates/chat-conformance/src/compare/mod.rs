//! The comparison of one case on two mechanisms.
//!
//! Two transcripts are compared connection by connection, and the server's data byte for byte. Only these details are
//! open, because the protocol leaves them open:
//!
//! | open detail | reason |
//! |---|---|
//! | the values of `at`, `epoch`, `connection`, `reconnect_in_ms`, `retry_after_ms` | they are random, or derived from a time |
//! | order, casing and reason phrase of an HTTP head; `Date`; the framing of the body; the casing of `Connection`, and the whole header in a refusal | the HTTP library writes them; status, all other headers and the body are compared |
//! | pings of the server and the pongs to them | a timer sends them |
//! | FIN or RST | it depends on the data that the client has sent; cases about it expect a FIN |
//! | `sent` before or after the sender's own message | section 5.1 allows both |
//! | the position of a pong among the events | a control frame may be anywhere (RFC 6455 section 5.4) |
//! | the position of events about other users among the replies, their order between users, and their number when the case ends | the case does not wait for other users |
//! | `members` of `joined` | the time until a lost client counts as gone is not specified |
//! | the number of equal writes in a row | the server decides when it stops reading |
//! | everything except the shape of each kind of message, in cases with a race, and messages with `rev` | the case states the reason |
//!
//! Casing, pings, FIN and repeated writes are always open. The order is open only if the two conversations are not
//! equal as they are.

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

/// The result of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// The number of entries that are equal and in the same position.
    pub exact: usize,
    /// The number of entries that are equal except for open details, usually their positions.
    pub open: usize,
    /// The first entry that differs.
    pub difference: Option<Difference>,
}

/// The first difference of two transcripts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The connection.
    pub client: String,
    /// The entries before it, which both have.
    pub before: Vec<String>,
    /// The entries of the reference, from the difference on.
    pub expected: Vec<String>,
    /// The entries of the other transcript, from the difference on.
    pub actual: Vec<String>,
}

/// Compares the transcript of a mechanism with that of the reference.
pub fn compare(case: &Case, reference: &Transcript, other: &Transcript) -> Comparison {
    let (ours, theirs) = (conversations(reference), conversations(other));
    let mut comparison = Comparison::default();
    if case.conditions.race.is_some() {
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
        let Self { client, before, expected, actual } = self;
        writeln!(f, "  client {client}")?;
        for (sign, lines) in [(' ', before), ('-', expected), ('+', actual)] {
            for line in lines.iter().flat_map(|line| line.lines()) {
                writeln!(f, "  {sign} {line}")?;
            }
        }
        Ok(())
    }
}
