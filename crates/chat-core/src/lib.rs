//! An embeddable chat: rooms with an ordered log, and sessions that resume exactly, over any kind of connection.
//!
//! A [`Connection`] carries frames, a session speaks for a [`User`], a [`Room`] orders messages, and the [`Chat`] holds
//! them all. An adapter crate mounts the chat in a web framework, and a store crate keeps the rooms.
//!
//! # Mount it
//!
//! An adapter shows each request to an [`Endpoint`], sends the answer, and gives the connection to the
//! [`UpgradeTicket`] that came with the answer. A host chooses the path, the origins and the status pages:
//!
//! ```
//! use chat_core::{Chat, Endpoint};
//!
//! let endpoint = Endpoint::new(Chat::default()).path("/chat").with_status_pages();
//! # drop(endpoint);
//! ```
//!
//! A transport that is not a WebSocket implements [`Connection`] and makes two calls: [`Chat::admit`] for a user, and
//! [`Ticket::serve`] for the connection.
//!
//! # Users
//!
//! Without further code, each connection is a guest. [`Identify`] names the user behind a request, and [`Authorize`]
//! decides which rooms the user may join and what the user may send:
//!
//! ```
//! use chat_core::{Action, Chat, Denied, Endpoint, Forbidden, Identity, IdentifyRequest, RoomName, User};
//!
//! let chat = Chat::builder()
//!     .authorize(|user: &User, room: &RoomName, _: &Action<'_>| match room.as_str() {
//!         "staff" if user.key().is_guest() => Err(Forbidden::Rights),
//!         _ => Ok(()),
//!     })
//!     .build();
//! let endpoint = Endpoint::new(chat).identify(|request: &IdentifyRequest<'_>| {
//!     match (request.cookie("session"), request.guest()) {
//!         (Some("s1"), _) => Ok(Identity::from(User::new("7", "Ann").map_err(|_| Denied::Unauthorized)?)),
//!         (None, Some(guest)) => Ok(Identity::from(guest.clone())),
//!         _ => Err(Denied::Unauthorized),
//!     }
//! });
//! # drop(endpoint);
//! ```
//!
//! Each call has a time limit. If a call fails, panics, or does not return in time, the action is refused.
//! [`Chat::kick`] closes the connections of a user.
//!
//! # Rooms from host code
//!
//! [`Chat::post`], [`Chat::history`], [`Chat::search`] and [`Chat::subscribe`] are the calls of a host on rooms:
//!
//! ```
//! use chat_core::{Chat, Event, RoomName, Text, User};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let chat = Chat::default();
//! let lobby: RoomName = "lobby".parse()?;
//! let mut events = chat.subscribe(&lobby).await?;
//! let receipt = chat.post(&lobby, &User::new("service:clock", "Clock")?, &Text::new("It is noon.")).await?;
//! assert_eq!(receipt.seq, 1);
//! assert!(matches!(events.next().await, Some(Ok(Event::Message { seq: 1, .. }))));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A service that sends more than text defines a [`Message`]: see [`Builder::messages`].
//!
//! # Stores
//!
//! Rooms are in memory by default. A [`Store`] keeps them elsewhere: see [`Builder::store`]. Several servers can share
//! a store. They need a [`NodeId`] each, and a [`Bus`] for presence, typing and kicks.
//!
//! # Guarantees
//!
//! - The members of a room get the same messages in the same order, each once. A message that a member cannot get is
//!   named in a `gap` event.
//! - A message is delivered and acknowledged only after the store has committed it.
//! - A client that returns with its position gets exactly what it has missed.
//! - A client that reads slowly delays no other client. Each queue has a bound, and each wait has a limit: see
//!   [`Limits`].
//! - [`Chat::drain`] answers the commands that were received, and loses no message.

mod address;
mod authorize;
mod bus;
mod chat;
mod connection;
mod error;
mod export;
mod fair_queue;
mod identity;
mod message;
mod room;
mod session;
mod stats;
mod store;
mod sync;
mod throttle;
mod timer;
mod upgrade;

pub use address::PlainConnection;
pub use authorize::{Action, Authorize, Forbidden};
pub use bus::{
    Bus, BusEvent, BusSink, InvalidNodeId, InvalidNotice, NodeId, NodePresence, Notice, RosterEntry,
};
pub use chat::{Builder, Chat, Counts, Drained, Refusals, describe_metrics};
pub use connection::{Connection, DirectWrite, DirectlyWritten, Incoming, Outgoing};
pub use error::{AdmitError, PostError};
pub use export::{ExportLines, ExportWriter, Exported, Imported, ReadExportError};
pub use identity::{Denied, Identify, IdentifyRequest, Identity, IdentityLimits};
pub use message::{BodyError, Message};
pub use room::{MemoryRoom, MemoryStore, Subscription, SubscriptionError};
pub use session::Ticket;
pub use stats::{Changes, Deliveries, RateLimited, Resumes, SessionEnd, Stats};
pub use store::{Commit, CommitSink, Health, Room, Store};
pub use throttle::LogThrottle;
pub use upgrade::{
    Answer, Decision, Endpoint, GuardedRequest, Handler, ProxyProtocol, Readiness, RequestContext,
    RequestWait, StaticFile, SwitchingProtocols, Upgrade, UpgradeGuard, UpgradeMode, UpgradeTicket, screen,
};

/// The attribute for an `impl` of [`Store`], [`Room`], [`Identify`] or [`Authorize`].
pub use async_trait::async_trait;
/// The stream that [`Subscription`] is.
pub use futures_util::Stream;
/// The type map of a request: see [`RequestContext`].
pub use http::Extensions;
/// The body of a message, as JSON.
pub use serde_json::value::RawValue;

/// The frames of a WebSocket server, for a [`Connection`] that encodes them itself.
pub use chat_proto::frames;
pub use chat_proto::handshake::{
    HostPolicy, InvalidNetwork, InvalidOrigin, Network, OriginPattern, Refusal, RequestHead, TrustedProxies,
    Version, host_name,
};
pub use chat_proto::{
    Act, ActContext, ActEffect, ActEntry, ActState, AppendError, AppendReceipt, Change, ChangeEntry,
    ChangeError, ChangeKind, ChangeReceipt, CloseCode, ConnectionLimits, Deleted, Direct, Edited, ErrorCode,
    Event, Folded, Follows, Governance, HttpLimits, InvalidEvent, InvalidRoomName, InvalidUser,
    InvalidUserName, JoinError, JoinRule, Limits, LimitsNotice, Linked, Links, LogBounds, Marked,
    MarkerError, Mentions, MessageChanges, NewAct, NewChange, NewMessage, NoRight, NodeLimits, Page,
    PostRule, PresenceMode, PresenceState, ProtocolViolation, PurgePlaces, Range, Rate, RateLimits, Reaction,
    ReactionSets, ReadLimits, Replies, Restrict, Restriction, Right, Rights, Role, RoomLimits, RoomName,
    RoomRules, RoomSummary, Scan, Search, SearchError, SearchPage, Standing, StoredMessage, Target, Text,
    ThreadError, Unavailable, Unread, UnreadCount, User, UserKey, Verdict, What, WireLimits, has_visible,
    is_printable,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
