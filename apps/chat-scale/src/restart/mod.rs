//! A node that ends and starts again: the other nodes append to its rooms meanwhile.

mod run;

use crate::figures::KEY_WINDOW;
use crate::sample::Sample;
use crate::table::{Table, count, number, time};

pub use run::restart;

/// The way in which the node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It does not end.
    Stays,
    /// It tells the others.
    Drained,
    /// Its connection to NATS is closed.
    Killed,
    /// It does not answer any more, and its connection stays.
    Hangs,
}

/// The result, for the rooms of the node.
#[derive(Clone, Debug, Default)]
pub struct Moved {
    /// Messages that were sent.
    pub sent: u64,
    /// Messages that were stored.
    pub stored: u64,
    /// Messages that were not stored in the end.
    pub waiting: u64,
    /// Requests to a node that was not there.
    pub in_vain: u64,
    /// Records that were refused, because another node was faster.
    pub refused: u64,
    /// Answers `unavailable`.
    pub unavailable: u64,
    /// The times from a message to its acknowledgement.
    pub waits: Sample,
}

/// Returns the waits and the refusals for the ways in which a node can end.
pub fn tables(seed: u64) -> Vec<Table> {
    let header = [
        "the node",
        "key window",
        "messages",
        "not answered",
        "refused",
        "`unavailable`",
        "median",
        "99 %",
        "99.9 %",
        "longest",
    ];
    let mut table = Table::new("restart", header);
    let day = KEY_WINDOW.value;
    for (name, ending, window) in [
        ("stays", Ending::Stays, day),
        ("is drained", Ending::Drained, day),
        ("is killed", Ending::Killed, day),
        ("hangs", Ending::Hangs, day),
        ("is drained", Ending::Drained, 3_600.0),
        ("is killed", Ending::Killed, 3_600.0),
        ("hangs", Ending::Hangs, 3_600.0),
    ] {
        let result = restart(ending, window, seed);
        let [median, most, nearly, longest] = result.waits.shares([0.5, 0.99, 0.999, 1.0]);
        table.row([
            name.to_owned(),
            time(window),
            number(result.sent as f64),
            count(result.in_vain),
            count(result.refused),
            count(result.unavailable),
            time(median),
            time(most),
            time(nearly),
            time(longest),
        ]);
    }
    vec![table]
}
