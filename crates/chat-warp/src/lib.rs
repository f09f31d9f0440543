//! The chat for services that speak warp, in either of two ways.
//!
//! warp routes the request and writes the 101. Then the socket is taken from it and the codec of all adapters
//! speaks there ([`Mechanism::Hijack`]), or warp's own WebSocket does ([`Mechanism::Context`]), which cannot
//! do all that the first can: `context.rs` lists where it differs.
//!
//! ```no_run
//! # async fn main_of_a_shop(listener: tokio::net::TcpListener) {
//! use chat_core::{Chat, Endpoint, Mechanism};
//! use warp::Filter;
//!
//! let chat: Chat = Chat::default();
//! let limits = chat.limits().clone();
//! // The service's own routes; they post with `chat.post(..)`.
//! let own = warp::path!("hello").map(|| "hello");
//! let service = chat_warp::mount(Endpoint::new(chat), Mechanism::Hijack, own);
//! chat_warp::serve(listener, service, &limits, std::future::pending()).await;
//! # }
//! ```
//!
//! [`mount`] puts the chat in front of a filter that has routes of its own, and [`serve`] runs the two.
//! `examples/mount.rs` does that with a service that also posts into a room.

mod context;
mod hijack;

use std::convert::Infallible;
use std::future::ready;

use chat_core::{Answer, Decision, Endpoint, Mechanism, Message, Upgrade, Watch};
pub use chat_hyper::{Outermost, outermost, serve};
use http::{HeaderMap, Method, Request, Version};
use hyper::body::Incoming;
use tower_service::Service;
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::reply::{Reply, Response};
use warp::{Filter, Rejection};

/// The chat, and `host` for all that is not for the chat: [`not_found`] where there is nothing else.
///
/// For a `host` that cannot reject, say `outermost(warp::service(routes(endpoint, mechanism).or(host)))`.
pub fn mount<M, H, R>(
    endpoint: Endpoint<M>,
    mechanism: Mechanism,
    host: H,
) -> Outermost<
    impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send> + Clone + Send,
>
where
    M: Message,
    H: Filter<Extract = (R,), Error = Rejection> + Clone + Send + Sync + 'static,
    R: Reply + 'static,
{
    outermost(warp::service(routes(endpoint, mechanism).or(host)))
}

/// The chat as a filter, for services that put layers of their own around it; all of them go inside
/// [`outermost`]. What is not for the chat is rejected, so that `or` leads on to the host's routes.
pub fn routes<M: Message>(endpoint: Endpoint<M>, mechanism: Mechanism) -> BoxedFilter<(Response,)> {
    match mechanism {
        Mechanism::Hijack => hijack::routes(endpoint),
        Mechanism::Context => context::routes(endpoint),
    }
}

/// The filter of a host that serves nothing but the chat.
pub fn not_found() -> impl Filter<Extract = (Response,), Error = Rejection> + Copy {
    warp::any().and_then(|| ready(Ok::<_, Rejection>(chat_hyper::answer(Answer::not_found()))))
}

/// What the chat says to a request that is for it.
type Decided<M> = Result<Upgrade<M>, Answer>;

/// Shows the request to the chat; one that is not for the chat is rejected.
fn decided<M: Message>(
    endpoint: Endpoint<M>,
) -> impl Filter<Extract = (Decided<M>,), Error = Rejection> + Clone {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::method()
        .and(warp::ext::optional::<Version>())
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<Watch>())
        .and_then(
            move |method: Method,
                  version: Option<Version>,
                  path: FullPath,
                  query: String,
                  headers: HeaderMap,
                  watch: Option<Watch>| {
                let target = format!("{}?{query}", path.as_str());
                // Without a version there is no watch either, and the chat refuses.
                let version = version.unwrap_or_default();
                let head = chat_hyper::head_of(&method, version, &target, &headers);
                ready(match endpoint.handle(&head, watch.as_ref()) {
                    Decision::Upgrade(upgrade) => Ok(Ok(upgrade)),
                    Decision::Answer(answer) => Ok(Err(answer)),
                    Decision::Pass => Err(warp::reject::not_found()),
                })
            },
        )
}
