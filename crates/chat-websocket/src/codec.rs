//! The translation between tungstenite's messages and those of the chat.

use std::io;

use bytes::Bytes;
use chat_core::{Incoming, ProtocolViolation};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::wire::UnfinishedMessage;

/// The first byte of a text message in one frame.
pub(crate) const TEXT: u8 = 0x81;

/// The first byte of a binary message in one frame.
pub(crate) const BINARY: u8 = 0x82;

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

pub(crate) fn decode(message: Option<Result<Message, Error>>) -> Incoming {
    match message {
        Some(Ok(Message::Text(text))) => Incoming::Text(text.into()),
        Some(Ok(Message::Binary(payload))) => Incoming::Binary(payload),
        // tungstenite writes such frames and does not read them.
        Some(Ok(Message::Frame(frame))) => Incoming::Binary(frame.into_payload()),
        Some(Ok(Message::Ping(_))) => Incoming::Ping,
        Some(Ok(Message::Pong(_))) => Incoming::Pong,
        Some(Ok(Message::Close(frame))) => Incoming::Close(frame.map(|frame| frame.code.into())),
        Some(Err(error)) => map_error(error),
        None => Incoming::End,
    }
}

pub(crate) fn map_error(error: Error) -> Incoming {
    match error {
        Error::Capacity(_) => Incoming::Violation(ProtocolViolation::TooBig),
        Error::Utf8(_) => Incoming::Violation(ProtocolViolation::Utf8),
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Incoming::End,
        Error::Protocol(_) => Incoming::Violation(ProtocolViolation::Protocol),
        Error::Io(error) if matches!(error.get_ref(), Some(inner) if inner.is::<UnfinishedMessage>()) => {
            Incoming::Violation(ProtocolViolation::TooBig)
        }
        Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => Incoming::End,
        error => Incoming::Lost(into_io_error(error)),
    }
}

pub(crate) fn into_io_error(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        error => io::Error::other(error),
    }
}
