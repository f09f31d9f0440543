use std::pin::Pin;
use std::task::{Context, Poll};

use chat_adapter::Body;
use chat_core::{Decision, Endpoint};
use http::{Request, Response};
use http_body_util::Either;
use hyper::upgrade::OnUpgrade;
use tower_service::Service;

use crate::NotFound;

/// Returns the chat as a service. It answers 404 to requests for other paths than the endpoint's
/// [`paths`](Endpoint::paths), unless it has another [`fallback`](Routes::fallback).
///
/// [`UpgradeLayer`](crate::UpgradeLayer) must be around the service.
pub fn routes(endpoint: Endpoint) -> Routes<NotFound> {
    Routes { endpoint, fallback: NotFound }
}

/// The service that [`routes`] returns.
#[derive(Clone, Debug)]
pub struct Routes<S> {
    endpoint: Endpoint,
    fallback: S,
}

impl<S> Routes<S> {
    /// Sets the service for the requests that are not for the chat: the host's own.
    pub fn fallback<F>(self, fallback: F) -> Routes<F> {
        Routes { endpoint: self.endpoint, fallback }
    }
}

impl<S, B, R> Service<Request<B>> for Routes<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response<Either<R, Body>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.fallback.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let endpoint = self.endpoint.clone();
        // The service that `poll_ready` has made ready must be the one that is called.
        let clone = self.fallback.clone();
        let mut fallback = std::mem::replace(&mut self.fallback, clone);
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let context = chat_adapter::context(&parts.extensions);
            let answer = match endpoint.handle(&chat_adapter::head(&parts), &context).await {
                Decision::Upgrade(upgrade) => {
                    chat_adapter::hijack(upgrade, parts.extensions.remove::<OnUpgrade>())
                }
                Decision::Answer(answer) => chat_adapter::answer(answer),
                _ => {
                    let response = fallback.call(Request::from_parts(parts, body)).await?;
                    return Ok(response.map(Either::Left));
                }
            };
            Ok(answer.map(Either::Right))
        })
    }
}
