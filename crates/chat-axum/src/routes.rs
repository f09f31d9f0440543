use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use chat_core::{Answer, Decision, Endpoint, UpgradeGuard, UpgradeMode};
use hyper::upgrade::OnUpgrade;

use crate::framework;

/// Returns the chat as a router: one route for each of the endpoint's [`paths`](Endpoint::paths).
///
/// The paths are relative to the place where the router is merged or nested. Requests for other paths go to the host's
/// routes and to its fallback. [`UpgradeLayer`](crate::UpgradeLayer) must be around the router.
///
/// ```
/// use axum::Router;
/// use chat_core::{Chat, Endpoint};
///
/// let endpoint = Endpoint::new(Chat::default()).path("/chat");
/// let app: Router = Router::new()
///     .nest("/api", chat_axum::routes(endpoint)) // /api/chat
///     .fallback(chat_axum::not_found)
///     .layer(chat_axum::UpgradeLayer::new());
/// # drop(app);
/// ```
///
/// # Panics
///
/// If axum does not accept a path, for example one without `/` at the start.
pub fn routes<S: Clone + Send + Sync + 'static>(endpoint: Endpoint) -> Router<S> {
    let mut router = Router::new();
    for path in endpoint.paths() {
        router = router.route(path, any(respond));
    }
    router.with_state(endpoint)
}

/// Answers 404 as the chat's own answers do: a handler for [`Router::fallback`].
pub async fn not_found() -> Response {
    chat_adapter::answer(Answer::not_found())
}

async fn respond(State(endpoint): State<Endpoint>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let guard = parts.extensions.get::<UpgradeGuard>();
    match (endpoint.handle(&chat_adapter::head(&parts), guard).await, endpoint.upgrade_mode()) {
        (Decision::Upgrade(upgrade), UpgradeMode::Framework) => framework::open(upgrade, parts).await,
        (Decision::Upgrade(upgrade), _) => {
            chat_adapter::hijack(upgrade, parts.extensions.remove::<OnUpgrade>())
        }
        (Decision::Answer(answer), _) => chat_adapter::answer(answer),
        _ => not_found().await,
    }
}
