use std::pin::Pin;
use std::task::{Context, Poll};

use chat_core::{Decision, Endpoint, Message, Watch};
use chat_hyper::Body;
use http::{Request, Response};
use http_body_util::Either;
use hyper::upgrade::OnUpgrade;
use tower_service::Service;

/// The chat in front of `host`, for services that put layers of their own around it; all of them go inside
/// [`outermost`](crate::outermost).
pub fn route<M: Message, S>(endpoint: Endpoint<M>, host: S) -> Route<M, S> {
    Route { endpoint, host }
}

/// The service that [`route`] makes.
#[derive(Debug)]
pub struct Route<M: Message, S> {
    endpoint: Endpoint<M>,
    host: S,
}

impl<M, S, B, R> Service<Request<B>> for Route<M, S>
where
    M: Message,
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: Send + 'static,
{
    type Response = Response<Either<R, Body>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.host.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let decision = self.endpoint.handle(&chat_hyper::head(&parts), parts.extensions.get::<Watch>());
        let answer = match decision {
            Decision::Upgrade(upgrade) => chat_hyper::hijack(upgrade, parts.extensions.remove::<OnUpgrade>()),
            Decision::Answer(answer) => chat_hyper::answer(answer),
            Decision::Pass => {
                let response = self.host.call(Request::from_parts(parts, body));
                return Box::pin(async move { Ok(response.await?.map(Either::Left)) });
            }
        };
        Box::pin(async move { Ok(answer.map(Either::Right)) })
    }
}

// By hand: a host's message need not be `Clone`.
impl<M: Message, S: Clone> Clone for Route<M, S> {
    fn clone(&self) -> Self {
        Self { endpoint: self.endpoint.clone(), host: self.host.clone() }
    }
}
