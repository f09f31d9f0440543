use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use chat_adapter::{Body, context, head, switching_protocols, websocket};
use chat_core::{Decision, Endpoint};
use chat_tests::HostFault;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tower_service::Service;

use crate::{JSON, fault};

/// A faulty host on hyper, warp or axum, to be placed inside the outermost layer.
#[derive(Clone)]
pub(crate) struct Host<S> {
    pub(crate) chat: S,
    pub(crate) endpoint: Endpoint,
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
        if let Some(HostFault::AwaitsSession | HostFault::DropsTicket) = fault {
            let endpoint = self.endpoint.clone();
            return Box::pin(async move {
                Ok(upgrade_wrongly(&endpoint, request, fault == Some(HostFault::AwaitsSession))
                    .await
                    .map(Either::Right))
            });
        }
        let response = self.chat.call(request);
        Box::pin(async move { Ok(with_fault(response.await?, fault)) })
    }
}

fn with_fault<B>(mut response: Response<B>, fault: Option<HostFault>) -> Answered<B> {
    let mut own = Response::new(Either::Right(Full::new(Bytes::from_static(JSON.as_bytes()))));
    match fault {
        Some(HostFault::Replaces) => own,
        Some(HostFault::Fails) => {
            *own.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            own
        }
        Some(HostFault::ChangesStatus) => {
            *response.status_mut() = StatusCode::OK;
            response.map(Either::Left)
        }
        Some(HostFault::AddsBody) => {
            let (parts, _) = response.into_parts();
            Response::from_parts(parts, own.into_body())
        }
        Some(HostFault::AwaitsSession | HostFault::DropsTicket) | None => response.map(Either::Left),
    }
}

/// Upgrades as an adapter must not: it waits for the connection before it sends the 101, or starts no session.
async fn upgrade_wrongly(endpoint: &Endpoint, request: Request<Incoming>, awaits: bool) -> Response<Body> {
    let (mut parts, _) = request.into_parts();
    let on_upgrade = parts.extensions.remove::<OnUpgrade>().expect("an upgrade");
    let decision = endpoint.handle(&head(&parts), &context(&parts.extensions)).await;
    let Decision::Upgrade(upgrade) = decision else { panic!("refused") };
    let (answer, ticket) = upgrade.accept();
    if awaits {
        let limits = endpoint.chat().limits();
        ticket.start(async { websocket(on_upgrade, limits).await }).await;
    }
    switching_protocols(&answer)
}
