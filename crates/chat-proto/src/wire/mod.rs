//! The `chat.v1` wire, in both directions: commands and events, read and written.

pub mod command;
pub mod frames;

mod close;
mod error;
mod event;
mod json;

pub use close::{CloseCode, ProtocolViolation, ReconnectAdvice};
pub use error::{ErrorCode, OtherCode};
pub(crate) use event::{Changed, Message};
pub use event::{
    Event, InvalidEvent, LimitsNotice, PresenceMode, PresenceState, RawEvent, RoomSummary, What,
};

/// The largest integer that every JSON reader can hold (2^53 - 1).
pub(crate) const MAX_INTEGER: u64 = (1 << 53) - 1;
