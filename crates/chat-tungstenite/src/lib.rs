//! The chat for services that speak hyper: the connection is hijacked.
//!
//! hyper parses the request and writes the 101; then the socket is taken from it, with the bytes it had
//! already read, and tungstenite speaks WebSocket there.
//!
//! ```no_run
//! # async fn main_of_a_shop(listener: tokio::net::TcpListener) {
//! use chat_core::{Chat, Endpoint};
//!
//! let chat: Chat = Chat::default();
//! let limits = chat.limits().clone();
//! // `NotFound` stands for the service's own routes; they post with `chat.post(..)`.
//! let service = chat_tungstenite::mount(Endpoint::new(chat), chat_tungstenite::NotFound);
//! chat_tungstenite::serve(listener, service, &limits, std::future::pending()).await;
//! # }
//! ```
//!
//! [`mount`] puts the chat in front of a service that has routes of its own, and [`serve`] runs the two.
//! `examples/mount.rs` does that with a service that also posts into a room.

mod hijack;

use chat_core::{Endpoint, Message};
pub use chat_hyper::{NotFound, Outermost, outermost, serve};

pub use hijack::{Route, route};

/// The chat, and `host` for all that is not for the chat: [`NotFound`] where there is nothing else.
pub fn mount<M: Message, S>(endpoint: Endpoint<M>, host: S) -> Outermost<Route<M, S>> {
    outermost(route(endpoint, host))
}
