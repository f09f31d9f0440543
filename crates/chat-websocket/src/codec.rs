//! The bytes of a server's frames.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use chat_core::{Incoming, ProtocolViolation};

use crate::wire::UnfinishedMessage;

/// The first byte of a text message in one frame.
pub(crate) const TEXT: u8 = 0x81;

/// The first byte of a binary message in one frame.
pub(crate) const BINARY: u8 = 0x82;

/// The first byte of a close frame.
pub(crate) const CLOSE: u8 = 0x88;

/// The first byte of a ping.
pub(crate) const PING: u8 = 0x89;

/// The first byte of a pong.
pub(crate) const PONG: u8 = 0x8a;

/// Returns the payload of a close frame.
pub(crate) fn close_payload(code: u16, reason: &str) -> Bytes {
    let mut payload = BytesMut::with_capacity(2 + reason.len());
    payload.put_u16(code);
    payload.put_slice(reason.as_bytes());
    payload.freeze()
}

/// Translates an error of the transport.
pub(crate) fn map_error(error: io::Error) -> Incoming {
    match error.get_ref() {
        Some(inner) if inner.is::<UnfinishedMessage>() => Incoming::Violation(ProtocolViolation::TooBig),
        _ if error.kind() == io::ErrorKind::UnexpectedEof => Incoming::End,
        _ => Incoming::Lost(error),
    }
}
