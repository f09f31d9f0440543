//! Open rooms: the log of each in a store, and its members.

mod call;
mod inbox;
mod live;
mod membership;
mod memory;
mod outbox;
mod registry;
mod subscription;
mod throttle;

pub(crate) use call::{append, search, within};
pub(crate) use inbox::Inbox;
pub(crate) use live::LiveRoom;
pub(crate) use membership::Membership;
pub(crate) use memory::unix_millis;
pub use memory::{MemoryRoom, MemoryStore};
pub(crate) use registry::{CheckBody, Rooms};
pub use subscription::{Subscription, SubscriptionError};
