use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use chat_tests::{Daemon, exchange};
use serde_json::{Value, json};

use crate::programs;

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;

/// A disk takes its time, in which the close has long come.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_ahead_of_a_close_is_answered_ahead_of_its_echo() -> Result<()> {
    for binary in programs() {
        let daemon = Daemon::start(binary, &[])?;
        let frames = last_words(daemon.address()).await?;
        let (last, replies) = frames.split_last().context("no frames")?;
        ensure!(*last == (CLOSE, vec![3, 232]), "{binary:?}: {frames:?}");
        let mut types = Vec::new();
        for (opcode, payload) in replies {
            ensure!(*opcode == TEXT, "{binary:?}: {frames:?}");
            let event: Value = serde_json::from_slice(payload)?;
            types.extend(event["type"].as_str().map(ToOwned::to_owned));
        }
        for kind in ["joined", "message", "sent", "pong"] {
            ensure!(types.iter().any(|found| found == kind), "{binary:?}: no {kind} in {types:?}");
        }
        daemon.stop()?;
    }
    Ok(())
}

/// Asks for an upgrade, joins, speaks, and closes, all in one packet; the frames that come back.
async fn last_words(address: SocketAddr) -> Result<Vec<(u8, Vec<u8>)>> {
    let mut packet = b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        .to_vec();
    for command in [
        json!({"type": "join", "room": "lobby"}),
        json!({"type": "send", "room": "lobby", "ref": "s", "body": {"text": "last words"}}),
        json!({"type": "ping"}),
    ] {
        packet.extend(masked(TEXT, command.to_string().as_bytes()));
    }
    packet.extend(masked(CLOSE, &1000_u16.to_be_bytes()));
    let answer = exchange(address, &packet).await?;
    let head = answer.windows(4).position(|part| part == b"\r\n\r\n").context("no head")?;
    let mut rest = &answer[head + 4..];
    let mut frames = Vec::new();
    while let [first, length, after @ ..] = rest {
        let (length, after) = match (length, after) {
            (126, [a, b, after @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), after),
            (length, after) => (usize::from(*length), after),
        };
        let (payload, after) = after.split_at_checked(length).context("half a frame")?;
        frames.push((*first, payload.to_vec()));
        rest = after;
    }
    Ok(frames)
}

/// A short frame, masked with zeros.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("short") | 0x80;
    [&[first, length, 0, 0, 0, 0], payload].concat()
}
