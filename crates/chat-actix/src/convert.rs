use actix_web::body::MessageBody;
use actix_web::dev::ServiceRequest;
use actix_web::http::header::{CONNECTION, HeaderValue, UPGRADE};
use actix_web::http::{ConnectionType, StatusCode, Version as HttpVersion};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use chat_core::{Answer, RequestHead, SwitchingProtocols, Upgrade, Version};

/// Returns a request's head as the chat sees it.
///
/// actix provides a connection only for the bare word `websocket`. Another offer, such as a list, is left out, so that
/// the client gets 426 and not an error of the server.
pub(crate) fn head<'a>(request: &'a HttpRequest, target: &'a str) -> RequestHead<'a> {
    let head = request.head();
    let is_bare = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket");
    let has_upgrade = head.headers.get_all(UPGRADE).any(is_bare);
    let headers = head.headers.iter().filter(|(name, _)| has_upgrade || *name != UPGRADE);
    RequestHead {
        method: head.method.as_str(),
        version: match head.version {
            HttpVersion::HTTP_09 | HttpVersion::HTTP_10 => Version::Http10,
            HttpVersion::HTTP_11 => Version::Http11,
            _ => Version::Later,
        },
        target,
        headers: headers.map(|(name, value)| (name.as_str(), value.as_bytes())).collect(),
    }
}

/// Refuses an upgrade for which actix provides no connection. The client may have sent a header `Connection: close`
/// beside `Connection: Upgrade`, in which actix sees no upgrade. Otherwise it is an error of the host.
pub(crate) fn refuse(upgrade: Upgrade, request: &ServiceRequest) -> HttpResponse {
    let is_close = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"close");
    let is_form = request.headers().get_all(CONNECTION).any(is_close);
    answer(if is_form { upgrade.refuse_form() } else { upgrade.refuse() })
}

/// Returns an answer of the chat as a response.
pub(crate) fn answer(answer: Answer) -> HttpResponse {
    let mut response = with_headers(answer.status(), answer.headers());
    // actix ignores the header, and ends the connection by this.
    if answer.headers().iter().any(|(name, value)| *name == CONNECTION.as_str() && value == "close") {
        response.force_close();
    }
    response.body(answer.into_body())
}

/// Returns the 101 of an accepted upgrade as a response. `body` holds the bytes that the peer gets after it.
pub(crate) fn switching_protocols(
    answer: &SwitchingProtocols,
    body: impl MessageBody + 'static,
) -> HttpResponse {
    let mut response = with_headers(answer.status(), answer.headers()).body(body);
    response.head_mut().set_connection_type(ConnectionType::Upgrade);
    response
}

fn with_headers(status: u16, headers: &[(&'static str, String)]) -> HttpResponseBuilder {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    for (name, value) in headers {
        response.append_header((*name, value.as_str()));
    }
    response
}
