//! A client of `chat.v1` that reconnects and resumes.
//!
//! ```
//! # use chat_core::{Chat, Endpoint};
//! # use chat_tungstenite::{UpgradeLayer, routes, serve};
//! use chat_client::{Client, ClientEvent, JoinFrom, RoomName, Text};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let url = format!("ws://{}/ws", listener.local_addr()?);
//! # let chat = Chat::default();
//! # let service = UpgradeLayer::new().layer(routes(Endpoint::new(chat.clone())));
//! # tokio::spawn(async move { serve(listener, service, &chat, std::future::pending()).await });
//! let (client, mut events) = Client::builder(&url).name("Ann").connect().await?;
//! let lobby: RoomName = "lobby".parse()?;
//! client.join(&lobby, JoinFrom::Last(20)).await?;
//! client.send(&lobby, &Text::new("hi")).await?;
//! while let Some(event) = events.next().await {
//!     match event {
//!         ClientEvent::Message(message) => {
//!             assert_eq!((message.user.name(), message.text().as_deref()), ("Ann", Some("hi")));
//!             client.clone().close().await?;
//!         }
//!         ClientEvent::Gap { from, to, .. } => println!("entries {from} to {to} are missing"),
//!         ClientEvent::Closed(reason) => println!("the client has ended: {reason}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(example())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! - **Each message arrives once and in order, or an event names the gap.** When the connection is lost, the client
//!   connects again and resumes every room after the last entry that the consumer got. The wait before that doubles and
//!   is random ([`Reconnect`]), or is the one that the server asks for. If the room's log no longer reaches back,
//!   [`ClientEvent::Gap`] names the missing entries. If the room has a new log, [`ClientEvent::Resumed`] says so. The
//!   client advances over entries of a type that it does not know.
//! - **Fresh equals followed.** A message and the changes that follow it ([`ReceivedMessage::apply`]) give the message
//!   that a later reader gets. [`RoomView`] does so for the newest messages of a room, and for the pinned messages, the
//!   rights of the user and the unread messages.
//! - **A message is stored once.** A send carries a key and is repeated with it until the server stores or finally
//!   refuses the message: on each new connection, and after a wait if the server refuses it for now (`unavailable`,
//!   `rate_limited`). Later sends to that room wait behind it. The server limits for how long it knows a key. The keys
//!   of a guest belong to the guest's name.
//! - **Every wait has a limit and every queue a bound.** A command without a reply in time ends with
//!   [`Error::Timeout`] or [`Error::Unsure`] if it may have been carried out, and with [`Error::NotConnected`] or
//!   [`Error::Refused`] if not.
//! - **The client does not trust the server.** A frame that is not `chat.v1`, or too long, ends the client with
//!   [`Lost::Violation`]. Events of unknown types are ignored.
//!
//! # The end of a client
//!
//! The client does not reconnect after a close code that forbids it (see [`CloseCode::advice`]), after 4005 without a
//! [`Builder::token`], after a refused upgrade that will not change (400, 401, 403 and similar), after a certificate
//! that fails a check, and after [`Reconnect::give_up`]. The last event is [`ClientEvent::Closed`], and each command
//! returns [`Error::Closed`].
//!
//! # TLS
//!
//! An address that begins with `wss://` uses TLS 1.2 or 1.3. The client trusts the roots of the operating system, so an
//! operator who adds or removes a root there does it for this client too. [`Builder::roots`] trusts other roots
//! instead. The host in the address is the name that the certificate must have, and is sent as the server name (SNI).
//!
//! A certificate that fails a check ends the client with a [`TlsError`] that names the check, also when the client
//! reconnects. The client does not try again: the certificate does not change by itself, and each attempt would be
//! another one with a host that may not be the server. A handshake that the network ends is repeated.
//!
//! The feature `tls`, on by default, contains this.
//!
//! # Slow consumers
//!
//! [`Events`] holds [`Builder::event_buffer`] events. When it is full, the client stops reading. The server keeps the
//! entries in the room's log, and closes with 4000 if the client reads nothing for long. The client resumes when the
//! consumer has read enough. No entry is lost while the log reaches back.
//!
//! The reply to a command may arrive after events that do not fit. So while a command waits for its reply, the client
//! continues to read. It drops the events that do not fit, and asks the log for them again when half of the buffer is
//! free. A single task can therefore send and read in turn without a deadlock. Only presence, occupancy, typing and
//! receipts, which no log has, are lost then. The client asks for markers and the activity of followed rooms again.
//!
//! # Lower levels
//!
//! [`socket::Socket`] is a single connection without these guarantees. [`Command`] and [`RawEvent`] are the frames on
//! it, from `chat-proto`.

mod act;
mod backoff;
mod builder;
mod changes;
mod client;
mod driver;
mod error;
mod event;
mod events;
mod message;
mod messages;
mod reply;
mod rooms;
pub mod socket;
mod state;
#[cfg(feature = "tls")]
mod tls;
mod token;
mod view;

pub use act::ReceivedAct;
pub use backoff::Reconnect;
pub use builder::Builder;
pub use client::Client;
pub use error::{Closed, ConnectError, Error, InvalidCommand, Lost, ServerError, Violation};
pub use event::{ClientEvent, Welcome};
pub use events::Events;
pub use message::{ReceivedChange, ReceivedMessage, ReceivedPurge};
pub use reply::{Joined, MembersPage, MessagePage, RoomsPage};
#[cfg(feature = "tls")]
pub use tls::{Roots, RootsError, TlsError};
pub use token::TokenSource;
pub use view::RoomView;

pub use chat_proto::command::{Command, JoinFrom};
pub use chat_proto::{
    ActState, AppendReceipt, ChangeReceipt, CloseCode, Deleted, Edited, ErrorCode, Folded, InvalidEvent,
    InvalidRoomName, JoinRule, LimitsNotice, Links, Mentions, PostRule, PresenceMode, PresenceState,
    ProtocolViolation, Range, RawEvent, Reaction, Replies, Restrict, Restriction, Right, Rights, Role,
    RoomName, RoomRules, RoomSummary, Text, Unread, User, What,
};

/// The example in the README, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
