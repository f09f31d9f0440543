use bytes::Bytes;
use chat_core::{Answer, RequestHead, SwitchingProtocols, Version};
use http::header::{HeaderName, HeaderValue};
use http::{Response, StatusCode, request};
use http_body_util::Full;

/// The body of the chat's own answers.
pub type Body = Full<Bytes>;

/// A request's head as the chat sees it.
pub fn head(parts: &request::Parts) -> RequestHead<'_> {
    RequestHead {
        method: parts.method.as_str(),
        version: match parts.version {
            http::Version::HTTP_09 | http::Version::HTTP_10 => Version::Http10,
            http::Version::HTTP_11 => Version::Http11,
            _ => Version::Later,
        },
        target: parts.uri.path_and_query().map_or("/", |target| target.as_str()),
        headers: parts
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect(),
    }
}

/// An answer of the chat as a response.
pub fn answer(answer: Answer) -> Response<Body> {
    let mut response = with_headers(answer.status(), answer.headers());
    *response.body_mut() = Full::new(answer.into_body());
    response
}

/// The 101 of an accepted upgrade as a response.
pub fn switching_protocols(answer: &SwitchingProtocols) -> Response<Body> {
    with_headers(answer.status(), answer.headers())
}

fn with_headers(status: u16, headers: &[(&'static str, String)]) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            response
                .headers_mut()
                .append(HeaderName::from_static(name), value);
        }
    }
    response
}
