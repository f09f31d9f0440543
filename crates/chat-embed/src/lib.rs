//! An embeddable chat server for actix-web, axum, warp and hyper.
//!
//! A service mounts the chat in its own router, with its own users. Clients connect with a WebSocket and speak the
//! protocol `chat.v1`: one JSON object per message, which is described in PROTOCOL.md.
//!
//! This crate re-exports the parts. The core is at the root, and each adapter and store is a module with a
//! feature of the same name: `axum`, `actix`, `warp`, `hyper`, `sqlite`, `client`.
//!
//! 1. [What it is](#what-it-is)
//! 2. [Mount it](#mount-it)
//! 3. [Users](#users)
//! 4. [Rights](#rights)
//! 5. [Rooms and messages](#rooms-and-messages)
//! 6. [Stores](#stores)
//! 7. [Guarantees](#guarantees)
//! 8. [Other transports](#other-transports)
//!
//! # What it is
//!
//! A [`Connection`] carries frames. A session speaks for a [`User`]. A [`Room`] is an ordered log of messages, and a
//! member is a cursor in it. The [`Chat`] holds all rooms and sessions, and is a handle that a service can clone. The
//! [`Endpoint`] is the chat as an HTTP service sees it: its path, the origins of the pages that may connect, and the
//! users.
//!
//! # Mount it
//!
//! With axum, feature `axum`. The modules of the other frameworks have the same functions:
//!
//! ```no_run
//! # #[cfg(feature = "axum")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! use chat_embed::{Chat, Endpoint};
//!
//! let chat = Chat::default();
//! let app = axum::Router::new().merge(chat_embed::axum::routes(Endpoint::new(chat.clone())));
//! let app = app.layer(chat_embed::axum::UpgradeLayer::new());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! chat_embed::axum::serve(listener, app, &chat, std::future::pending()).await
//! # }
//! # #[cfg(not(feature = "axum"))]
//! # fn main() {}
//! ```
//!
//! The layer must be the outermost one, so a service adds it last. It sees each response as it leaves: a session starts
//! only if the client got the 101. [`Chat::drain`] ends all sessions, and clients reconnect to the next process.
//!
//! With actix-web, feature `actix`:
//!
//! ```no_run
//! # #[cfg(feature = "actix")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! use chat_embed::actix::{UpgradeLayer, routes, serve};
//! use chat_embed::{Chat, Endpoint};
//!
//! let chat = Chat::default();
//! let endpoint = Endpoint::new(chat.clone());
//! let app = move || actix_web::App::new().configure(routes(endpoint.clone())).wrap(UpgradeLayer::new());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! serve(listener, app, &chat, std::future::pending()).await
//! # }
//! # #[cfg(not(feature = "actix"))]
//! # fn main() {}
//! ```
//!
//! With warp, feature `warp`:
//!
//! ```no_run
//! # #[cfg(feature = "warp")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! use chat_embed::{Chat, Endpoint};
//!
//! let chat = Chat::default();
//! let routes = chat_embed::warp::routes(Endpoint::new(chat.clone()));
//! let app = chat_embed::warp::UpgradeLayer::new().layer(warp::service(routes));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! chat_embed::warp::serve(listener, app, &chat, std::future::pending()).await
//! # }
//! # #[cfg(not(feature = "warp"))]
//! # fn main() {}
//! ```
//!
//! With plain hyper, feature `hyper`:
//!
//! ```no_run
//! # #[cfg(feature = "hyper")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! use chat_embed::{Chat, Endpoint};
//!
//! let chat = Chat::default();
//! let routes = chat_embed::hyper::routes(Endpoint::new(chat.clone()));
//! let app = chat_embed::hyper::UpgradeLayer::new().layer(routes);
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! chat_embed::hyper::serve(listener, app, &chat, std::future::pending()).await
//! # }
//! # #[cfg(not(feature = "hyper"))]
//! # fn main() {}
//! ```
//!
//! # Users
//!
//! Without further code, each connection is a guest. [`Endpoint::identify`] sets the service's own decision. It sees
//! the request, and a request that it denies gets 401 instead of a WebSocket. An [`Identify`] may ask a database.
//!
//! ```
//! use chat_embed::{Chat, Denied, Endpoint, Identity, IdentifyRequest, User};
//!
//! let endpoint = Endpoint::new(Chat::default()).identify(|request: &IdentifyRequest<'_>| {
//!     match request.cookie("session") {
//!         Some("ann-1") => User::new("1", "Ann").map(Identity::from).map_err(|_| Denied::Unauthorized),
//!         _ => Err(Denied::Unauthorized),
//!     }
//! });
//! # drop(endpoint);
//! ```
//!
//! A service whose own middleware already knows the user puts it into the extensions of the request, and reads it with
//! [`IdentifyRequest::extension`]. With actix-web and warp, `routes_with_extension` names the type. Each user has an id
//! of the service, which is the same on sockets and in [`Chat::post`]: see [`User::new`].
//!
//! An [`Identify`] that awaits is an `impl` with the attribute [`async_trait`], as is a store:
//!
//! ```
//! use chat_embed::{Denied, Identify, Identity, IdentifyRequest, async_trait};
//!
//! struct Database;
//!
//! #[async_trait]
//! impl Identify for Database {
//!     async fn identify(&self, request: &IdentifyRequest<'_>) -> Result<Identity, Denied> {
//!         request.guest().cloned().map(Identity::from).ok_or(Denied::Unauthorized)
//!     }
//! }
//! # drop(chat_embed::Endpoint::new(chat_embed::Chat::default()).identify(Database));
//! ```
//!
//! # Rights
//!
//! [`Builder::authorize`] sets what a user may do in a room, and [`Chat::kick`] closes the connections of a user:
//!
//! ```
//! use chat_embed::{Action, Chat, Forbidden, RoomName, User};
//!
//! let chat = Chat::builder()
//!     .authorize(|user: &User, room: &RoomName, _: &Action<'_>| {
//!         let is_allowed = room.as_str() != "staff" || user.id().starts_with("staff:");
//!         is_allowed.then_some(()).ok_or(Forbidden::Rights)
//!     })
//!     .build();
//! let bob = User::new("customer:2", "Bob")?;
//! assert_eq!(chat.kick(&bob), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Authorize`] is asked for the commands of clients. [`Chat::post`] and [`Chat::post_with_key`] do not ask it: check
//! the rights yourself before you post for a user. One function can serve both: see `may_use` in
//! `crates/chat-axum/examples/users.rs`.
//!
//! # Rooms and messages
//!
//! A room exists once a client joins it or the service posts into it. Messages are text, or a [`Message`] type of the
//! service. Any type that serde reads and writes can be one. A body is read as that type before it is stored:
//!
//! ```
//! use chat_embed::{BodyError, Chat, Limits, Message, RawValue, User};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Order {
//!     order: u64,
//!     state: String,
//! }
//!
//! impl Message for Order {}
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
//! # runtime.block_on(async {
//! let stray = RawValue::from_string(r#"{"text":"hi"}"#.to_owned())?;
//! assert_eq!(Order::parse(&stray, &Limits::default()).err(), Some(BodyError::Invalid));
//!
//! let chat = Chat::builder().messages::<Order>().build();
//! let room = "orders".parse()?;
//! let packed = Order { order: 7, state: "packed".to_owned() };
//! let receipt = chat.post(&room, &User::new("service:stock", "Stock")?, &packed).await?;
//! assert_eq!(receipt.seq, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Stores
//!
//! By default rooms are in memory. The feature `sqlite` keeps them in a database, and any [`Store`] can be set:
//!
//! ```no_run
//! # #[cfg(feature = "sqlite")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use chat_embed::{Chat, sqlite};
//!
//! let store = sqlite::SqliteStore::open("chat-data", sqlite::Options::default())?;
//! let chat = Chat::builder().store(store).build();
//! # drop(chat);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "sqlite"))]
//! # fn main() {}
//! ```
//!
//! # Guarantees
//!
//! - **Order.** All members of a room see the same messages in the same order, with `seq` 1, 2, 3, and so on.
//! - **Resume.** A client that reconnects gets the messages that it missed, or a `gap` event that names them.
//! - **No duplicates.** A `send` that is repeated with the same key is stored once: [`Chat::post_with_key`].
//! - **Commit first.** No member sees a message, and no sender gets an answer, before the store has committed it.
//! - **Bounds.** Each queue has a bound and each wait a limit. A client that does not read is closed, and it does not
//!   slow down others. The numbers are in [`Limits`].
//!
//! ```
//! use chat_embed::{Chat, Text, User};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
//! # runtime.block_on(async {
//! let chat = Chat::default();
//! let (room, clock) = ("lobby".parse()?, User::guest("clock")?);
//! let first = chat.post_with_key(&room, &clock, &Text::new("It is noon."), "noon").await?;
//! let repeated = chat.post_with_key(&room, &clock, &Text::new("It is noon."), "noon").await?;
//! assert_eq!(first.seq, repeated.seq);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Other transports
//!
//! A WebSocket is not required. [`Chat::admit`] gives a [`Ticket`] for one session, and [`Ticket::serve`] runs the
//! session on anything that implements [`Connection`].

pub use chat_core::*;

#[cfg(feature = "actix")]
pub use chat_actix as actix;
#[cfg(feature = "axum")]
pub use chat_axum as axum;
#[cfg(feature = "client")]
pub use chat_client as client;
#[cfg(feature = "sqlite")]
pub use chat_sqlite as sqlite;
#[cfg(feature = "hyper")]
pub use chat_tungstenite as hyper;
#[cfg(feature = "warp")]
pub use chat_warp as warp;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct RootReadme;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/users.md")]
struct UsersPage;
