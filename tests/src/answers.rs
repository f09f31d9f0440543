use std::net::SocketAddr;

use anyhow::Result;

use crate::exchange;

/// Requests that must be answered alike, whoever parses them. `{}` is a complete, valid handshake but for
/// what stands before it.
const REQUESTS: [(&str, &str); 17] = [
    ("not an upgrade", "GET /ws HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("another method", "POST /ws HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"),
    ("HTTP/1.0", "GET /ws HTTP/1.0\r\nHost: a\r\n{}"),
    ("no host", "GET /ws HTTP/1.1\r\n{}"),
    ("a foreign origin", "GET /ws HTTP/1.1\r\nHost: a\r\nOrigin: http://b\r\n{}"),
    ("an origin of null", "GET /ws HTTP/1.1\r\nHost: a\r\nOrigin: null\r\n{}"),
    ("a body", "GET /ws HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n{}hi"),
    ("an unknown subprotocol", "GET /ws HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Protocol: soap\r\n{}"),
    ("two keys", "GET /ws HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n{}"),
    ("two versions", "GET /ws HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Version: 8\r\n{}"),
    ("a bad name", "GET /ws?name=%e2%80%ae HTTP/1.1\r\nHost: a\r\n{}"),
    ("a name that is not UTF-8", "GET /ws?name=%ff HTTP/1.1\r\nHost: a\r\n{}"),
    ("a head that is too large", "GET /ws HTTP/1.1\r\nHost: a\r\nX-Filler: {filler}\r\n{}"),
    ("an encoded path", "GET /%77s HTTP/1.1\r\nHost: a\r\n{}"),
    ("a path that is not there", "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a healthy server", "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("another method there", "DELETE /healthz HTTP/1.1\r\nHost: a\r\n\r\n"),
];

/// Of these only the status is compared: actix's parser refuses them before anything of ours sees them, and
/// says no more.
const PARSERS: [&str; 1] = ["no host"];

/// The rest of a valid handshake.
const HANDSHAKE: &str = "Upgrade: websocket\r\nConnection: Upgrade, close\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Sends each request to a server and tells how it was answered: what was asked, and the answer.
///
/// # Errors
///
/// If the server does not answer at all.
pub async fn answers(address: SocketAddr) -> Result<Vec<(&'static str, String)>> {
    let mut answers = Vec::new();
    for (name, request) in REQUESTS {
        let filler = "x".repeat(17 * 1024);
        let request = request.replace("{filler}", &filler).replace("{}", HANDSHAKE);
        let request = request.replacen("Host: a\r\n", "Host: a\r\nConnection: close\r\n", 1);
        let mut answer = plain(&String::from_utf8_lossy(&exchange(address, request.as_bytes()).await?));
        if PARSERS.contains(&name) {
            answer.truncate(3);
        }
        answers.push((name, answer));
    }
    Ok(answers)
}

/// An answer with its headers sorted and in lower case, without those that are the HTTP library's own affair.
fn plain(answer: &str) -> String {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
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
