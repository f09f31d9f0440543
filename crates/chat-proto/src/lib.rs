//! The `chat.v1` protocol as pure functions of (state, now, input).
//!
//! Everything here can be called without a runtime, a socket or a clock: time and ids are arguments, and
//! what has to happen comes back as a value. `chat-core` performs what this crate decides.
//!
//! ```
//! use chat_proto::RoomName;
//!
//! let room: RoomName = "로비".parse()?;
//! assert_eq!(room.as_str(), "로비");
//! assert!("Lobby".parse::<RoomName>().is_err());
//! # Ok::<(), chat_proto::ErrorCode>(())
//! ```

pub mod command;
pub mod handshake;
pub mod room;
pub mod session;

mod close;
mod error;
mod event;
mod fields;
mod limits;
mod name;

pub use close::{CloseCode, ProtocolViolation};
pub use error::ErrorCode;
pub use event::{Event, LimitsNotice, PresenceState};
pub use limits::{ConnectionLimits, HttpLimits, Limits, RoomLimits, WireLimits};
pub use name::{RoomName, User, UserKey};

pub use room::{
    AppendError, AppendReceipt, Cursor, Gap, Log, LogBounds, NewMessage, Next, Page, Range, Resumption,
    Roster, Scan, Search, SearchError, SearchPage, StoredMessage, Tail, Unavailable, fold, resume,
};

/// The subprotocol token of this protocol, as offered in `Sec-WebSocket-Protocol`.
pub const SUBPROTOCOL: &str = "chat.v1";
