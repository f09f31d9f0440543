//! Open rooms: the log of each in a store, and its members.

mod backoff;
mod call;
mod inbox;
mod live;
mod membership;
mod memory;
mod opening;
mod outbox;
mod registry;
mod repair;
mod subscription;
mod throttle;

use backoff::Backoff;
pub(crate) use call::{append, search, within};
pub(crate) use inbox::Inbox;
pub(crate) use live::LiveRoom;
pub(crate) use membership::Membership;
pub(crate) use memory::unix_millis;
pub use memory::{MemoryRoom, MemoryStore};
pub(crate) use registry::{CheckBody, Rooms};
pub use subscription::Subscription;
