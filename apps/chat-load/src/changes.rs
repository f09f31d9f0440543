//! The cost of changes of messages, compared with that of sends.

use serde::{Deserialize, Serialize};

use crate::load::Snapshot;

/// The kind of the commands of a part of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A message.
    Send,
    /// An edit of a message.
    Edit,
    /// A reaction to a message that has none.
    Reaction,
    /// Reactions of all writers to one message, each added and taken back in turn.
    ReactionToOne,
    /// A deletion of a message that was edited and has a reaction.
    Deletion,
    /// A page of history.
    Page,
    /// A page of history whose messages have reactions.
    PageWithReactions,
}

impl Kind {
    /// The kinds, in the order of a turn.
    pub(crate) const ALL: [Self; 7] = [
        Self::Send,
        Self::Edit,
        Self::Reaction,
        Self::ReactionToOne,
        Self::Deletion,
        Self::Page,
        Self::PageWithReactions,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Edit => "edit",
            Self::Reaction => "reaction",
            Self::ReactionToOne => "reaction to one",
            Self::Deletion => "deletion",
            Self::Page => "page",
            Self::PageWithReactions => "page with reactions",
        }
    }

    /// Returns the kind whose cost is 1.
    fn base(self) -> Self {
        match self {
            Self::Page | Self::PageWithReactions => Self::Page,
            _ => Self::Send,
        }
    }
}

/// The cost of the commands of one kind, over all turns.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Cost {
    /// The kind.
    pub kind: Kind,
    /// The number of commands.
    pub count: u64,
    /// The time until the last delivery, in seconds.
    pub seconds: f64,
    /// CPU time of the server for one command and all its deliveries, in microseconds. `None` without `--pid`.
    pub server_us: Option<f64>,
    /// The CPU time divided by that of a send, or of a page without reactions.
    pub ratio: Option<f64>,
}

/// The totals of a kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    count: u64,
    seconds: f64,
    server_seconds: Option<f64>,
}

impl Spent {
    pub(crate) fn add(&mut self, count: u64, from: &Snapshot, to: &Snapshot) {
        self.count += count;
        self.seconds += to.at.saturating_sub(from.at) as f64 / 1e6;
        let server = from.server.zip(to.server);
        self.server_seconds = server
            .map(|(from, to)| self.server_seconds.unwrap_or_default() + to.cpu_seconds - from.cpu_seconds);
    }

    fn server_us(&self) -> Option<f64> {
        self.server_seconds.map(|seconds| seconds * 1e6 / self.count.max(1) as f64)
    }
}

/// Returns the costs of all kinds.
pub(crate) fn costs(spent: &[Spent; Kind::ALL.len()]) -> Vec<Cost> {
    let cost = |kind: Kind| {
        let Spent { count, seconds, .. } = spent[kind as usize];
        let server_us = spent[kind as usize].server_us();
        let base = spent[kind.base() as usize].server_us().filter(|base| *base > 0.0);
        Cost { kind, count, seconds, server_us, ratio: server_us.zip(base).map(|(own, base)| own / base) }
    };
    Kind::ALL.into_iter().map(cost).collect()
}

impl Cost {
    /// Returns the row of the table: name, value and meaning.
    pub(crate) fn row(&self) -> (&'static str, String, String) {
        let server = self.server_us.map_or("-".to_owned(), |us| format!("{us:.1} us"));
        let ratio = self.ratio.map_or(String::new(), |ratio| {
            format!("of the server; {ratio:.2} times a {}; ", self.kind.base().name())
        });
        (self.kind.name(), server, format!("{ratio}{} in {:.1} s", self.count, self.seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_that_of_the_cost_of_one_command() {
        let mut spent = [Spent::default(); Kind::ALL.len()];
        spent[Kind::Send as usize] = Spent { count: 10, seconds: 1.0, server_seconds: Some(0.1) };
        spent[Kind::Edit as usize] = Spent { count: 20, seconds: 1.0, server_seconds: Some(0.3) };
        spent[Kind::Page as usize] = Spent { count: 1, seconds: 1.0, server_seconds: None };
        let costs = costs(&spent);
        let of = |kind: Kind| costs.iter().find(|cost| cost.kind == kind).unwrap();
        let ratio = of(Kind::Edit).ratio.unwrap();
        assert!((ratio - 1.5).abs() < 1e-9, "{ratio}");
        assert_eq!((of(Kind::Page).ratio, of(Kind::Page).server_us), (None, None));
    }
}
