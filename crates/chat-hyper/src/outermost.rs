use std::pin::Pin;
use std::task::{Context, Poll};

use chat_core::Watch;
use http::{Request, Response};
use http_body_util::Either;
use tower_service::Service;

use crate::{Body, answer};

/// Puts the layer around a service that sees each response as it leaves.
///
/// The chat starts a session only for a 101 that has passed here; a route of the chat that is not inside
/// refuses every upgrade.
pub fn outermost<S>(service: S) -> Outermost<S> {
    Outermost { service }
}

/// The service that [`outermost`] makes.
#[derive(Clone, Debug)]
pub struct Outermost<S> {
    service: S,
}

impl<S, B, R> Service<Request<B>> for Outermost<S>
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
        let watch = Watch::default();
        // Not every framework shows its handlers the HTTP version.
        let version = request.version();
        request.extensions_mut().insert(version);
        request.extensions_mut().insert(watch.clone());
        let response = self.service.call(request);
        Box::pin(async move {
            let response = response.await?;
            Ok(match watch.leaving(response.status().as_u16()) {
                None => response.map(Either::Left),
                Some(instead) => answer(instead).map(Either::Right),
            })
        })
    }
}
