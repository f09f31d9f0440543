//! WebSocket on a byte stream that somebody else upgraded.
//!
//! [`WebSocket`] is the [`Connection`](chat_core::Connection) of every mechanism that hands over raw bytes.
//! Since they all share it, what they do on the wire is the same by construction. tungstenite reads and
//! writes the frames; its defaults are for clients of trusted servers, and are all set here.

mod guard;
mod websocket;
mod wire;

pub use guard::Guard;
pub use websocket::{CHUNK, READ_BUFFER, WRITE_BUFFER, WebSocket};
