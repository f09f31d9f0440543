//! Writing: one thread commits all waiting appends in one transaction, and applies retention and the quota.

mod batch;
mod clock;
mod connection;
mod counters;
mod error;
mod key_counts;
mod mailbox;
mod notifier;
mod purges;
mod queue;
mod quota;
mod retention;
mod room_rows;
mod staged_transactions;
mod staging;
mod state;
mod writer;

pub(crate) use batch::{
    AppendBatch, BatchLimits, IdempotencyKey, Outcome, Position, Prepared, PreparedAct, PreparedChange,
    PreparedFollow, PreparedMarker, PreparedMessage,
};
pub(crate) use clock::{Clock, Now};
pub(crate) use counters::COMMIT_SECONDS;
pub use counters::Stats;
pub(crate) use key_counts::KeyCounts;
pub(crate) use notifier::Reply;
pub(crate) use queue::AppendQueue;
pub(crate) use state::StoreState;
pub(crate) use writer::spawn;
