//! The `chat.v1` protocol as pure functions of (state, now, input).
//!
//! Nothing here needs a runtime, a socket or a clock. Time and ids are arguments, and effects are returned as values.
//! `chat-core` performs the decisions of this crate.
//!
//! - [`handshake::decide`] accepts or refuses an upgrade.
//! - [`session::Session`] turns the frames of one connection into replies and operations in rooms.
//! - [`room::Room`] orders the entries of a room and holds its members.
//! - [`Log`] is the log of a room in memory, [`Scan`] a search in any log.
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
