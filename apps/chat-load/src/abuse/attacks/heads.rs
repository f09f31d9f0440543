//! Request heads that are wrong, malformed or never complete.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Attack;
use crate::abuse::attacker::Attacker;
use crate::abuse::peer::upgrade_request;

pub(super) const TARGETS: Attack = Attack::new(
    "targets",
    "Request targets that are no path: only a host and a port, an asterisk, a URI; CONNECT",
    &["400", "405"],
    |attacker, n| {
        Box::pin(async move {
            let heads = [
                "GET h:1 HTTP/1.1",
                "CONNECT h:1 HTTP/1.1",
                "OPTIONS * HTTP/1.1",
                "GET * HTTP/1.1",
                "GET http://localhost/ws HTTP/1.1",
                "POST /ws HTTP/1.1",
            ];
            request_in_turn(&attacker, n, &heads.map(|head| format!("{head}\r\nHost: localhost\r\n\r\n")))
                .await;
        })
    },
);

pub(super) const REFUSALS: Attack = Attack::new(
    "refusals",
    "Upgrades that are refused, each with a long header that the log could repeat",
    &["400", "403"],
    |attacker, n| {
        Box::pin(async move {
            let origin = format!("Origin: https://{}.example\r\n", "a".repeat(4_000));
            let requests = [
                upgrade_request("a", &origin),
                upgrade_request("a", "Origin: null\r\n"),
                upgrade_request("%00", ""),
                upgrade_request("a", "Sec-WebSocket-Protocol: other\r\n"),
                upgrade_request("a", "Content-Length: 1\r\n"),
                upgrade_request("a", "").replace("13", "7"),
            ];
            request_in_turn(&attacker, n, &requests).await;
        })
    },
);

pub(super) const MALFORMED: Attack = Attack::new(
    "malformed",
    "Bytes that are no HTTP, and heads that are too long",
    &["400", "431"],
    |attacker, n| {
        Box::pin(async move {
            let requests = [
                "\0\r\n\r\n".to_owned(),
                "GET / HTTP/9.9\r\n\r\n".to_owned(),
                "GET /ws HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n".to_owned(),
                "GET /\u{d64d} HTTP/1.1\r\nBad Header: a\r\n\r\n".to_owned(),
                upgrade_request("a", &format!("X: {}\r\n", "a".repeat(17_000))),
            ];
            request_in_turn(&attacker, n, &requests).await;
        })
    },
);

pub(super) const UNFINISHED: Attack = Attack::new(
    "unfinished",
    "Heads that never end, and connections that send nothing",
    &[],
    |attacker, n| {
        Box::pin(async move {
            let Some(mut stream) = attacker.connect(n, None).await else { return };
            attacker.count("held");
            if n.is_multiple_of(2) {
                // The server ends it, after 10 s at the latest.
                let _ended = stream.read_u8().await.is_ok();
                return;
            }
            let head = upgrade_request("a", &format!("X: {}", "a".repeat(8_000)));
            for byte in head.trim_end().bytes() {
                if stream.write_all(&[byte]).await.is_err() {
                    return;
                }
                sleep(Duration::from_secs_f64(1.0 / attacker.rate)).await;
            }
        })
    },
);

/// Sends requests in turn at the rate, each on a connection of its own.
async fn request_in_turn(attacker: &Attacker, n: usize, requests: &[String]) {
    let mut ticks = interval(Duration::from_secs_f64(1.0 / attacker.rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for request in requests.iter().cycle().skip(n) {
        ticks.tick().await;
        attacker.request(n, request.as_bytes()).await;
    }
}
