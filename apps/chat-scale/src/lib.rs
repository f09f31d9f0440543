//! A simulation of a large cluster, and the arithmetic of its traffic.
//!
//! It answers questions that no test can ask: 10 million users, the storm of joins after the death of a node, a stream
//! without a leader. Each scenario is a function of a seed, and returns tables; the same seed returns the same tables.
//! Storms, outages, restarts and losses are simulated event by event ([`Agenda`]), with the rules of the product and
//! the constants in [`figures`]. Each constant has its source: a measurement, a file of the product, or an assumption.
//!
//! `docs/scale.md` has the tables, and what follows from them. The crate depends on nothing of the chat, so that it is
//! built in seconds.

#![expect(clippy::cast_possible_truncation, reason = "the numbers of the scenarios are small enough")]

mod agenda;
pub mod figures;
pub mod gaps;
pub mod hot_room;
pub mod keys;
pub mod outage;
pub mod presence;
mod queue;
pub mod restart;
mod sample;
pub mod storm;
mod table;
pub mod traffic;

pub use agenda::Agenda;
pub use queue::{Bucket, Queue};
pub use sample::{Sample, exponential, uniform};
pub use table::{Table, updated};

/// The seed of the tables in the documents.
pub const SEED: u64 = 1;

/// A scenario: its name, and the function that returns its tables for a seed.
pub type Scenario = (&'static str, fn(u64) -> Vec<Table>);

/// All scenarios.
pub const SCENARIOS: [Scenario; 9] = [
    ("figures", figures::tables),
    ("traffic", traffic::tables),
    ("hot-room", hot_room::tables),
    ("storm", storm::tables),
    ("restart", restart::tables),
    ("outage", outage::tables),
    ("presence", presence::tables),
    ("gaps", gaps::tables),
    ("keys", keys::tables),
];
