use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use chat_core::{Decision, Endpoint, Text, Watch};
use chat_hyper::{Body, head, switching_protocols, take_over};
use chat_tests::Fault;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tower_service::Service;

use crate::{JSON, fault};

/// A host on hyper, warp or axum, inside the outermost layer.
#[derive(Clone)]
pub(crate) struct Host<S> {
    pub(crate) chat: S,
    pub(crate) endpoint: Endpoint<Text>,
}

type Answered<B> = Response<Either<B, Body>>;

impl<S, B> Service<Request<Incoming>> for Host<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Answered<B>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answered<B>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.chat.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let fault = fault(request.headers().get("x-fault").map(HeaderValue::as_bytes));
        if let Some(Fault::Awaited | Fault::Forgotten) = fault {
            let endpoint = self.endpoint.clone();
            return Box::pin(async move {
                Ok(upgraded_by_hand(&endpoint, request, fault == Some(Fault::Awaited))
                    .await
                    .map(Either::Right))
            });
        }
        let response = self.chat.call(request);
        Box::pin(async move { Ok(spoiled(response.await?, fault)) })
    }
}

fn spoiled<B>(mut response: Response<B>, fault: Option<Fault>) -> Answered<B> {
    let mut own = Response::new(Either::Right(Full::new(Bytes::from_static(JSON.as_bytes()))));
    match fault {
        Some(Fault::Answered) => own,
        Some(Fault::Failed) => {
            *own.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            own
        }
        Some(Fault::Restated) => {
            *response.status_mut() = StatusCode::OK;
            response.map(Either::Left)
        }
        Some(Fault::Embodied) => {
            let (parts, _) = response.into_parts();
            Response::from_parts(parts, own.into_body())
        }
        Some(Fault::Awaited | Fault::Forgotten) | None => response.map(Either::Left),
    }
}

/// What an adapter must not do: wait for the connection before the 101 is sent, or send it for nobody.
async fn upgraded_by_hand(
    endpoint: &Endpoint<Text>,
    request: Request<Incoming>,
    awaits: bool,
) -> Response<Body> {
    let (mut parts, _) = request.into_parts();
    let on_upgrade = parts.extensions.remove::<OnUpgrade>().expect("an upgrade");
    let decision = endpoint.handle(&head(&parts), parts.extensions.get::<Watch>());
    let Decision::Upgrade(upgrade) = decision else { panic!("refused") };
    let (answer, ticket) = upgrade.accept();
    if awaits {
        let limits = endpoint.chat().limits();
        ticket.start(async { take_over(on_upgrade, limits).await }).await;
    }
    switching_protocols(&answer)
}
