use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::http::header::{HOST, HeaderValue};
use actix_web::{Error, HttpMessage};
use chat_core::{Answer, GuardedRequest, HostPolicy, UpgradeGuard, screen};

use crate::convert::{answer, head};
use crate::stream::OpenRequest;

/// The middleware around an app that sees each response as it leaves.
///
/// The chat starts a session only for a 101 that has passed this layer. It must be the outermost one, so it is wrapped
/// last. Routes of the chat without it refuse each upgrade with 500 and log that the layer is missing.
///
/// No route sees a request whose target is not a path, such as `OPTIONS *` and `CONNECT`: the layer answers it with
/// 400. If the target is a URI, its host replaces the value of `Host` (RFC 9112 section 3.2.2).
///
/// ```
/// use actix_web::App;
///
/// let app = App::new().wrap(chat_actix::UpgradeLayer::new());
/// # drop(app);
/// ```
#[derive(Clone, Debug, Default)]
pub struct UpgradeLayer {
    hosts: Arc<HostPolicy>,
}

impl UpgradeLayer {
    /// Returns the middleware.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers only requests for these hosts. All others get 421, before any route sees them.
    #[must_use]
    pub fn hosts(self, hosts: HostPolicy) -> Self {
        Self { hosts: Arc::new(hosts) }
    }
}

impl<S, B> Transform<S, ServiceRequest> for UpgradeLayer
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse;
    type Error = Error;
    type Transform = UpgradeService<S>;
    type InitError = ();
    type Future = Ready<Result<UpgradeService<S>, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(UpgradeService { service, hosts: Arc::clone(&self.hosts) }))
    }
}

/// The service that [`UpgradeLayer`] makes.
#[derive(Debug)]
pub struct UpgradeService<S> {
    service: S,
    hosts: Arc<HostPolicy>,
}

impl<S, B> Service<ServiceRequest> for UpgradeService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>>>>;

    forward_ready!(service);

    fn call(&self, mut request: ServiceRequest) -> Self::Future {
        let has_guard = request.extensions().get::<GuardedRequest>().is_some();
        if !has_guard {
            use_host_of_target(&mut request);
            if let Some(refusal) = refusal(&request, &self.hosts) {
                let response = request.into_response(answer(refusal));
                return Box::pin(ready(Ok(response)));
            }
        }
        let guard = UpgradeGuard::default();
        if !has_guard {
            request.extensions_mut().insert(guard.request());
        }
        // A layer further out has a guard already, and that layer sees the response as it leaves: this guard stays
        // unused.
        let open = OpenRequest::begin(request.request());
        let response = self.service.call(request);
        Box::pin(async move {
            let response = match response.await {
                Ok(response) => match guard.observe(response.status().as_u16()) {
                    None => response.map_into_boxed_body(),
                    Some(replacement) => response.into_response(answer(replacement)),
                },
                Err(error) => {
                    return Err(match guard.observe(error.error_response().status().as_u16()) {
                        None => error,
                        Some(replacement) => InternalError::from_response(error, answer(replacement)).into(),
                    });
                }
            };
            let is_upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
            Ok(match open {
                Some(open) => response.map_body(|_, body| open.answer(body, is_upgraded)),
                None => response,
            })
        })
    }
}

/// Replaces the value of `Host` by the host of a target in absolute form.
fn use_host_of_target(request: &mut ServiceRequest) {
    let host = request.uri().authority().map(|host| HeaderValue::from_str(host.as_str()));
    if let Some(Ok(host)) = host
        && request.headers().get_all(HOST).count() == 1
    {
        request.headers_mut().insert(HOST, host);
    }
}

fn refusal(request: &ServiceRequest, hosts: &HostPolicy) -> Option<Answer> {
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    screen(&head(request.request(), target), hosts, request.request().peer_addr())
}
