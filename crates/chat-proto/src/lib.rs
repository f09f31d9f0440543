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
//! The wire is symmetric: a [`Command`](command::Command) is written by a client and read by a server, an
//! [`Event`] is written by a server and read by a client.
//!
//! ```
//! use chat_proto::command::{self, Command, JoinFrom};
//! use chat_proto::{Event, Limits};
//!
//! let join = Command::Join { room: "로비".parse()?, from: JoinFrom::Last(20) };
//! let text = join.encode(Some("1"));
//! let parsed = command::parse(text.as_bytes(), &Limits::default());
//! assert_eq!(parsed.reference.as_deref(), Some("1"));
//! assert!(matches!(parsed.command, Ok(Command::Join { .. })));
//!
//! let event = Event::parse(r#"{"type":"left","ref":"2","room":"로비"}"#)?;
//! assert_eq!(event.reference(), Some("2"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod handshake;
pub mod room;
pub mod session;

mod export;
mod limits;
mod name;
mod rate;
mod returns;
mod rights;
mod text;
mod user;
mod wire;

pub use export::{
    Contradiction, EXPORT_VERSION, ExportLine, ExportReader, ExportedMessage, ExportedRoom, InvalidExport,
    one_line,
};
pub use limits::{
    ConnectionLimits, HttpLimits, Limits, NodeLimits, RateLimits, ReadLimits, RoomLimits, WireLimits,
};
pub use name::{InvalidRoomName, RoomName, has_visible, is_printable};
pub use rate::{Bucket, Rate, SharedRate};
pub use returns::Returns;
pub use rights::Role;
pub use room::{
    Act, ActContext, ActEffect, ActEntry, ActState, AppendError, AppendReceipt, Change, ChangeEntry,
    ChangeError, ChangeKind, ChangeReceipt, ChangedEntries, Cursor, Deleted, Direct, Edited, Folded, Follows,
    Gap, Governance, JoinError, JoinRule, Linked, Links, Log, LogBounds, Marked, MarkerError, Mentions,
    MessageChanges, NewAct, NewChange, NewMessage, Next, NoRight, Page, PostRule, PurgePlaces, Range,
    Reaction, ReactionSets, Replies, Restrict, Restriction, Resumption, Right, Rights, RoomRules, Roster,
    Scan, Search, SearchError, SearchPage, Standing, StoredMessage, Tail, Target, ThreadError, Unavailable,
    Uncounted, Unread, UnreadCount, Verdict, fold, resume, search_text,
};
pub use text::{InvalidText, Text};
pub use user::{InvalidUser, InvalidUserName, User, UserKey, user_record};
pub(crate) use wire::MAX_INTEGER;
pub use wire::{
    CloseCode, ErrorCode, Event, InvalidEvent, LimitsNotice, OtherCode, PresenceMode, PresenceState,
    ProtocolViolation, RawEvent, ReconnectAdvice, RoomSummary, What, command, frames,
};

/// The subprotocol token of this protocol, as offered in `Sec-WebSocket-Protocol`.
pub const SUBPROTOCOL: &str = "chat.v1";

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
