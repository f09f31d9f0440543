//! A client of `chat.v1` that reconnects and resumes.
//!
//! ```no_run
//! use chat_client::{Client, Event, JoinFrom, RoomName, Text};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let (client, mut events) = Client::builder("ws://127.0.0.1:8080/ws").name("Ann").connect().await?;
//! let lobby: RoomName = "lobby".parse()?;
//! client.join(&lobby, JoinFrom::Last(20)).await?;
//! let sent = client.send(&lobby, &Text("hi")).await?;
//! while let Some(event) = events.next().await {
//!     match event {
//!         Event::Message(message) => println!("{}: {:?}", message.user.name, message.text()),
//!         Event::Gap { from, to, .. } => println!("{} messages are missing", to - from + 1),
//!         Event::Closed(why) => println!("over: {why}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! - **Each message once, in order, or told what is missing.** When a connection is lost, the client connects
//!   again, after a wait that doubles and is random ([`Reconnect`]) or that the server asks for, and joins every
//!   room again after the last message that the consumer was given. If the room's log no longer reaches back,
//!   [`Event::Gap`] names the hole; if the room has begun anew, [`Event::Resumed`] says so.
//! - **A send happens once.** It carries a key, and is repeated with it until there is a reply: on each new
//!   connection, and where the server cannot take it now (`unavailable`, `rate_limited`), after a wait that doubles
//!   or that the server asks for. Meanwhile later sends to that room wait behind it. The server keeps as many keys
//!   as it says; a guest's keys are those of their name.
//! - **Every wait has a limit, every queue a bound.** A command whose time is over is [`Error::Timeout`] or
//!   [`Error::Unsure`] if it may have been carried out, [`Error::NotConnected`] or [`Error::Refused`] if it was not.
//! - **The server's word is not taken on trust.** What is not `chat.v1`, or too long, ends the client with
//!   [`Lost::Breach`]; an event of an unknown type is passed over.
//!
//! # When it does not come back
//!
//! After close codes that PROTOCOL.md, section 7.2, does not let a client come back from (1000, 1002, 1003, 1007, 1009,
//! 4005 for want of a new token, 4500 and up), after a refusal that will not change (400, 401, 403 and the like),
//! and when [`Reconnect::give_up`] has passed, the last event is [`Event::Closed`] and each command answers
//! [`Error::Closed`].
//!
//! # A consumer that is slow
//!
//! [`Events`] holds [`Builder::event_buffer`] events. When it is full, the client stops to read: the server then
//! keeps what is to come in the room's log, and closes with 4000 if nothing is read for long, after which the client
//! resumes once there is room. Nothing of that is lost while the log reaches back.
//!
//! A command's reply may stand behind events for which there is no room. So while a command waits, the client reads
//! on: what does not fit is left out, and asked for again from the log once half of the buffer is free. A single task
//! can therefore send and read in turn without waiting for itself. Only presence and typing, which no log has, are
//! lost then.
//!
//! # Below it
//!
//! [`socket::Socket`] is one connection without any of this, [`RawEvent`] and [`Command`] are its events and
//! commands. There is no TLS: where it is needed, a proxy in front of the server has it, and the client is near.

mod backoff;
mod builder;
mod client;
mod command;
mod driver;
mod error;
mod event;
mod events;
mod hold;
mod link;
mod place;
mod raw;
mod reply;
pub mod socket;
mod state;

pub use backoff::Reconnect;
pub use builder::Builder;
pub use client::{Client, Text};
pub use command::Command;
pub use error::{Closed, ConnectError, Error, ErrorCode, Lost, Refusal};
pub use event::{Event, Message, ServerLimits, User, Welcome};
pub use events::Events;
pub use raw::RawEvent;
pub use reply::{Joined, Page, Sent};

pub use chat_proto::command::JoinFrom;
pub use chat_proto::{Range, RoomName};
