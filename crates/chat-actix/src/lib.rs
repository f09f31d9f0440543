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
//! - [`serve`] runs the app; [`serve_with`] has options for TLS and the PROXY protocol. A host that runs its own
//!   `HttpServer` needs the same settings as [`serve`], and then has no limits that actix lacks: on the plain
//!   connections of an address, on the time for a head after another request, and on the time for which a peer takes
//!   nothing. By default, actix holds the end of each connection back for a second.
//!
//! actix parses the request and writes the 101. Then the session takes the socket out of actix, which ends its own part
//! of the connection. With [`UpgradeMode::Hijack`], the default, the WebSocket of all adapters runs on the socket. With
//! [`UpgradeMode::Framework`], actix-ws runs on it. The top of `src/framework.rs` lists the differences.
//!
//! A server of the host's own, such as `HttpServer`, keeps the socket. There, the WebSocket runs on the payload of the
//! request and the body of the response. Rooms cannot write straight to the socket, so a delivery costs more CPU time,
//! and an idle connection keeps the two buffers of actix, 8 KiB each.
//!
//! Three deviations come from actix's parser, in both modes. A request without `Host` is refused without the chat's
//! JSON, and a request is an upgrade only if its `Upgrade` header is the word `websocket` alone. If HEAD and other
//! requests are pipelined, actix may send a body for HEAD, or none for another. A server of the host's own closes both
//! directions at once. There, a violation of the protocol ends up to the close timeout later.
//!
//! `examples/mount.rs` adds a handler that posts into a room. `examples/users.rs` has its own users.

mod convert;
mod error;
mod framework;
mod hijack;
mod layer;
mod output;
mod pipe;
mod routes;
mod serve;
mod stream;
mod takeover;
mod transport;

#[cfg(doc)]
use chat_core::UpgradeMode;
pub use chat_websocket::{ServeOptions, Tls, TlsError};
pub use layer::{UpgradeLayer, UpgradeService};
pub use routes::{not_found, routes, routes_with_extension};
pub use serve::{serve, serve_with};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
