//! Writing: one thread commits all waiting appends in one transaction, and applies retention and the quota.

mod batch;
mod clock;
mod connection;
mod counters;
mod error;
mod key_counts;
mod notifier;
mod queue;
mod quota;
mod retention;
mod state;
mod writer;

pub(crate) use batch::{IdempotencyKey, Position, Prepared, PreparedAct, PreparedChange, PreparedMessage};
pub(crate) use counters::COMMIT_SECONDS;
pub use counters::Stats;
pub(crate) use notifier::Reply;
pub(crate) use queue::AppendQueue;
pub(crate) use state::StoreState;
pub(crate) use writer::spawn;
