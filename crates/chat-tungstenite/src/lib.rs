//! The adapter for plain hyper, without a web framework: the chat as a tower service, and a layer.
//!
//! ```no_run
//! use chat_core::{Chat, Endpoint};
//!
//! # type Page = http::Response<http_body_util::Full<hyper::body::Bytes>>;
//! # async fn hello<B>(_: http::Request<B>) -> Result<Page, std::convert::Infallible> {
//! #     Ok(http::Response::default())
//! # }
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
//! let chat = Chat::default();
//! let routes = chat_tungstenite::routes(Endpoint::new(chat.clone())).fallback(tower::service_fn(hello));
//! let app = chat_tungstenite::UpgradeLayer::new().layer(routes);
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! chat_tungstenite::serve(listener, app, &chat, std::future::pending()).await
//! # }
//! ```
//!
//! - [`routes`] is the chat as a service. Its [`fallback`](Routes::fallback) is the host's own service.
//! - [`UpgradeLayer`] goes around them, so that it sees each response as it leaves. Without it, the chat refuses each
//!   upgrade with 500 and logs that the layer is missing.
//! - [`serve`] runs the service with limits for clients that do not finish a request; [`serve_with`] has options for
//!   TLS and the PROXY protocol. Any hyper server that allows upgrades runs the service too.
//!
//! hyper parses the request and writes the 101. Then the socket is taken from hyper, with the bytes that it has already
//! read, and tungstenite speaks WebSocket on it. hyper has no WebSocket of its own, so
//! [`UpgradeMode`](chat_core::UpgradeMode) makes no difference here.
//!
//! `examples/mount.rs` adds a handler that posts into a room. `examples/orders.rs` has messages of its own.

mod not_found;
mod routes;

pub use chat_adapter::{ServeOptions, Tls, TlsError, UpgradeLayer, UpgradeService, serve, serve_with};
pub use not_found::NotFound;
pub use routes::{Routes, routes};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
