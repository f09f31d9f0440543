use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use chat_adapter::{Body, answer};
use chat_core::Answer;
use http::{Request, Response};
use tower_service::Service;

/// A service that answers 404 as the chat's own answers do.
#[derive(Clone, Copy, Debug)]
pub struct NotFound;

impl<B> Service<Request<B>> for NotFound {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(answer(Answer::not_found())))
    }
}
