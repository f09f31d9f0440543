//! The chat on axum's own WebSocket.
//!
//! axum shows messages, but not the bytes under them and not its socket. Therefore this mode differs from
//! [`UpgradeMode::Hijack`](chat_core::UpgradeMode::Hijack):
//!
//! - A peer that ends its stream without a close frame gets no more answers to its commands, because the codec ends
//!   both directions.
//! - Commands that come in one packet with a close frame behind them are carried out and not answered, because the
//!   codec sends nothing after it has read a close frame.
//! - After a violation of the protocol nothing more can be read. The close frame goes out. Then the connection is held
//!   for as long as a close may take, and ends in a reset if the peer was still sending.
//! - After a closing handshake, bytes that the peer sends behind its close frame may cause a reset.
//! - Empty fragments without end cost no memory, and are not refused. Fragments of one byte or more count towards the
//!   limit of their message.
//! - Progress is visible only when the peer has accepted all waiting bytes. A peer that accepts only some of them
//!   within the write timeout is closed, as if it read nothing.
//! - Each event costs a check for UTF-8 for each recipient.

use std::io;

use axum::extract::FromRequestParts;
use axum::extract::ws::{self, CloseFrame, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use bytes::Bytes;
use chat_adapter::{MessageCodec, MessageSocket};
use chat_core::{CloseCode, Incoming, ProtocolViolation, Upgrade};
use chat_websocket::{READ_BUFFER_BYTES, WRITE_BUFFER_BYTES};
use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::request::Parts;
use tungstenite_of_axum::Error;
use tungstenite_of_axum::error::ProtocolError;

/// Carries out an upgrade on axum's own WebSocket. If axum sees no upgrade in the request, it is refused.
pub(crate) async fn open(upgrade: Upgrade, mut parts: Parts) -> Response {
    // The chat finds these words on each line of a header, axum on the first line only.
    parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    parts.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let Ok(ws) = WebSocketUpgrade::from_request_parts(&mut parts, &()).await else {
        return chat_adapter::answer(upgrade.refuse());
    };
    let (answer, ticket) = upgrade.accept();
    let max_frame_bytes = ticket.limits().wire.max_frame_bytes;
    let ws = ws
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES)
        .max_frame_size(max_frame_bytes)
        .max_message_size(max_frame_bytes);
    let session = MessageSocket::<WebSocket, Codec>::start(ticket);
    // axum's answer starts its task, and lacks the subprotocol. So the chat's answer is sent in its place.
    drop(ws.on_upgrade(|socket| async {
        let _too_late = session.send(socket);
    }));
    chat_adapter::switching_protocols(&answer)
}

/// The codec for the messages of axum.
struct Codec;

impl MessageCodec for Codec {
    type Message = ws::Message;
    type Error = axum::Error;

    fn size(message: &ws::Message) -> usize {
        match message {
            ws::Message::Text(text) => text.len(),
            ws::Message::Binary(payload) | ws::Message::Ping(payload) | ws::Message::Pong(payload) => {
                payload.len()
            }
            ws::Message::Close(frame) => frame.as_ref().map_or(0, |frame| frame.reason.len()),
        }
    }

    fn decode(message: ws::Message) -> Incoming {
        match message {
            ws::Message::Text(text) => Incoming::Text(text.into()),
            ws::Message::Binary(payload) => Incoming::Binary(payload),
            ws::Message::Ping(_) => Incoming::Ping,
            ws::Message::Pong(_) => Incoming::Pong,
            ws::Message::Close(frame) => Incoming::Close(frame.map(|frame| frame.code)),
        }
    }

    /// Maps an error by its source, because the errors of axum do not name their cause. The source has the type of the
    /// tungstenite version that axum uses. With another version, the conformance cases about violations fail.
    fn map_error(error: axum::Error) -> Incoming {
        let error = error.into_inner();
        match error.downcast_ref() {
            Some(Error::Capacity(_)) => Incoming::Violation(ProtocolViolation::TooBig),
            Some(Error::Utf8(_)) => Incoming::Violation(ProtocolViolation::Utf8),
            Some(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => Incoming::End,
            Some(Error::Protocol(_)) => Incoming::Violation(ProtocolViolation::Protocol),
            _ => Incoming::Lost(io::Error::other(error)),
        }
    }

    fn text(text: Bytes) -> io::Result<ws::Message> {
        Utf8Bytes::try_from(text).map(ws::Message::Text).map_err(io::Error::other)
    }

    fn binary(payload: Bytes) -> ws::Message {
        ws::Message::Binary(payload)
    }

    fn ping() -> ws::Message {
        ws::Message::Ping(Bytes::new())
    }

    fn close(code: CloseCode) -> ws::Message {
        ws::Message::Close(Some(CloseFrame { code: code.code(), reason: code.reason().into() }))
    }
}
