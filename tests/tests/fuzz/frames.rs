use std::future::poll_fn;

use anyhow::{Result, ensure};
use bytes::Bytes;
use chat_core::{Connection, Incoming, Limits, ProtocolViolation};
use chat_tests::fuzz::check_inputs;
use chat_websocket::{FrameLimiter, WebSocket};
use tokio::io::AsyncWriteExt;

/// The limit of a message, in bytes.
const MAX_BYTES: usize = 1_000;

#[test]
fn frames_are_read_in_the_same_way_when_they_arrive_in_parts() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    check_inputs("frames", 2_500, |input| {
        let size = usize::from(input.first().copied().unwrap_or_default() % 23) + 1;
        let whole = runtime.block_on(receive_all(input, input.len().max(1)));
        let parts = runtime.block_on(receive_all(input, size));
        ensure!(whole == parts, "{whole:?} in one part, {parts:?} in parts of {size}");
        // A violation in a header may be reported before the frame is complete.
        let expected = [expected(input, false), expected(input, true)];
        ensure!(expected.contains(&whole), "{whole:?}, expected {expected:?}");
        ensure!(
            limited(input, size) == limited(input, input.len().max(1)),
            "the limiter, in parts of {size}"
        );
        Ok(())
    })
}

/// Receives everything that a WebSocket reports for these bytes, which arrive in parts.
async fn receive_all(input: &[u8], size: usize) -> Vec<String> {
    let limits = Limits::default().with(|limits| limits.wire.max_frame_bytes = MAX_BYTES);
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    let mut socket = WebSocket::accept(server, Bytes::new(), &limits).await;
    let mut received = Vec::new();
    let write = async {
        for part in input.chunks(size) {
            // The WebSocket may be closed already.
            let _closed = client.write_all(part).await;
            tokio::task::yield_now().await;
        }
        let _closed = client.shutdown().await;
    };
    let read = async {
        loop {
            let incoming = poll_fn(|cx| socket.poll_receive(cx)).await;
            let is_last = !matches!(
                incoming,
                Incoming::Text(_) | Incoming::Binary(_) | Incoming::Ping | Incoming::Pong
            );
            received.push(format!("{incoming:?}"));
            if is_last {
                return;
            }
        }
    };
    tokio::join!(write, read);
    received
}

/// Returns the frames that a limiter passes, and its error.
fn limited(input: &[u8], size: usize) -> (Vec<usize>, Option<ProtocolViolation>) {
    let mut limiter = FrameLimiter::new(MAX_BYTES);
    let (mut frames, mut length) = (Vec::new(), 0);
    for mut part in input.chunks(size) {
        while !part.is_empty() {
            match limiter.pass(part) {
                Ok(passed) => {
                    length += passed;
                    part = &part[passed..];
                }
                Err(violation) => return (frames, Some(violation)),
            }
            if limiter.is_between_frames() {
                frames.push(std::mem::take(&mut length));
            }
        }
    }
    (frames, None)
}

/// Returns what a server reports for the bytes of a client (RFC 6455). It reports a frame that is too long at its
/// header, and, if `eager`, a frame that breaks another rule.
fn expected(mut input: &[u8], eager: bool) -> Vec<String> {
    let mut received = Vec::new();
    let mut message = None;
    loop {
        let reported = match frame(input, eager) {
            Ok(Some((frame, length))) => {
                input = &input[length..];
                match report(frame, &mut message) {
                    Ok(Some(reported)) => reported,
                    Ok(None) => continue,
                    Err(violation) => Incoming::Violation(violation),
                }
            }
            Ok(None) => Incoming::End,
            Err(violation) => Incoming::Violation(violation),
        };
        received.push(format!("{reported:?}"));
        if matches!(reported, Incoming::Close(_) | Incoming::Violation(_) | Incoming::End) {
            return received;
        }
    }
}

struct Frame {
    first: u8,
    is_masked: bool,
    payload: Vec<u8>,
}

/// Returns the first frame and its length, or `None` if it is incomplete.
fn frame(input: &[u8], eager: bool) -> Result<Option<(Frame, usize)>, ProtocolViolation> {
    let [first, second, rest @ ..] = input else { return Ok(None) };
    let (length, header) = match (second & 0x7f, rest) {
        (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 4),
        (127, [a, b, c, d, e, f, g, h, ..]) => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 10),
        (126 | 127, _) => return Ok(None),
        (short, _) => (u64::from(short), 2),
    };
    let is_masked = second & 0x80 != 0;
    let header = header + if is_masked { 4 } else { 0 };
    if input.len() < header {
        return Ok(None);
    }
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if eager && !is_header_valid(*first, is_masked, length) {
        return Err(ProtocolViolation::Protocol);
    }
    if length > MAX_BYTES {
        return Err(ProtocolViolation::TooBig);
    }
    let Some(payload) = input.get(header..header + length) else { return Ok(None) };
    let mask = if is_masked { &input[header - 4..header] } else { &[0] };
    let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    Ok(Some((Frame { first: *first, is_masked, payload }, header + length)))
}

fn is_header_valid(first: u8, is_masked: bool, length: usize) -> bool {
    let is_control = first & 0x08 != 0;
    let is_control_valid = !is_control || (first & 0x80 != 0 && length <= 125);
    first & 0x70 == 0 && matches!(first & 0x0f, 0..=2 | 8..=10) && is_masked && is_control_valid
}

/// Returns the report of a frame, or `None` for a part of a message. `message` has the opcode and the payload of the
/// fragments before it.
fn report(frame: Frame, message: &mut Option<(u8, Vec<u8>)>) -> Result<Option<Incoming>, ProtocolViolation> {
    let Frame { first, is_masked, payload } = frame;
    let (is_final, opcode) = (first & 0x80 != 0, first & 0x0f);
    if !is_header_valid(first, is_masked, payload.len()) {
        return Err(ProtocolViolation::Protocol);
    }
    match (opcode, message.is_some()) {
        (8, _) => close(&payload).map(Some),
        (9, _) => Ok(Some(Incoming::Ping)),
        (10, _) => Ok(Some(Incoming::Pong)),
        (1 | 2, false) | (0, true) => {
            let (opcode, whole) = message.get_or_insert((opcode, Vec::new()));
            if whole.len() + payload.len() > MAX_BYTES {
                return Err(ProtocolViolation::TooBig);
            }
            whole.extend(payload);
            let checked = std::str::from_utf8(whole);
            // An incomplete character may be completed by the next fragment.
            let is_wrong = checked.is_err_and(|error| is_final || error.error_len().is_some());
            if *opcode == 1 && is_wrong {
                return Err(ProtocolViolation::Utf8);
            }
            let whole = message.take_if(|_| is_final);
            Ok(whole.map(|(opcode, whole)| match opcode {
                1 => Incoming::Text(whole.into()),
                _ => Incoming::Binary(whole.into()),
            }))
        }
        _ => Err(ProtocolViolation::Protocol),
    }
}

fn close(payload: &[u8]) -> Result<Incoming, ProtocolViolation> {
    match payload {
        [] => Ok(Incoming::Close(None)),
        [high, low, reason @ ..] => {
            std::str::from_utf8(reason).map_err(|_| ProtocolViolation::Utf8)?;
            // A code that must not be sent is answered with 1002.
            let code = u16::from_be_bytes([*high, *low]);
            let is_allowed = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            Ok(Incoming::Close(Some(if is_allowed { code } else { 1002 })))
        }
        _ => Err(ProtocolViolation::Protocol),
    }
}
