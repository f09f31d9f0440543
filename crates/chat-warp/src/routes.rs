use std::future::ready;
use std::net::SocketAddr;
use std::sync::Arc;

use chat_core::{
    Answer, Decision, Endpoint, Extensions, GuardedRequest, RequestContext, Upgrade, UpgradeMode,
};
use http::{HeaderMap, Method, Version};
use hyper::upgrade::OnUpgrade;
use warp::filters::BoxedFilter;
use warp::path::Peek;
use warp::reply::Response;
use warp::{Filter, Rejection};

use crate::framework;

/// The chat's decision about a request for one of its paths.
pub(crate) type Decided = Result<Upgrade, Answer>;

/// Returns the chat as a filter. It rejects requests for other paths than the endpoint's
/// [`paths`](Endpoint::paths), so that `or` continues with the host's filters.
///
/// The paths are relative to the `warp::path` in front of the filter. [`UpgradeLayer`](crate::UpgradeLayer) must be
/// around the service.
///
/// ```
/// use chat_core::{Chat, Endpoint};
/// use warp::Filter;
///
/// let endpoint = Endpoint::new(Chat::default()).path("/chat");
/// let routes = warp::path("api") // /api/chat
///     .and(chat_warp::routes(endpoint))
///     .or(chat_warp::not_found());
/// # drop(routes);
/// ```
pub fn routes(endpoint: Endpoint) -> BoxedFilter<(Response,)> {
    routes_with(endpoint, warp::any().map(Extensions::new).boxed())
}

/// Returns the chat as [`routes`] does. In addition, [`Identify`](chat_core::Identify) sees the value of the type `T`
/// that the host's own layers have put into the extensions of the request.
///
/// warp shows a filter only the values whose type it names.
///
/// ```
/// use chat_core::{Chat, Denied, Endpoint, Identity, IdentifyRequest, User};
///
/// #[derive(Clone)]
/// struct Account(User);
///
/// let endpoint = Endpoint::new(Chat::default()).identify(|request: &IdentifyRequest<'_>| {
///     let Account(user) = request.extension().ok_or(Denied::Unauthorized)?;
///     Ok(Identity::from(user.clone()))
/// });
/// let routes = chat_warp::routes_with_extension::<Account>(endpoint);
/// # drop(routes);
/// ```
pub fn routes_with_extension<T: Clone + Send + Sync + 'static>(
    endpoint: Endpoint,
) -> BoxedFilter<(Response,)> {
    let extensions = warp::ext::optional::<T>().map(|value| {
        let mut extensions = Extensions::new();
        if let Some(value) = value {
            extensions.insert::<T>(value);
        }
        extensions
    });
    routes_with(endpoint, extensions.boxed())
}

fn routes_with(endpoint: Endpoint, extensions: BoxedFilter<(Extensions,)>) -> BoxedFilter<(Response,)> {
    match endpoint.upgrade_mode() {
        UpgradeMode::Framework => framework::routes(endpoint, extensions),
        _ => decide(endpoint, extensions)
            .and(warp::ext::optional::<OnUpgrade>())
            .map(|decided: Decided, on_upgrade| match decided {
                Ok(upgrade) => chat_adapter::hijack(upgrade, on_upgrade),
                Err(answer) => chat_adapter::answer(answer),
            })
            .boxed(),
    }
}

/// Answers 404 as the chat's own answers do: the last filter of a host.
pub fn not_found() -> impl Filter<Extract = (Response,), Error = Rejection> + Copy {
    warp::any().and_then(|| ready(Ok::<_, Rejection>(chat_adapter::answer(Answer::not_found()))))
}

/// Shows a request to the chat, and rejects one that is for another path.
pub(crate) fn decide(
    endpoint: Endpoint,
    extensions: BoxedFilter<(Extensions,)>,
) -> impl Filter<Extract = (Decided,), Error = Rejection> + Clone {
    let endpoint = Arc::new(endpoint);
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::method()
        .and(warp::ext::optional::<Version>())
        .and(warp::path::peek())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<GuardedRequest>())
        .and(warp::ext::optional::<SocketAddr>())
        .and(extensions)
        .and_then(
            move |method: Method,
                  version: Option<Version>,
                  path: Peek,
                  query: String,
                  headers: HeaderMap,
                  guard: Option<GuardedRequest>,
                  peer: Option<SocketAddr>,
                  extensions: Extensions| {
                let endpoint = Arc::clone(&endpoint);
                async move {
                    let target = format!("/{}?{query}", path.as_str());
                    // Without a version there is no guard either, and the chat refuses.
                    let version = version.unwrap_or_default();
                    let context = RequestContext::default()
                        .with_guard(guard)
                        .with_peer(peer)
                        .with_extensions(&extensions);
                    let head = chat_adapter::head_of(&method, version, &target, &headers);
                    match endpoint.handle(&head, &context).await {
                        Decision::Upgrade(upgrade) => Ok(Ok(upgrade)),
                        Decision::Answer(answer) => Ok(Err(answer)),
                        _ => Err(warp::reject::not_found()),
                    }
                }
            },
        )
}
