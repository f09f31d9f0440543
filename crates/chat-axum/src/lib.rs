//! The chat for services that speak axum, in either of two ways.
//!
//! axum routes the request and writes the 101. Then the socket is taken from it and the codec of all adapters
//! speaks there ([`Mechanism::Hijack`]), or axum's own WebSocket does ([`Mechanism::Context`]), which cannot
//! do all that the first can: `context.rs` lists where it differs.
//!
//! ```no_run
//! # async fn main_of_a_shop(listener: tokio::net::TcpListener) {
//! use axum::{Router, routing::get};
//! use chat_core::{Chat, Endpoint, Mechanism};
//!
//! let chat: Chat = Chat::default();
//! let limits = chat.limits().clone();
//! // The service's own routes; they post with `chat.post(..)`.
//! let own = Router::new().route("/hello", get(async || "hello"));
//! let service = chat_axum::mount(Endpoint::new(chat), Mechanism::Hijack, own);
//! chat_axum::serve(listener, service, &limits, std::future::pending()).await;
//! # }
//! ```
//!
//! [`mount`] puts the chat in front of a router that has routes of its own, and [`serve`] runs the two.
//! `examples/mount.rs` does that with a service that also posts into a room.

mod context;
mod hijack;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use chat_core::{Decision, Endpoint, Mechanism, Message, Watch};
pub use chat_hyper::{Outermost, outermost, serve};

/// The chat, and `host` for all that is not for the chat: [`not_found`] where there is nothing else.
///
/// For `axum::serve`, which wants a router, say `Router::new().fallback_service(mount(..))`, and put no layer
/// around that. It leaves a client that does not finish its request connected for ever; [`serve`] does not.
pub fn mount<M: Message>(endpoint: Endpoint<M>, mechanism: Mechanism, host: Router) -> Outermost<Router> {
    outermost(routes(endpoint, mechanism, host))
}

/// The chat in front of `host`, for services that put layers of their own around it; all of them go inside
/// [`outermost`]. What is not for the chat goes on to the host's routes, and to its fallback. Nest and merge
/// within `host`, not this: the chat knows its own path, and has to see the whole of every request's.
pub fn routes<M: Message>(endpoint: Endpoint<M>, mechanism: Mechanism, host: Router) -> Router {
    host.layer(from_fn_with_state((endpoint, mechanism), decided))
}

/// The router of a host that serves nothing but the chat.
pub fn not_found() -> Router {
    Router::new().fallback_service(chat_hyper::NotFound)
}

/// Shows the request to the chat; one that is not for the chat goes on.
async fn decided<M: Message>(
    State((endpoint, mechanism)): State<(Endpoint<M>, Mechanism)>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    match endpoint.handle(&chat_hyper::head(&parts), parts.extensions.get::<Watch>()) {
        Decision::Upgrade(upgrade) => match mechanism {
            Mechanism::Hijack => hijack::open(upgrade, parts),
            Mechanism::Context => context::open(upgrade, parts).await,
        },
        Decision::Answer(answer) => chat_hyper::answer(answer),
        Decision::Pass => next.run(Request::from_parts(parts, body)).await,
    }
}
