use std::net::SocketAddr;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, AUTHORIZATION, CONNECTION, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, StatusCode};
use tokio::time::timeout;
use tracing::{info, warn};

use super::Admin;
use super::calls::{self, Call};
use super::reply::{Problem, Reply};

/// Time for one call, the body of its request included. It is longer than a call of a store may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Time for a purge, which may take longer than another call.
const PURGE_TIMEOUT: Duration = Duration::from_secs(75);

/// Time between two log lines about refused requests.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// The calls. `{room}` stands for one segment of a path.
const ROUTES: [(&str, &str, Call); 17] = [
    ("GET", "/healthz", Call::Status),
    ("GET", "/readyz", Call::Status),
    ("GET", "/openapi.json", Call::OpenApi),
    ("GET", "/metrics", Call::Metrics),
    ("GET", "/v1/rooms", Call::Rooms),
    ("GET", "/v1/rooms/{room}/messages", Call::History),
    ("POST", "/v1/rooms/{room}/messages", Call::Post),
    ("GET", "/v1/rooms/{room}/members", Call::Members),
    ("POST", "/v1/rooms/{room}/roles", Call::Role),
    ("POST", "/v1/rooms/{room}/restrictions", Call::Restrict),
    ("POST", "/v1/rooms/{room}/purges", Call::Purge),
    ("GET", "/v1/rooms/{room}/audit", Call::Audit),
    ("POST", "/v1/tickets", Call::Ticket),
    ("POST", "/v1/kick", Call::Kick),
    ("POST", "/v1/drain", Call::Drain),
    ("GET", "/v1/log", Call::LogFilter),
    ("PUT", "/v1/log", Call::SetLogFilter),
];

/// Answers a request.
pub(super) async fn handle(request: Request<Incoming>, peer: SocketAddr, admin: &Admin) -> Reply {
    match find(request.method(), request.uri().path()) {
        Ok((call, _)) if call.is_open() => {}
        _ if is_authorized(&request, admin) => {}
        _ => {
            if let Some(suppressed) = admin.refusals.permit(LOG_INTERVAL) {
                warn!(%peer, suppressed, "admin request refused: the token is missing or wrong");
            }
            return unauthorized();
        }
    }
    let path = request.uri().path().to_owned();
    let (call, room) = match find(request.method(), &path) {
        Ok(found) => found,
        Err(methods) if methods.is_empty() => {
            let (code, message) = ("not_found", "nothing is here: GET /openapi.json lists the calls");
            return close(Problem::new(StatusCode::NOT_FOUND, code, message).into());
        }
        Err(methods) => return method_not_allowed(&methods),
    };
    let limit = if matches!(call, Call::Purge) { PURGE_TIMEOUT } else { CALL_TIMEOUT };
    let answered = timeout(limit, calls::perform(call, room, request, admin)).await;
    let reply = match answered {
        Ok(Ok(reply)) => reply,
        Ok(Err(problem)) => close(problem.into()),
        Err(_) => {
            let (code, message) = ("timeout", "the call took too long; it may have been carried out");
            close(Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, message).into())
        }
    };
    if call.changes() {
        info!(call = ?call, %peer, status = reply.status().as_u16(), "admin call");
    }
    reply
}

fn is_authorized(request: &Request<Incoming>, admin: &Admin) -> bool {
    let mut values = request.headers().get_all(AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none());
    value.is_some_and(|value| admin.token.authorizes(value.as_bytes()))
}

/// Returns the call of a request, and the segment of its path that names a room. The error has the methods of the path.
fn find<'p>(method: &Method, path: &'p str) -> Result<(Call, &'p str), Vec<&'static str>> {
    let routes =
        ROUTES.iter().filter_map(|(method, route, call)| Some((*method, *call, matches(route, path)?)));
    let mut methods = Vec::new();
    for (known, call, room) in routes {
        if *method == known || (*method == Method::HEAD && known == "GET") {
            return Ok((call, room));
        }
        methods.push(known);
    }
    Err(methods)
}

/// Returns the segment that `{room}` stands for, or an empty one, if a path has the form of a route.
fn matches<'p>(route: &str, path: &'p str) -> Option<&'p str> {
    let mut room = "";
    let mut segments = path.split('/');
    for wanted in route.split('/') {
        let segment = segments.next()?;
        if wanted == "{room}" {
            room = segment;
        } else if wanted != segment {
            return None;
        }
    }
    segments.next().is_none().then_some(room)
}

fn unauthorized() -> Reply {
    let message = "the header `Authorization: Bearer TOKEN` is missing or wrong";
    let mut reply = Reply::from(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", message));
    reply.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    close(reply)
}

fn method_not_allowed(methods: &[&'static str]) -> Reply {
    let (code, message) = ("method_not_allowed", "this path has other methods");
    let mut reply = Reply::from(Problem::new(StatusCode::METHOD_NOT_ALLOWED, code, message));
    let head = if methods.contains(&"GET") { ", HEAD" } else { "" };
    if let Ok(allow) = HeaderValue::from_str(&(methods.join(", ") + head)) {
        reply.headers_mut().insert(ALLOW, allow);
    }
    close(reply)
}

/// Ends the connection after a response, because the body of the request may not have been read.
fn close(mut reply: Reply) -> Reply {
    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    reply
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn the_openapi_document_describes_each_call_and_no_other() {
        let document: Value = serde_json::from_str(calls::OPENAPI).expect("JSON");
        let paths = document["paths"].as_object().expect("paths");
        let described: BTreeSet<_> = paths
            .iter()
            .flat_map(|(path, calls)| calls.as_object().into_iter().flatten().map(move |call| (path, call)))
            .filter(|(_, (method, _))| *method != "parameters")
            .map(|(path, (method, _))| (method.to_uppercase(), path.clone()))
            .collect();
        let routes = ROUTES.iter().map(|(method, path, _)| (method.to_string(), path.to_string()));
        assert_eq!(described, routes.collect());
        for (method, path, call) in ROUTES {
            let security = &document["paths"][path][method.to_lowercase()]["security"];
            assert_eq!(*security == serde_json::json!([]), call.is_open(), "{method} {path}");
        }
    }

    #[test]
    fn a_path_has_exactly_the_segments_of_its_route() {
        let route = "/v1/rooms/{room}/messages";
        assert_eq!(matches(route, "/v1/rooms/lobby/messages"), Some("lobby"));
        assert_eq!(matches(route, "/v1/rooms//messages"), Some(""));
        for path in
            ["/v1/rooms/lobby", "/v1/rooms/lobby/messages/", "/v1/rooms/a/b/messages", "v1/rooms/a/messages"]
        {
            assert_eq!(matches(route, path), None, "{path}");
        }
    }
}
