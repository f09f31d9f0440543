//! The chat in an actix-web service: a configuration and a middleware of the host's own app.
//!
//! ```no_run
//! use actix_web::{App, web};
//! use chat_core::{Chat, Endpoint};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
//! let chat = Chat::default();
//! let endpoint = Endpoint::new(chat.clone());
//! let app = move || {
//!     App::new()
//!         .route("/hello", web::get().to(async || "hello"))
//!         .configure(chat_actix::routes(endpoint.clone()))
//!         .wrap(chat_actix::UpgradeLayer::new())
//! };
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! chat_actix::serve(listener, app, &chat, std::future::pending()).await
//! # }
//! ```
//!
//! - [`routes`] is the chat as a configuration of an app or a scope. With [`routes_with_extension`], the chat's users
//!   are those of the host's own middleware.
//! - [`UpgradeLayer`] is the last middleware, so that it sees each response as it leaves. Without it, the chat refuses
//!   each upgrade with 500 and logs that the layer is missing.
//! - [`serve`] runs the app. A host that runs its own `HttpServer` needs the same settings as [`serve`], and then has
//!   no limits that actix lacks: on the plain connections of an address, on the time for a head after another request,
//!   and on the time for which a peer takes nothing. By default, actix holds the end of each connection back for a
//!   second.
//!
//! actix parses the request and writes the 101. After that, the payload of the request has the bytes that the peer
//! sends, and the body of the response the bytes that it gets. actix keeps the socket. With [`UpgradeMode::Hijack`],
//! the default, the WebSocket of all adapters runs on these two. With [`UpgradeMode::Framework`], actix-ws runs on
//! them. The top of `src/framework.rs` lists the differences.
//!
//! Three deviations come from actix's parser, in both modes. A request without `Host` is refused without the chat's
//! JSON, and a request is an upgrade only if its `Upgrade` header is the word `websocket` alone. If HEAD and other
//! requests are pipelined, actix may send a body for HEAD, or none for another. Because actix closes both directions at
//! once, a violation of the protocol ends up to the close timeout later than with the other adapters.
//!
//! `examples/mount.rs` adds a handler that posts into a room. `examples/users.rs` has its own users.

mod convert;
mod error;
mod framework;
mod hijack;
mod inbound;
mod layer;
mod pipe;
mod routes;
mod serve;
mod stream;

#[cfg(doc)]
use chat_core::UpgradeMode;
pub use layer::{UpgradeLayer, UpgradeService};
pub use routes::{not_found, routes, routes_with_extension};
pub use serve::{serve, serve_proxied};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
