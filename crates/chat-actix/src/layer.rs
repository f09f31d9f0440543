use std::future::{Future, Ready, ready};
use std::pin::Pin;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::error::InternalError;
use actix_web::{Error, HttpMessage};
use chat_core::{GuardedRequest, UpgradeGuard};

use crate::convert::answer;

/// The middleware around an app that sees each response as it leaves.
///
/// The chat starts a session only for a 101 that has passed this layer. It must be the outermost one, so it is wrapped
/// last. Routes of the chat without it refuse each upgrade with 500 and log that the layer is missing.
///
/// ```
/// use actix_web::App;
///
/// let app = App::new().wrap(chat_actix::UpgradeLayer::new());
/// # drop(app);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct UpgradeLayer {
    _private: (),
}

impl UpgradeLayer {
    /// Returns the middleware.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<S, B> Transform<S, ServiceRequest> for UpgradeLayer
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = UpgradeService<S>;
    type InitError = ();
    type Future = Ready<Result<UpgradeService<S>, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(UpgradeService { service }))
    }
}

/// The service that [`UpgradeLayer`] makes.
#[derive(Debug)]
pub struct UpgradeService<S> {
    service: S,
}

impl<S, B> Service<ServiceRequest> for UpgradeService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>>>>;

    forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let is_watched = request.extensions().get::<GuardedRequest>().is_some();
        let guard = UpgradeGuard::default();
        if !is_watched {
            request.extensions_mut().insert(guard.request());
        }
        // A layer further out has a guard already, and that layer sees the response as it leaves: this guard stays
        // unused.
        let response = self.service.call(request);
        Box::pin(async move {
            match response.await {
                Ok(response) => Ok(match guard.observe(response.status().as_u16()) {
                    None => response.map_into_left_body(),
                    Some(replacement) => response.into_response(answer(replacement)).map_into_right_body(),
                }),
                Err(error) => Err(match guard.observe(error.error_response().status().as_u16()) {
                    None => error,
                    Some(replacement) => InternalError::from_response(error, answer(replacement)).into(),
                }),
            }
        })
    }
}
