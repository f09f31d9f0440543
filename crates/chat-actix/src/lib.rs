//! The chat for services that run actix-web: the connection is hijacked, or actix-ws speaks on it.
//!
//! actix parses the request and writes the 101. From then on the request's payload is what the peer sends,
//! and the response's body is what it gets; actix stays in charge of the socket, its routes and middleware
//! stay in place. [`Mechanism`] says who speaks WebSocket there: tungstenite, as behind every other adapter,
//! or actix-ws, with deviations that `src/context.rs` lists. Two are of actix's parser, in both mechanisms: a
//! request without `Host` is refused without our JSON, and one is an upgrade only if its `Upgrade` header is the
//! bare word. Since actix closes both directions at once, a breach of the protocol ends up to the close timeout
//! later than elsewhere.
//!
//! ```no_run
//! # async fn main_of_a_shop(listener: std::net::TcpListener) -> std::io::Result<()> {
//! use actix_web::{App, web};
//! use chat_core::{Chat, Endpoint, Mechanism};
//!
//! let chat: Chat = Chat::default();
//! let limits = chat.limits().clone();
//! let app = move || {
//!     // The service's own routes; they post with `chat.post(..)`.
//!     let own = App::new().route("/hello", web::get().to(async || "hello"));
//!     chat_actix::mount(own, Endpoint::new(chat.clone()), Mechanism::Hijack)
//! };
//! chat_actix::serve(listener, app, &limits, std::future::pending()).await
//! # }
//! ```
//!
//! [`mount`] adds the chat to an app that has routes of its own, and [`serve`] runs it.
//! `examples/mount.rs` does that with a service that also posts into a room. A host that runs its own
//! `HttpServer` does best to set what [`serve`] sets: actix has no limit on how long a peer takes nothing, and
//! by default holds the end of a connection back for a second.

mod context;
mod convert;
mod hijack;
mod inbound;
mod outermost;
mod routes;
mod serve;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::{App, Error};
use chat_core::{Endpoint, Mechanism, Message};

pub use outermost::outermost;
pub use routes::{Routes, routes};
pub use serve::serve;

/// The app, and the chat for what the routes it has so far do not answer. What is wrapped around it later
/// must leave its responses as they are.
pub fn mount<M, T, B>(
    app: App<T>,
    endpoint: Endpoint<M>,
    mechanism: Mechanism,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<EitherBody<B>>,
        Error = Error,
        InitError = (),
    >,
>
where
    M: Message,
    T: ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse<B>,
            Error = Error,
            InitError = (),
        > + 'static,
    B: MessageBody + 'static,
{
    app.service(routes(endpoint, mechanism)).wrap(outermost())
}
