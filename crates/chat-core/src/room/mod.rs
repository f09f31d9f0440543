//! Open rooms: the log of each in a store, and its members.

mod call;
mod departures;
mod inbox;
mod live;
mod membership;
mod memory;
mod nodes;
mod notices;
mod outbox;
mod registry;
mod subscription;
mod throttle;

pub(crate) use call::{append, search, within};
pub(crate) use inbox::Inbox;
pub(crate) use live::LiveRoom;
pub(crate) use membership::Membership;
pub use memory::{MemoryRoom, MemoryStore};
pub(crate) use registry::{CheckBody, Rooms};
pub use subscription::Subscription;
