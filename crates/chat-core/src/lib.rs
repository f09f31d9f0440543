//! One chat behind any WebSocket.
//!
//! A [`Connection`] carries frames, a session speaks for a user, a [`Room`] orders messages, the [`Chat`]
//! holds them all. Nothing here knows how a connection came to be: an adapter shows its framework's request
//! to an [`Endpoint`], sends the answer, and gives the connection to the [`Ticket`] that came with it.
//!
//! ```
//! use chat_core::{Chat, RoomName, Text, User};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
//! # runtime.block_on(async {
//! let chat: Chat = Chat::default();
//! let lobby: RoomName = "lobby".parse()?;
//! let posted = chat.post(&lobby, &User::guest("clock")?, &Text::new("It is noon."), None).await?;
//! assert_eq!(posted.seq, 1);
//! # Ok::<(), chat_core::ErrorCode>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod chat;
mod clocks;
mod complaints;
mod connection;
mod driver;
mod echo;
mod endpoint;
mod inbox;
mod live;
mod memory;
mod message;
mod output;
mod room;
mod rooms;
mod serve;
mod upgrade;

pub use chat::{Builder, Chat, Counts, Drained};
pub use connection::{Connection, Incoming, Outgoing};
pub use endpoint::{Answer, Decision, Endpoint, Mechanism};
pub use memory::MemoryRoom;
pub use message::{BodyError, Message, Text};
pub use room::{CommitSink, Room, Unavailable};
pub use upgrade::{SwitchingProtocols, Ticket, Upgrade, Watch};

pub use chat_proto::handshake::{RequestHead, Version};
pub use chat_proto::{
    AppendError, AppendReceipt, CloseCode, ErrorCode, Limits, LogBounds, NewMessage, Page, ProtocolViolation,
    Range, RoomName, Scan, Search, SearchError, SearchPage, StoredMessage, User,
};
