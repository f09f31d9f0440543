use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use chat_conformance::client::{Frame, Received};
use chat_tests::{Binary, Daemon, exchange, handshake};
use serde_json::Value;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;

/// The disk is slow: the close frame arrives before the message is committed.
#[tokio::test(flavor = "multi_thread")]
async fn commands_before_a_close_are_answered_before_its_echo() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let daemon = Daemon::start(binary, &[])?;
        let frames = send_and_close(daemon.address()).await?;
        let (last, replies) = frames.split_last().context("no frames")?;
        ensure!(last.opcode == CLOSE && last.payload == [3, 232], "{binary:?}: {frames:?}");
        let mut types = Vec::new();
        for reply in replies {
            ensure!(reply.opcode == TEXT && reply.is_final, "{binary:?}: {frames:?}");
            let event: Value = serde_json::from_slice(&reply.payload)?;
            types.extend(event["type"].as_str().map(ToOwned::to_owned));
        }
        for kind in ["joined", "message", "sent", "pong"] {
            ensure!(types.iter().any(|found| found == kind), "{binary:?}: no {kind} in {types:?}");
        }
        daemon.stop()?;
    }
    Ok(())
}

/// Upgrades, joins, sends a message and closes in one packet. Returns the frames of the server.
async fn send_and_close(address: SocketAddr) -> Result<Vec<Received>> {
    let mut packet = handshake("").into_bytes();
    for frame in [
        Frame::text(r#"{"type":"join","room":"lobby"}"#),
        Frame::text(r#"{"type":"send","room":"lobby","ref":"s","body":{"text":"the last message"}}"#),
        Frame::text(r#"{"type":"ping"}"#),
        Frame::close(1000, ""),
    ] {
        packet.extend(frame.encode());
    }
    let response = exchange(address, &packet).await?;
    let head = response.windows(4).position(|part| part == b"\r\n\r\n").context("no head")?;
    let mut rest = &response[head + 4..];
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let parsed = Received::parse(rest).map_err(anyhow::Error::msg)?;
        let (frame, length) = parsed.context("an incomplete frame")?;
        frames.push(frame);
        rest = &rest[length..];
    }
    Ok(frames)
}
