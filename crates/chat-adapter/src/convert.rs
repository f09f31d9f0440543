use std::net::SocketAddr;

use bytes::Bytes;
use chat_core::{Answer, GuardedRequest, RequestContext, RequestHead, SwitchingProtocols, Version};
use http::header::{HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Extensions, HeaderMap, Method, Response, StatusCode, request};
use http_body_util::Full;

/// The body of the chat's own answers.
pub type Body = Full<Bytes>;

/// Returns a request's head as the chat sees it.
pub fn head(parts: &request::Parts) -> RequestHead<'_> {
    let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    head_of(&parts.method, parts.version, target, &parts.headers)
}

/// Returns a request's head as the chat sees it, for frameworks that show it in pieces.
pub fn head_of<'a>(
    method: &'a Method,
    version: http::Version,
    target: &'a str,
    headers: &'a HeaderMap,
) -> RequestHead<'a> {
    RequestHead {
        method: method.as_str(),
        version: match version {
            http::Version::HTTP_09 | http::Version::HTTP_10 => Version::Http10,
            http::Version::HTTP_11 => Version::Http11,
            _ => Version::Later,
        },
        target,
        headers: headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect(),
    }
}

/// Returns the context of a request from its extensions: the guard, the address of the peer as [`serve`](crate::serve)
/// sets it, and the extensions themselves.
pub fn context(extensions: &Extensions) -> RequestContext<'_> {
    RequestContext::default()
        .with_guard(extensions.get::<GuardedRequest>().cloned())
        .with_peer(extensions.get::<SocketAddr>().copied())
        .with_extensions(extensions)
}

/// Returns an answer of the chat as a response.
pub fn answer<B: From<Bytes>>(answer: Answer) -> Response<B> {
    let head = with_headers(answer.status(), answer.headers());
    head.map(|()| B::from(answer.into_body()))
}

/// Returns the 101 of an accepted upgrade as a response.
pub fn switching_protocols<B: From<Bytes>>(answer: &SwitchingProtocols) -> Response<B> {
    with_headers(answer.status(), answer.headers()).map(|()| B::from(Bytes::new()))
}

fn with_headers(status: u16, headers: &[(&'static str, String)]) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().append(HeaderName::from_static(name), value);
        }
    }
    response
}
