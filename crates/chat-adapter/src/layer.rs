use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use chat_core::{Answer, GuardedRequest, HostPolicy, UpgradeGuard, screen};
use http::header::{CONTENT_LENGTH, HOST, HeaderValue};
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode, Version};
use http_body_util::Either;
use tower_layer::Layer;
use tower_service::Service;

use crate::{Body, answer, head_of};

/// The layer around a host's service that sees each response as it leaves.
///
/// The chat starts a session only for a 101 that has passed this layer. It must be the outermost one, so it is added
/// last. Routes of the chat without it refuse each upgrade with 500 and log that the layer is missing.
///
/// No route sees a request whose target is not a path, such as `OPTIONS *` and `CONNECT`: the layer answers it with
/// 400. If the target is a URI, its host replaces the value of `Host` (RFC 9112 section 3.2.2).
///
/// ```
/// use chat_adapter::UpgradeLayer;
///
/// # let service = ();
/// let service = UpgradeLayer::new().layer(service);
/// # let _: chat_adapter::UpgradeService<()> = service;
/// ```
#[derive(Clone, Debug, Default)]
pub struct UpgradeLayer {
    hosts: Arc<HostPolicy>,
}

impl UpgradeLayer {
    /// Returns the layer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers only requests for these hosts. All others get 421, before any route sees them.
    #[must_use]
    pub fn hosts(self, hosts: HostPolicy) -> Self {
        Self { hosts: Arc::new(hosts) }
    }

    /// Returns `service` with this layer around it, as [`Layer::layer`] does, for hosts that do not import that trait.
    pub fn layer<S>(&self, service: S) -> UpgradeService<S> {
        UpgradeService { service, hosts: Arc::clone(&self.hosts) }
    }
}

impl<S> Layer<S> for UpgradeLayer {
    type Service = UpgradeService<S>;

    fn layer(&self, service: S) -> UpgradeService<S> {
        Self::layer(self, service)
    }
}

/// The service that [`UpgradeLayer`] makes.
#[derive(Clone, Debug)]
pub struct UpgradeService<S> {
    service: S,
    hosts: Arc<HostPolicy>,
}

impl<S, B, R> Service<Request<B>> for UpgradeService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = Response<Either<R, Body>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if request.extensions().get::<GuardedRequest>().is_some() {
            // A layer further out has a guard already, and that layer sees the response as it leaves.
            let response = self.service.call(request);
            return Box::pin(async move { Ok(response.await?.map(Either::Left)) });
        }
        use_host_of_target(&mut request);
        if let Some(refusal) = refusal(&request, &self.hosts) {
            return Box::pin(async { Ok(answer(refusal).map(Either::Right)) });
        }
        let guard = UpgradeGuard::default();
        // Not every framework shows its handlers the HTTP version.
        let version = request.version();
        request.extensions_mut().insert(version);
        request.extensions_mut().insert(guard.request());
        let response = self.service.call(request);
        Box::pin(async move {
            let response = response.await?;
            Ok(match guard.observe(response.status().as_u16()) {
                None => without_length(response).map(Either::Left),
                Some(replacement) => answer(replacement).map(Either::Right),
            })
        })
    }
}

/// Replaces the value of `Host` by the host of a target in absolute form. A missing `Host` of HTTP/1.1 stays an error.
fn use_host_of_target<B>(request: &mut Request<B>) {
    let is_expected =
        request.version() > Version::HTTP_11 || request.headers().get_all(HOST).iter().count() == 1;
    let host = request.uri().authority().filter(|_| is_expected);
    if let Some(Ok(host)) = host.map(|host| HeaderValue::from_str(host.as_str())) {
        request.headers_mut().insert(HOST, host);
    }
}

fn refusal<B>(request: &Request<B>, hosts: &HostPolicy) -> Option<Answer> {
    let target = request.uri().path_and_query().map_or("", PathAndQuery::as_str);
    let peer = request.extensions().get::<SocketAddr>().copied();
    screen(&head_of(request.method(), request.version(), target, request.headers()), hosts, peer)
}

/// Removes the length from a 101, which must not have one (RFC 9110, section 8.6). axum adds it.
fn without_length<B>(mut response: Response<B>) -> Response<B> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    response
}
