//! The chat in a warp service: a filter among the host's own filters, and a layer around its service.
//!
//! ```no_run
//! use chat_core::{Chat, Endpoint};
//! use warp::Filter;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
//! let chat = Chat::default();
//! let hello = warp::path!("hello").map(|| "hello");
//! let routes = hello.or(chat_warp::routes(Endpoint::new(chat.clone())));
//! let app = chat_warp::UpgradeLayer::new().layer(warp::service(routes));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! chat_warp::serve(listener, app, &chat, std::future::pending()).await
//! # }
//! ```
//!
//! - [`routes`] is the chat as a filter: combine it with `or`, or put it behind `warp::path`. With
//!   [`routes_with_extension`], the chat's users are those of the host's own layers.
//! - [`UpgradeLayer`] goes around the service, so that it sees each response as it leaves. Without it, the chat refuses
//!   each upgrade with 500 and logs that the layer is missing.
//! - [`serve`] runs the service with limits for clients that do not finish a request; [`serve_with`] has options for
//!   TLS and the PROXY protocol. Any hyper server that allows upgrades runs the service too.
//!
//! warp routes the request and writes the 101. Then the socket is taken from warp, and the WebSocket of all adapters
//! runs on it ([`UpgradeMode::Hijack`], the default). With [`UpgradeMode::Framework`], warp's own WebSocket is used.
//! The top of `src/framework.rs` lists the differences.
//!
//! `examples/mount.rs` adds a handler that posts into a room.

mod framework;
mod routes;

pub use chat_adapter::{ServeOptions, Tls, TlsError, UpgradeLayer, UpgradeService, serve, serve_with};
#[cfg(doc)]
use chat_core::UpgradeMode;
pub use routes::{not_found, routes, routes_with_extension};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
