use std::future::ready;
use std::sync::Arc;

use chat_core::{Answer, Decision, Endpoint, Upgrade, UpgradeGuard, UpgradeMode};
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
    match endpoint.upgrade_mode() {
        UpgradeMode::Framework => framework::routes(endpoint),
        _ => decide(endpoint)
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
pub(crate) fn decide(endpoint: Endpoint) -> impl Filter<Extract = (Decided,), Error = Rejection> + Clone {
    let endpoint = Arc::new(endpoint);
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::method()
        .and(warp::ext::optional::<Version>())
        .and(warp::path::peek())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<UpgradeGuard>())
        .and_then(
            move |method: Method,
                  version: Option<Version>,
                  path: Peek,
                  query: String,
                  headers: HeaderMap,
                  guard: Option<UpgradeGuard>| {
                let endpoint = Arc::clone(&endpoint);
                async move {
                    let target = format!("/{}?{query}", path.as_str());
                    // Without a version there is no guard either, and the chat refuses.
                    let version = version.unwrap_or_default();
                    let head = chat_adapter::head_of(&method, version, &target, &headers);
                    match endpoint.handle(&head, guard.as_ref()).await {
                        Decision::Upgrade(upgrade) => Ok(Ok(upgrade)),
                        Decision::Answer(answer) => Ok(Err(answer)),
                        _ => Err(warp::reject::not_found()),
                    }
                }
            },
        )
}
