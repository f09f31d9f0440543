use std::net::SocketAddr;

use anyhow::Result;

use crate::exchange;

/// Requests that every server must answer in the same way. `{}` stands for the rest of a valid handshake.
const REQUESTS: [(&str, &str); 21] = [
    ("not an upgrade", "GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("another method", "POST /ws HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"),
    ("HTTP/1.0", "GET /ws HTTP/1.0\r\nHost: localhost\r\n{}"),
    ("no host", "GET /ws HTTP/1.1\r\n{}"),
    ("a foreign origin", "GET /ws HTTP/1.1\r\nHost: localhost\r\nOrigin: http://b\r\n{}"),
    ("an origin of null", "GET /ws HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\n{}"),
    ("a body", "GET /ws HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n{}hi"),
    ("an unknown subprotocol", "GET /ws HTTP/1.1\r\nHost: localhost\r\nSec-WebSocket-Protocol: soap\r\n{}"),
    ("two keys", "GET /ws HTTP/1.1\r\nHost: localhost\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n{}"),
    ("two versions", "GET /ws HTTP/1.1\r\nHost: localhost\r\nSec-WebSocket-Version: 8\r\n{}"),
    ("a bad name", "GET /ws?name=%e2%80%ae HTTP/1.1\r\nHost: localhost\r\n{}"),
    ("a name that is not UTF-8", "GET /ws?name=%ff HTTP/1.1\r\nHost: localhost\r\n{}"),
    ("a head that is too large", "GET /ws HTTP/1.1\r\nHost: localhost\r\nX-Filler: {filler}\r\n{}"),
    ("an encoded path", "GET /%77s HTTP/1.1\r\nHost: localhost\r\n{}"),
    ("a host that is not served", "GET /healthz HTTP/1.1\r\nHost: elsewhere.test\r\n\r\n"),
    ("a target without a path", "GET h:1 HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("an absolute target", "GET http://localhost/healthz HTTP/1.1\r\nHost: elsewhere.test\r\n\r\n"),
    ("a name that is not percent-encoded", "GET /ws?name=\u{d64d} HTTP/1.1\r\nHost: localhost\r\n{}"),
    ("an unknown path", "GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("a healthy server", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("another method at /healthz", "DELETE /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
];

/// Requests for which only the status is compared: the parser of actix refuses them without a body.
const STATUS_ONLY: [&str; 2] = ["no host", "a name that is not percent-encoded"];

/// The rest of a valid handshake.
const HANDSHAKE: &str = "Upgrade: websocket\r\nConnection: Upgrade, close\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Sends each request to a server. Returns the name of each request and its response.
pub async fn http_responses(address: SocketAddr) -> Result<Vec<(&'static str, String)>> {
    let mut responses = Vec::new();
    for (name, request) in REQUESTS {
        let filler = "x".repeat(17 * 1024);
        let request = request.replace("{filler}", &filler).replace("{}", HANDSHAKE);
        let request = request.replacen("\r\n", "\r\nConnection: close\r\n", 1);
        let mut response = plain(&String::from_utf8_lossy(&exchange(address, request.as_bytes()).await?));
        if STATUS_ONLY.contains(&name) {
            response.truncate(3);
        }
        responses.push((name, response));
    }
    Ok(responses)
}

/// Returns a response with its headers sorted and in lower case, without those that HTTP libraries set themselves.
fn plain(response: &str) -> String {
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((response, ""));
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
    let own = ["date", "connection", "content-length"];
    let mut headers: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .filter(|(name, _)| !own.contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    headers.sort();
    format!("{status} [{}] {body}", headers.join("; "))
}
