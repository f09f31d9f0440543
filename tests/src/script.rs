use std::net::SocketAddr;

use anyhow::Result;
use serde_json::{Value, json};

use crate::{Client, exchange};

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

/// Commands that two clients, `a` and `b`, send in turn; after each, both read until they have seen what it
/// causes.
const COMMANDS: [(&str, &str); 32] = [
    ("a", r#"{"type":"ping"}"#),
    ("a", r#"{"type":"join","room":"로비"}"#),
    ("b", r#"{"type":"join","room":"로비","last":10}"#),
    ("a", r#"{"type":"send","room":"로비","body":{"text":"안녕"}}"#),
    ("b", r#"{"type":"send","room":"로비","key":"k1","body":{"text":"hi", "mood" : 1.50}}"#),
    ("b", r#"{"type":"send","room":"로비","key":"k1","body":{"text":"hi", "mood" : 1.50}}"#),
    ("b", r#"{"type":"send","room":"로비","key":"k1","body":{"text":"other"}}"#),
    ("a", r#"{"type":"typing","room":"로비","active":true}"#),
    ("a", r#"{"type":"members","room":"로비"}"#),
    ("b", r#"{"type":"history","room":"로비","limit":1}"#),
    ("b", r#"{"type":"history","room":"로비","after":0}"#),
    ("a", r#"{"type":"join","room":"로비","last":1}"#),
    ("a", r#"{"type":"join","room":"로비","after":{"epoch":"another","seq":7}}"#),
    ("a", r#"{"type":"search","room":"로비","query":"hi"}"#),
    ("a", r#"{"type":"hello","name":"Ann"}"#),
    ("a", r#"{"type":"dance"}"#),
    ("a", r#"{"type":"join","room":"Lobby"}"#),
    ("a", r#"{"type":"join","room":"lobby","last":-1}"#),
    ("a", r#"{"type":"join","room":["lobby"]}"#),
    ("a", r#"{"type":"send","room":"elsewhere","body":{"text":"hi"}}"#),
    ("b", r#"{"type":"send","room":"로비","body":{"text":" \n"}}"#),
    ("b", r#"{"type":"send","room":"로비","body":{"words":"hi"}}"#),
    ("b", r#"{"type":"send","room":"로비","body":"hi"}"#),
    ("b", r#"{"type":"send","room":"로비","key":"","body":{"text":"hi"}}"#),
    ("b", r#"{"type":"history","room":"로비","after":1,"before":2}"#),
    ("b", r#"{"type":"history","room":"로비","limit":0}"#),
    ("b", r#"{"type":"leave","room":"로비"}"#),
    ("b", r#"{"type":"leave","room":"로비"}"#),
    ("a", r#"{"type":"send","room":"로비","body":{"text":"alone"}}"#),
    ("b", r#"{"type":"join","room":"로비","last":1}"#),
    ("a", r#"{"type":"leave","room":"로비"}"#),
    ("b", r#"{"type":"members","room":"로비"}"#),
];

/// Runs the one script against a server that has just been started, and tells what came of it, a line for each
/// request and each event. What is random, or the time, is replaced.
///
/// # Errors
///
/// If the server does not answer at all.
pub async fn transcript(address: SocketAddr) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for (name, request) in REQUESTS {
        let filler = "x".repeat(17 * 1024);
        let request = request.replace("{filler}", &filler).replace("{}", HANDSHAKE);
        let request = request.replacen("Host: a\r\n", "Host: a\r\nConnection: close\r\n", 1);
        let answer = exchange(address, request.as_bytes()).await?;
        let answer = plain(&String::from_utf8_lossy(&answer));
        let compared = if PARSERS.contains(&name) { &answer[..3] } else { &answer };
        lines.push(format!("{name}: {compared}"));
    }
    let mut clients = [Client::connect(address, "a").await?, Client::connect(address, "b").await?];
    for (number, (who, command)) in COMMANDS.iter().enumerate() {
        let mut command: Value = serde_json::from_str(command)?;
        command["ref"] = json!(number.to_string());
        clients[usize::from(*who == "b")].send(command).await?;
        // What happened before a command is told before its reply: so a ping brings all that there is, the
        // sender's first, since only then has the command been carried out.
        for name in if *who == "a" { ["a", "b"] } else { ["b", "a"] } {
            let client = &mut clients[usize::from(name == "b")];
            client.send(json!({"type": "ping", "ref": "sync"})).await?;
            let mut events = Vec::new();
            let (mut synced, mut replayed) = (false, None);
            while !synced || replayed.is_some() {
                let event = client.next().await?;
                if event["ref"] == "sync" {
                    synced = true;
                    continue;
                }
                // What a join asks for is read from the log, and may come after replies to later commands.
                if event["type"] == "joined" && event["seq"] != 0 {
                    replayed = Some(event["seq"].clone());
                } else if event["type"] == "message" && replayed.as_ref() == Some(&event["seq"]) {
                    replayed = None;
                }
                events.push(format!("{number} {name}: {}", timeless(event)));
            }
            // A sender's reply and its own message come in either order.
            events.sort();
            lines.extend(events);
        }
    }
    let [a, b] = clients;
    lines.push(format!("a closes: {:?}", a.close(1000).await?));
    lines.push(format!("b closes: {:?}", b.close(3999).await?));
    Ok(lines)
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

fn timeless(mut event: Value) -> Value {
    for field in ["at", "epoch"] {
        if event.get(field).is_some() {
            event[field] = json!("...");
        }
    }
    if let Some(messages) = event.get_mut("messages").and_then(Value::as_array_mut) {
        for message in messages {
            *message = timeless(message.take());
        }
    }
    event
}
