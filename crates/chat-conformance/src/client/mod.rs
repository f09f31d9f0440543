//! A raw WebSocket client for tests.
//!
//! The client builds requests and frames by hand, so that a test can send invalid ones. It reads strictly: a frame or
//! an event that the protocol does not allow is a [`Failure`](crate::Failure). Each wait has a time limit, which is 8
//! seconds until [`Client::set_patience`] changes it. Events that arrive while the client waits for something else are
//! buffered.
//!
//! ```no_run
//! use chat_conformance::client::{Client, Frame};
//! use serde_json::json;
//!
//! # async fn example() -> Result<(), chat_conformance::Failure> {
//! let address = "127.0.0.1:8080".parse().expect("an address");
//! let mut ann = Client::guest(address, "ann").await?;
//! ann.join("lobby").await?;
//! ann.post("lobby", "hello").await?;
//! // A command in two fragments.
//! ann.send_all(&[Frame::text(r#"{"type":"#).unfinished(), Frame::continuation(r#""ping"}"#)]).await?;
//! ann.expect("pong").await?;
//! // A violation of the protocol.
//! ann.send(Frame::json(&json!({"type": "ping"})).unmasked()).await?;
//! ann.expect_closed(1002).await
//! # }
//! ```

#![expect(clippy::missing_errors_doc, reason = "each fails if the server does something else")]

mod closing;
mod connection;
mod expect;
mod frame;
mod handshake;
mod http;
mod receive;

pub(crate) use closing::one_of;
pub use connection::{Client, Message};
pub(crate) use expect::Events;
pub use expect::is_presence_or_typing;
pub use frame::{Frame, Received};
pub(crate) use http::HeaderLine;
pub use http::{Answer, Request, accept, key};
