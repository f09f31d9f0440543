//! Open rooms: the log of each in a store, and its members.

mod backoff;
mod blank;
mod budget;
mod call;
mod departures;
mod flush;
mod inbox;
mod live;
mod membership;
mod memory;
mod nodes;
mod notices;
mod opening;
mod outbox;
mod outlet;
mod own_flushes;
mod registry;
mod repair;
mod seat;
mod subscription;
mod throttle;

use backoff::Backoff;
pub(crate) use blank::{BlankSeat, TooManyBlank};
pub(crate) use budget::MemoryBudget;
pub(crate) use call::{append, change, search, thread, within};
pub(crate) use inbox::Inbox;
pub(crate) use live::LiveRoom;
pub(crate) use membership::Membership;
pub use memory::{MemoryRoom, MemoryStore};
pub(crate) use outlet::Outlet;
pub(crate) use own_flushes::OwnFlushes;
pub(crate) use registry::{CheckBody, Rooms};
pub(crate) use seat::Seat;
pub use subscription::{Subscription, SubscriptionError};
