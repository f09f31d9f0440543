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

/// Returns the header of a whole message from a server (RFC 6455 section 5.2).
pub(crate) fn header(first: u8, length: usize) -> Bytes {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..126), _) => Bytes::copy_from_slice(&[first, length]),
        (_, Ok(length)) => {
            let [a, b] = length.to_be_bytes();
            Bytes::copy_from_slice(&[first, 126, a, b])
        }
        _ => [&[first, 127][..], &(length as u64).to_be_bytes()].concat().into(),
    }
}

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
