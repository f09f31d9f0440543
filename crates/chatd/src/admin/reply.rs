use std::borrow::Cow;

use bytes::Bytes;
use chat_auth::TicketError;
use chat_core::{Answer, BodyError, PostError, Unavailable};
use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};
use serde::Serialize;

/// A response of the admin listener.
pub(super) type Reply = Response<Full<Bytes>>;

/// A call that is not carried out. The client gets the code and the message, in the form of the chat's own refusals.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: Cow<'static, str>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub(super) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(super) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body of the request is too large")
    }
}

impl From<Unavailable> for Problem {
    fn from(_: Unavailable) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "the store cannot answer now; the log has the cause",
        )
    }
}

impl From<PostError> for Problem {
    fn from(error: PostError) -> Self {
        match error {
            PostError::Unavailable(unavailable) => unavailable.into(),
            PostError::KeyConflict => Self::new(StatusCode::CONFLICT, "key_conflict", error.to_string()),
            PostError::TooLarge | PostError::Body(BodyError::TooLarge) => Self::too_large(),
            PostError::Body(_) => Self::new(StatusCode::BAD_REQUEST, "bad_body", error.to_string()),
            _ => Self::bad_request(error.to_string()),
        }
    }
}

impl From<TicketError> for Problem {
    fn from(error: TicketError) -> Self {
        match error {
            TicketError::FullForUser => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_tickets", error.to_string())
            }
            _ => Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.to_string()),
        }
    }
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Self {
        #[derive(Serialize)]
        struct Body<'a> {
            error: Error<'a>,
        }
        #[derive(Serialize)]
        struct Error<'a> {
            code: &'a str,
            message: &'a str,
        }
        let error = Error { code: problem.code, message: &problem.message };
        json(problem.status, &Body { error })
    }
}

/// Returns a response with a JSON body.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Reply {
    match serde_json::to_vec(body) {
        Ok(body) => with_type(status, "application/json", body),
        Err(_) => with_type(StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", Bytes::new()),
    }
}

/// Returns a response with a body of this type.
pub(super) fn with_type(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

/// Returns the response that an endpoint gives.
pub(super) fn of_endpoint(answer: Answer) -> Reply {
    let mut reply = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        reply = reply.header(*name, value);
    }
    reply.body(Full::new(answer.into_body())).unwrap_or_default()
}
