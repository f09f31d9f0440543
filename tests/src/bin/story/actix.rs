use std::future::pending;
use std::io;

use actix_web::body::BoxBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::error::ErrorInternalServerError;
use actix_web::http::header::HeaderValue;
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, HttpMessage, HttpResponse};
use chat_core::{Decision, Endpoint, RequestHead, Text, Version, Watch};
use chat_hyper::Hijacked;
use chat_tests::Fault;

use crate::{JSON, fault};

/// A host on actix, inside the outermost middleware.
pub(crate) fn host<S>(
    endpoint: Endpoint<Text>,
) -> impl Transform<S, ServiceRequest, Response = ServiceResponse, Error = Error, InitError = ()>
where
    S: Service<ServiceRequest, Response = ServiceResponse, Error = Error> + 'static,
{
    from_fn(move |request, next| spoiled(endpoint.clone(), request, next))
}

async fn spoiled(
    endpoint: Endpoint<Text>,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, Error> {
    let fault = fault(request.headers().get("x-fault").map(HeaderValue::as_bytes));
    if let Some(Fault::Awaited | Fault::Forgotten) = fault {
        return Ok(upgraded_by_hand(&endpoint, request, fault == Some(Fault::Awaited)).await);
    }
    let mut response = next.call(request).await?;
    match fault {
        Some(Fault::Answered) => Ok(response.into_response(HttpResponse::Ok().body(JSON))),
        Some(Fault::Failed) => Err(ErrorInternalServerError("the story's")),
        Some(Fault::Restated) => {
            *response.response_mut().status_mut() = StatusCode::OK;
            Ok(response)
        }
        Some(Fault::Embodied) => Ok(response.map_body(|_, _| BoxBody::new(JSON))),
        Some(Fault::Awaited | Fault::Forgotten) | None => Ok(response),
    }
}

/// What an adapter must not do: wait for the connection before the 101 is sent, or send it for nobody.
async fn upgraded_by_hand(
    endpoint: &Endpoint<Text>,
    request: ServiceRequest,
    awaits: bool,
) -> ServiceResponse {
    let watch = request.extensions().get::<Watch>().cloned();
    let decision = endpoint.handle(
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
        watch.as_ref(),
    );
    let Decision::Upgrade(upgrade) = decision else { panic!("refused") };
    let (answer, ticket) = upgrade.accept();
    if awaits {
        // In a handler, actix has not yet begun the body that the connection would be.
        ticket.start(pending::<io::Result<Hijacked>>()).await;
    }
    let mut response = HttpResponse::build(StatusCode::SWITCHING_PROTOCOLS);
    for (name, value) in answer.headers() {
        response.append_header((*name, value.as_str()));
    }
    let mut response = response.finish();
    response.head_mut().set_connection_type(ConnectionType::Upgrade);
    request.into_response(response)
}
