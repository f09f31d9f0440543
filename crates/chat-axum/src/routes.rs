use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use axum::routing::any;
use chat_core::{Answer, Decision, Endpoint, UpgradeMode};
use hyper::upgrade::OnUpgrade;

use crate::framework;

/// Returns the chat as a router: one route for each of the endpoint's [`paths`](Endpoint::paths).
///
/// The paths are relative to the place where the router is merged or nested. Requests for other paths go to the host's
/// routes and to its fallback. [`UpgradeLayer`](crate::UpgradeLayer) must be around the router.
///
/// [`Identify`](chat_core::Identify) sees the address of the peer, under [`serve`](crate::serve), and under
/// `axum::serve` with `into_make_service_with_connect_info`. It also sees the extensions of the request, so that a
/// layer of the host can pass its user on. Add such a layer before [`UpgradeLayer`](crate::UpgradeLayer), which must
/// stay the last one:
///
/// ```
/// use axum::Router;
/// use axum::extract::Request;
/// use axum::middleware::{Next, from_fn};
/// use axum::response::Response;
/// use chat_core::{Chat, Denied, Endpoint, Identity, IdentifyRequest, User};
///
/// /// The user as the login of the service knows it.
/// #[derive(Clone)]
/// struct Account(User);
///
/// async fn login(mut request: Request, next: Next) -> Response {
///     // A service reads the credentials of the request here.
///     if let Ok(user) = User::new("7", "Ann") {
///         request.extensions_mut().insert(Account(user));
///     }
///     next.run(request).await
/// }
///
/// let endpoint = Endpoint::new(Chat::default()).identify(|request: &IdentifyRequest<'_>| {
///     let account = request.extension::<Account>().ok_or(Denied::Unauthorized)?;
///     Ok(Identity::from(account.0.clone()))
/// });
/// let app: Router = Router::new()
///     .merge(chat_axum::routes(endpoint))
///     .layer(from_fn(login))
///     .layer(chat_axum::UpgradeLayer::new());
/// # drop(app);
/// ```
///
/// The paths can be chosen:
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
    let mut context = chat_adapter::context(&parts.extensions);
    // Under `axum::serve`, axum sets the address itself.
    let of_axum = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    context.peer = context.peer.or(of_axum.map(|ConnectInfo(peer)| *peer));
    match (endpoint.handle(&chat_adapter::head(&parts), &context).await, endpoint.upgrade_mode()) {
        (Decision::Upgrade(upgrade), UpgradeMode::Framework) => framework::open(upgrade, parts).await,
        (Decision::Upgrade(upgrade), _) => {
            chat_adapter::hijack(upgrade, parts.extensions.remove::<OnUpgrade>())
        }
        (Decision::Answer(answer), _) => chat_adapter::answer(answer),
        _ => not_found().await,
    }
}
