//! The chat in an axum service: a route and a layer in the host's own router.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use chat_core::{Chat, Endpoint};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
//! let chat = Chat::default();
//! let app = Router::new()
//!     .route("/hello", get("hello"))
//!     .merge(chat_axum::routes(Endpoint::new(chat.clone())))
//!     .layer(chat_axum::UpgradeLayer::new());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! chat_axum::serve(listener, app, &chat, std::future::pending()).await
//! # }
//! ```
//!
//! - [`routes`] is the chat as a router: `merge` it, or `nest` it below a path.
//! - [`UpgradeLayer`] is the last layer, so that it sees each response as it leaves. Without it, the chat refuses each
//!   upgrade with 500 and logs that the layer is missing.
//! - [`serve`] runs the router with limits for clients that do not finish a request; [`serve_with`] has options for TLS
//!   and the PROXY protocol. `axum::serve` runs the router too.
//!
//! axum routes the request and writes the 101. Then the socket is taken from axum, and the WebSocket of all adapters
//! runs on it ([`UpgradeMode::Hijack`], the default). With [`UpgradeMode::Framework`], axum's own WebSocket is used.
//! The top of `src/framework.rs` lists the differences.
//!
//! `examples/mount.rs` adds a handler that posts into a room. `examples/users.rs` has its own users.

mod framework;
mod routes;
mod serve;

pub use chat_adapter::{ServeOptions, Tls, TlsError, UpgradeLayer, UpgradeService};
#[cfg(doc)]
use chat_core::UpgradeMode;
pub use routes::{not_found, routes};
pub use serve::{serve, serve_with};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
