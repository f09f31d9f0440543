use std::sync::Arc;

use actix_web::dev::{
    AppService, HttpServiceFactory, ResourceDef, ServiceRequest, ServiceResponse, fn_service,
};
use actix_web::guard::{Guard, fn_guard};
use actix_web::web::ServiceConfig;
use actix_web::{Error, HttpMessage, HttpResponse};
use chat_core::{Answer, Decision, Endpoint, Extensions, GuardedRequest, RequestContext, UpgradeMode};

use crate::convert::{answer, head};
use crate::{framework, hijack};

/// Returns the chat as the configuration of an app or a scope: one resource for each of the endpoint's
/// [`paths`](Endpoint::paths).
///
/// The paths are relative to the scope. Requests for other paths go to the host's routes and to its default service.
/// [`UpgradeLayer`](crate::UpgradeLayer) must be around the app.
///
/// ```
/// use actix_web::{App, web};
/// use chat_core::{Chat, Endpoint};
///
/// let endpoint = Endpoint::new(Chat::default()).path("/chat");
/// let app = App::new()
///     .service(web::scope("/api").configure(chat_actix::routes(endpoint))) // /api/chat
///     .default_service(web::to(chat_actix::not_found))
///     .wrap(chat_actix::UpgradeLayer::new());
/// # drop(app);
/// ```
pub fn routes(endpoint: Endpoint) -> impl FnOnce(&mut ServiceConfig) {
    configure(endpoint, |_, _| {})
}

/// Returns the chat as [`routes`] does. In addition, [`Identify`](chat_core::Identify) sees the value of the type `T`
/// that the host's own middleware has put into the extensions of the request.
///
/// The extensions of actix-web cannot be shared between threads. Therefore a host names one type that can, and the
/// value is copied.
///
/// ```
/// use actix_web::dev::Service;
/// use actix_web::{App, HttpMessage};
/// use chat_core::{Chat, Denied, Endpoint, Identity, IdentifyRequest, User};
///
/// #[derive(Clone)]
/// struct Account(User);
///
/// let endpoint = Endpoint::new(Chat::default()).identify(|request: &IdentifyRequest<'_>| {
///     let Account(user) = request.extension().ok_or(Denied::Unauthorized)?;
///     Ok(Identity::from(user.clone()))
/// });
/// let app = App::new()
///     .configure(chat_actix::routes_with_extension::<Account>(endpoint))
///     .wrap_fn(|request, next| {
///         // A real service looks at the request first.
///         request.extensions_mut().insert(Account(User::new("7", "Ann").expect("a valid user")));
///         next.call(request)
///     })
///     .wrap(chat_actix::UpgradeLayer::new());
/// # drop(app);
/// ```
pub fn routes_with_extension<T: Clone + Send + Sync + 'static>(
    endpoint: Endpoint,
) -> impl FnOnce(&mut ServiceConfig) {
    configure(endpoint, |request, extensions| {
        if let Some(value) = request.extensions().get::<T>() {
            extensions.insert(value.clone());
        }
    })
}

/// Copies values from a request of actix-web.
type CopyExtensions = fn(&ServiceRequest, &mut Extensions);

fn configure(endpoint: Endpoint, copy: CopyExtensions) -> impl FnOnce(&mut ServiceConfig) {
    move |config| {
        for path in endpoint.paths() {
            config.service(Route { endpoint: endpoint.clone(), path: path.into(), copy });
        }
    }
}

/// Answers 404 as the chat's own answers do: a handler for [`App::default_service`](actix_web::App::default_service).
pub async fn not_found() -> HttpResponse {
    answer(Answer::not_found())
}

struct Route {
    endpoint: Endpoint,
    path: Arc<str>,
    copy: CopyExtensions,
}

impl HttpServiceFactory for Route {
    fn register(self, config: &mut AppService) {
        let Self { endpoint, path, copy } = self;
        let resource = ResourceDef::new(&*path);
        // actix decodes a path before it matches. The chat's paths are matched as they were sent.
        let sent = Arc::clone(&path);
        let guard = fn_guard(move |request| request.head().uri.path().ends_with(&*sent));
        let guards: Vec<Box<dyn Guard>> = vec![Box::new(guard)];
        let service = fn_service(move |request| respond(endpoint.clone(), Arc::clone(&path), copy, request));
        config.register_service(resource, Some(guards), service, None);
    }
}

async fn respond(
    endpoint: Endpoint,
    path: Arc<str>,
    copy: CopyExtensions,
    mut request: ServiceRequest,
) -> Result<ServiceResponse, Error> {
    let guard = request.extensions().get::<GuardedRequest>().cloned();
    let mut extensions = Extensions::new();
    copy(&request, &mut extensions);
    let context = RequestContext::default()
        .with_guard(guard)
        .with_peer(request.peer_addr())
        .with_extensions(&extensions);
    let target = format!("{path}?{}", request.query_string());
    let decision = endpoint.handle(&head(request.request(), &target), &context).await;
    let response = match (decision, endpoint.upgrade_mode()) {
        (Decision::Upgrade(upgrade), UpgradeMode::Framework) => framework::open(upgrade, &mut request).await,
        (Decision::Upgrade(upgrade), _) => hijack::open(upgrade, &mut request),
        (Decision::Answer(response), _) => answer(response),
        _ => not_found().await,
    };
    Ok(request.into_response(response))
}
