use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::error::InternalError;
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, HttpMessage};
use chat_core::Watch;

use crate::convert::answer;

/// The middleware that sees each response as it leaves; it is to be wrapped around an app last.
///
/// The chat starts a session only for a 101 that has passed here; routes of the chat that are not inside
/// refuse every upgrade.
pub fn outermost<S, B>()
-> impl Transform<S, ServiceRequest, Response = ServiceResponse<EitherBody<B>>, Error = Error, InitError = ()>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    from_fn(watch)
}

async fn watch<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let watch = Watch::default();
    request.extensions_mut().insert(watch.clone());
    match next.call(request).await {
        Ok(response) => Ok(match watch.leaving(response.status().as_u16()) {
            None => response.map_into_left_body(),
            Some(instead) => response.into_response(answer(instead)).map_into_right_body(),
        }),
        Err(error) => Err(match watch.leaving(error.error_response().status().as_u16()) {
            None => error,
            Some(instead) => InternalError::from_response(error, answer(instead)).into(),
        }),
    }
}
