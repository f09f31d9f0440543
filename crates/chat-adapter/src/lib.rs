//! Building blocks for adapters of hyper-based frameworks.
//!
//! A service uses `chat-axum`, `chat-warp`, or `chat-tungstenite` for plain hyper. This crate is their
//! common part, for the author of another adapter:
//!
//! 1. [`head`] and [`context`] turn a request into the [`RequestHead`](chat_core::RequestHead) and the
//!    [`RequestContext`](chat_core::RequestContext) that [`Endpoint::handle`](chat_core::Endpoint::handle) decides
//!    about.
//! 2. [`answer`] and [`hijack`] turn the decision into a response. [`MessageSocket`] is the connection on a framework's
//!    own WebSocket.
//! 3. [`UpgradeLayer`] goes around the host's service.
//! 4. [`serve`] runs the service, with the limits on the request head that hyper leaves open.

mod connection;
mod convert;
mod hijack;
mod layer;
mod message_socket;
mod serve;

pub use chat_websocket::{ServeOptions, SharedSocket, Tls, TlsError};
pub use convert::{Body, answer, context, head, head_of, switching_protocols};
pub use hijack::{HyperWebSocket, hijack, websocket};
pub use layer::{UpgradeLayer, UpgradeService};
pub use message_socket::{MessageCodec, MessageSocket};
pub use serve::{serve, serve_extended, serve_with};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
