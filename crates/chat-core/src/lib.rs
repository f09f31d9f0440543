//! A chat behind any WebSocket: rooms with an ordered, durable log, sessions that resume exactly, and nothing about how a
//! connection came to be.
//!
//! A [`Connection`] carries frames, a session speaks for a user, a [`Room`] orders messages, the [`Chat`] holds them
//! all. An adapter shows its framework's request to an [`Endpoint`], sends the answer, and gives the connection to the
//! [`UpgradeTicket`] that came with it. Any other transport calls [`Chat::admit`] and serves the [`Ticket`].
//!
//! ```
//! use chat_core::{Chat, RoomName, Text, User};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
//! # runtime.block_on(async {
//! let chat = Chat::default();
//! let lobby: RoomName = "lobby".parse()?;
//! let receipt = chat.post(&lobby, &User::guest("clock")?, &Text::new("It is noon.")).await?;
//! assert_eq!(receipt.seq, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod authorize;
mod builder;
mod bus;
mod chat;
mod connection;
mod error;
mod identity;
mod message;
mod room;
mod session;
mod store;
mod timer;
mod upgrade;

pub use authorize::{Action, Authorize, Forbidden};
pub use builder::Builder;
pub use bus::{Bus, BusSink, InvalidNodeId, NodeId, Notice};
pub use chat::{Chat, Counts, Drained};
pub use connection::{Connection, Incoming, Outgoing};
pub use error::PostError;
pub use identity::{Denied, Identify, IdentifyRequest, Identity};
pub use message::{BodyError, Message, Text};
pub use room::{MemoryRoom, MemoryStore, Subscription};
pub use session::Ticket;
pub use store::{Commit, CommitSink, Health, Room, Store};
pub use upgrade::{
    Answer, Decision, Endpoint, Handler, Readiness, SwitchingProtocols, Upgrade, UpgradeGuard, UpgradeMode,
    UpgradeTicket,
};

pub use chat_proto::handshake::{Refusal, RequestHead, Version};
pub use chat_proto::{
    AppendError, AppendReceipt, CloseCode, ConnectionLimits, ErrorCode, HttpLimits, Limits, LogBounds,
    NewMessage, Page, ProtocolViolation, Range, RoomLimits, RoomName, Scan, Search, SearchError, SearchPage,
    StoredMessage, Unavailable, User, UserKey, WireLimits,
};
