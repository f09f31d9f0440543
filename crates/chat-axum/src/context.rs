//! The chat on axum's own WebSockets.
//!
//! axum shows messages, not the bytes under them, and not its socket. So this mechanism differs from
//! [`hijack`](crate::hijack) in what follows, and only in that:
//!
//! - A peer that ends its stream without a close frame gets no answers any more to what it had asked: the
//!   codec ends both directions.
//! - Commands that come in one packet with a close frame behind them are carried out and not answered: the codec
//!   sends nothing more once it has read a close.
//! - After a breach of the protocol nothing more can be read. The close frame goes out; then the connection is
//!   held, unread, for as long as a close may take, and ends in a reset if the peer was still sending.
//! - After a closing handshake, whatever the peer sends behind its close frame may cause a reset.
//! - Empty fragments without end cost no memory, and are not refused; those of one byte or more count towards the
//!   limit of their message.
//! - Progress shows only when everything that waits has been taken. A peer that takes some of it, but not all
//!   within the write timeout, is closed as if it took nothing.
//! - Each event costs a check for UTF-8 for each recipient.

use std::io;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::extract::ws::{self, CloseFrame, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use bytes::Bytes;
use chat_core::{CloseCode, Incoming, Message, ProtocolViolation, Upgrade};
use chat_hyper::Messages;
use chat_websocket::{READ_BUFFER, WRITE_BUFFER};
use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::request::Parts;
use tokio::sync::oneshot;
use tungstenite_of_axum::Error;
use tungstenite_of_axum::error::ProtocolError;

/// Carries an upgrade out on axum's own WebSocket; if axum does not see one, it is refused.
pub(crate) async fn open<M: Message>(upgrade: Upgrade<M>, mut parts: Parts) -> Response {
    // The chat has found these words wherever they were; axum looks for them on the first line only.
    parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    parts.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let Ok(ws) = WebSocketUpgrade::from_request_parts(&mut parts, &()).await else {
        return chat_hyper::answer(upgrade.refuse());
    };
    let (answer, ticket) = upgrade.accept();
    let limits = ticket.limits();
    let ws = ws
        .read_buffer_size(READ_BUFFER)
        .max_write_buffer_size(WRITE_BUFFER)
        .max_frame_size(limits.wire.max_frame_bytes)
        .max_message_size(limits.wire.max_frame_bytes);
    let limits = Arc::clone(limits);
    let (give, taken) = oneshot::channel::<WebSocket>();
    let connection = async move { taken.await.map(|socket| Messages::<_, Dialect>::new(socket, &limits)) };
    tokio::spawn(ticket.start(connection));
    let theirs = ws.on_upgrade(|socket| async {
        // If nobody waits for it any more, this ends it.
        let _unwanted = give.send(socket);
    });
    // axum awaits the connection; what it would answer says the same as ours, but for the subprotocol.
    drop(theirs);
    chat_hyper::switching_protocols(&answer)
}

/// axum's messages.
struct Dialect;

impl chat_hyper::Dialect for Dialect {
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

    fn read(message: ws::Message) -> Incoming {
        match message {
            ws::Message::Text(text) => Incoming::Text(text.into()),
            ws::Message::Binary(payload) => Incoming::Binary(payload),
            ws::Message::Ping(_) => Incoming::Ping,
            ws::Message::Pong(_) => Incoming::Pong,
            ws::Message::Close(frame) => Incoming::Close(frame.map(|frame| frame.code)),
        }
    }

    /// axum does not say what its errors mean; its codec's errors do, if they are of the very version that axum
    /// uses: where the two part, the tests of every breach fail.
    fn failed(error: axum::Error) -> Incoming {
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
