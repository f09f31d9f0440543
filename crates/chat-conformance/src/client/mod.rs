//! The suite's own client. It builds what it sends by hand, so that it can be wrong in every way, reads
//! strictly, records everything, and waits for nothing without a limit.

#![expect(clippy::missing_errors_doc, reason = "each fails if the server does something else")]

mod connection;
mod expect;
mod frame;
mod http;

pub use connection::{Client, Message};
pub use expect::is_noise;
pub(crate) use expect::{Events, one_of};
pub use frame::{Frame, Received};
pub(crate) use http::Line;
pub use http::{Answer, Request, accept, key};
