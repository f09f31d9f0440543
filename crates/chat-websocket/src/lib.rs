//! A WebSocket on a byte stream that other code has upgraded.
//!
//! [`WebSocket`] is the [`Connection`](chat_core::Connection) of each adapter that hijacks the connection. They all
//! share it, so they behave alike on the wire. tungstenite parses the headers of frames. This crate puts messages
//! together within the limits of the chat, and holds no buffer for a connection that is idle. [`SharedSocket`] is the
//! byte stream of an adapter that has the socket itself. [`ServeOptions`] accepts the connections of an adapter's own
//! server, with the PROXY protocol and [TLS](Tls).
//!
//! [`FrameLimiter`] stands in front of a framework's own WebSocket that believes the lengths that a peer announces.

mod codec;
mod decoder;
mod limiter;
mod poll_now;
mod serve_options;
mod socket;
mod tls;
mod websocket;
mod wire;

pub use limiter::FrameLimiter;
pub use poll_now::poll_now;
pub use serve_options::{Accepted, AcceptedSocket, ServeOptions, rebind, wait_for_accepted};
pub use socket::{SharedSocket, set_options};
pub use tls::{Tls, TlsError, TlsSocket};
pub use websocket::{CHUNK_BYTES, READ_BUFFER_BYTES, READ_BYTES, WRITE_BUFFER_BYTES, WebSocket};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
