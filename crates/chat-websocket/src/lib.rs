//! A WebSocket on a byte stream that other code has upgraded.
//!
//! [`WebSocket`] is the [`Connection`](chat_core::Connection) of each adapter that hijacks the connection. They all
//! share it, so they behave alike on the wire. tungstenite parses the headers of frames. This crate puts messages
//! together within the limits of the chat, and holds no buffer for a connection that is idle. [`SharedSocket`] is the
//! byte stream of an adapter that has the socket itself.
//!
//! [`FrameLimiter`] stands in front of a framework's own WebSocket that believes the lengths that a peer announces.

mod codec;
mod decoder;
mod limiter;
mod socket;
mod websocket;
mod wire;

pub use limiter::FrameLimiter;
pub use socket::{SharedSocket, set_options};
pub use websocket::{CHUNK_BYTES, READ_BUFFER_BYTES, READ_BYTES, WRITE_BUFFER_BYTES, WebSocket};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
