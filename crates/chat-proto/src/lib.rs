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
pub mod session;

mod close;
mod error;
mod event;
mod fields;
mod limits;
mod log;
mod name;
mod resume;
mod roster;
mod search;
mod tail;

pub use close::{CloseCode, ProtocolViolation};
pub use error::ErrorCode;
pub use event::{Event, LimitsNotice, PresenceState};
pub use limits::{ConnectionLimits, HttpLimits, Limits, RoomLimits, WireLimits};
pub use log::{AppendError, AppendReceipt, Log, LogBounds, NewMessage, Page, Range, StoredMessage};
pub use name::{RoomName, User, UserKey};
pub use resume::{Gap, Resumption, resume};
pub use roster::Roster;
pub use search::{Scan, Search, SearchError, SearchPage, fold};
pub use tail::{Cursor, Next, Tail};

/// The subprotocol token of this protocol, as offered in `Sec-WebSocket-Protocol`.
pub const SUBPROTOCOL: &str = "chat.v1";
