use std::future::pending;
use std::io;

use actix_web::body::BoxBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::error::ErrorInternalServerError;
use actix_web::http::header::HeaderValue;
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, HttpMessage, HttpResponse};
use chat_adapter::HyperWebSocket;
use chat_core::{Decision, Endpoint, GuardedRequest, RequestContext, RequestHead, Version};
use chat_tests::HostFault;

use crate::{JSON, fault};

/// Returns the middleware of a faulty host on actix-web, to be placed inside the outermost middleware.
pub(crate) fn host<S>(
    endpoint: Endpoint,
) -> impl Transform<S, ServiceRequest, Response = ServiceResponse, Error = Error, InitError = ()>
where
    S: Service<ServiceRequest, Response = ServiceResponse, Error = Error> + 'static,
{
    from_fn(move |request, next| with_fault(endpoint.clone(), request, next))
}

async fn with_fault(
    endpoint: Endpoint,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, Error> {
    let fault = fault(request.headers().get("x-fault").map(HeaderValue::as_bytes));
    if let Some(HostFault::AwaitsSession | HostFault::DropsTicket) = fault {
        return Ok(upgrade_wrongly(&endpoint, request, fault == Some(HostFault::AwaitsSession)).await);
    }
    let mut response = next.call(request).await?;
    match fault {
        Some(HostFault::Replaces) => Ok(response.into_response(HttpResponse::Ok().body(JSON))),
        Some(HostFault::Fails) => Err(ErrorInternalServerError("the fault of the test")),
        Some(HostFault::ChangesStatus) => {
            *response.response_mut().status_mut() = StatusCode::OK;
            Ok(response)
        }
        Some(HostFault::AddsBody) => Ok(response.map_body(|_, _| BoxBody::new(JSON))),
        Some(HostFault::AwaitsSession | HostFault::DropsTicket) | None => Ok(response),
    }
}

/// Upgrades as an adapter must not: it waits for the connection before it sends the 101, or starts no session.
async fn upgrade_wrongly(endpoint: &Endpoint, request: ServiceRequest, awaits: bool) -> ServiceResponse {
    let guard = request.extensions().get::<GuardedRequest>().cloned();
    let decision = endpoint
        .handle(
            &RequestHead {
                method: request.method().as_str(),
                version: Version::Http11,
                target: request.path(),
                headers: request
                    .headers()
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_bytes()))
                    .collect(),
            },
            &RequestContext::default().with_guard(guard),
        )
        .await;
    let Decision::Upgrade(upgrade) = decision else { panic!("refused") };
    let (answer, ticket) = upgrade.accept();
    if awaits {
        // The handler runs before actix starts the body, which is the connection.
        ticket.start(pending::<io::Result<HyperWebSocket>>()).await;
    }
    let mut response = HttpResponse::build(StatusCode::SWITCHING_PROTOCOLS);
    for (name, value) in answer.headers() {
        response.append_header((*name, value.as_str()));
    }
    let mut response = response.finish();
    response.head_mut().set_connection_type(ConnectionType::Upgrade);
    request.into_response(response)
}
