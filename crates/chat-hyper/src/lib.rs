//! What the adapters for hyper-based frameworks share.
//!
//! An adapter turns its framework's request into a [`RequestHead`](chat_core::RequestHead) with [`head`],
//! sends what the [`Endpoint`](chat_core::Endpoint) decides with [`answer`] or [`hijack`], and is wrapped in
//! [`outermost`]. [`Messages`] is the connection on a framework's own WebSocket. [`serve`] runs it all with limits on
//! the request head, which hyper leaves open by default.

mod convert;
mod messages;
mod not_found;
mod outermost;
mod serve;
mod takeover;

pub use convert::{Body, answer, head, head_of, switching_protocols};
pub use messages::{Dialect, Messages};
pub use not_found::NotFound;
pub use outermost::{Outermost, outermost};
pub use serve::serve;
pub use takeover::{Hijacked, hijack, take_over};
