//! The chat on warp's own WebSocket.
//!
//! warp shows messages, but not the bytes under them, its socket, or most settings of its codec. Therefore this mode
//! differs from [`UpgradeMode::Hijack`](chat_core::UpgradeMode::Hijack):
//!
//! - `Upgrade: foo, websocket` is valid and is refused with 500. `warp::ws` accepts only the word `websocket`, on the
//!   first line of that name.
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
//! - A connection costs 128 KiB more of read buffer. Each event costs a copy and a check for UTF-8 for each recipient.

use std::error::Error as _;
use std::io;

use bytes::Bytes;
use chat_adapter::{MessageCodec, MessageSocket};
use chat_core::{CloseCode, Endpoint, Extensions, Incoming, ProtocolViolation, Upgrade};
use hyper::upgrade::OnUpgrade;
use tungstenite_of_warp::Error;
use tungstenite_of_warp::error::ProtocolError;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::{Reply, Response};
use warp::ws::{self, WebSocket, Ws};

use crate::routes::{Decided, decide};

/// Returns the chat on warp's own WebSocket as a filter.
pub(crate) fn routes(endpoint: Endpoint, extensions: BoxedFilter<(Extensions,)>) -> BoxedFilter<(Response,)> {
    // This filter comes after the decision, because warp takes the connection out of the request, which may be for
    // another route. `OnUpgrade` comes first, because warp would send a 101 even without it.
    let socket = warp::ext::get::<OnUpgrade>()
        .and(warp::ws())
        .map(|_, ws| Socket::Opened(ws))
        .or(warp::ext::get::<OnUpgrade>().map(|_| Socket::OtherForm))
        .unify()
        .or(warp::any().map(|| Socket::Taken))
        .unify();
    decide(endpoint, extensions)
        .and(socket)
        .map(|decided: Decided, socket: Socket| match decided {
            Ok(upgrade) => open(upgrade, socket),
            Err(answer) => chat_adapter::answer(answer),
        })
        .boxed()
}

/// The connection that warp provides for a request.
enum Socket {
    Opened(Ws),
    /// A form of a handshake that warp does not know, for example a list in `Upgrade`.
    OtherForm,
    /// The host has taken the connection.
    Taken,
}

/// Carries out an upgrade, or refuses it if warp provides no connection.
fn open(upgrade: Upgrade, socket: Socket) -> Response {
    let ws = match socket {
        Socket::Opened(ws) => ws,
        Socket::OtherForm => return chat_adapter::answer(upgrade.refuse_form()),
        Socket::Taken => return chat_adapter::answer(upgrade.refuse()),
    };
    let (answer, ticket) = upgrade.accept();
    let max_frame_bytes = ticket.limits().wire.max_frame_bytes;
    let ws = ws.max_frame_size(max_frame_bytes).max_message_size(max_frame_bytes);
    let session = MessageSocket::<WebSocket, Codec>::start(ticket);
    let upgraded = ws.on_upgrade(|socket| async {
        let _too_late = session.send(socket);
    });
    // warp's answer starts its task, and lacks the subprotocol. So the chat's answer is sent in its place.
    drop(upgraded.into_response());
    chat_adapter::switching_protocols(&answer)
}

/// The codec for the messages of warp.
struct Codec;

impl MessageCodec for Codec {
    type Message = ws::Message;
    type Error = warp::Error;

    fn size(message: &ws::Message) -> usize {
        message.as_bytes().len()
    }

    fn decode(message: ws::Message) -> Incoming {
        if message.is_text() {
            Incoming::Text(message.into_bytes())
        } else if message.is_ping() {
            Incoming::Ping
        } else if message.is_pong() {
            Incoming::Pong
        } else if message.is_close() {
            Incoming::Close(message.close_frame().map(|(code, _)| code))
        } else {
            Incoming::Binary(message.into_bytes())
        }
    }

    /// Maps an error by its source, because the errors of warp do not name their cause. The source has the type of the
    /// tungstenite version that warp uses. With another version, the conformance cases about violations fail.
    fn map_error(error: warp::Error) -> Incoming {
        match error.source().and_then(|source| source.downcast_ref()) {
            Some(Error::Capacity(_)) => Incoming::Violation(ProtocolViolation::TooBig),
            Some(Error::Utf8(_)) => Incoming::Violation(ProtocolViolation::Utf8),
            Some(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => Incoming::End,
            Some(Error::Protocol(_)) => Incoming::Violation(ProtocolViolation::Protocol),
            _ => Incoming::Lost(io::Error::other(error)),
        }
    }

    fn text(text: Bytes) -> io::Result<ws::Message> {
        String::from_utf8(text.into()).map(ws::Message::text).map_err(io::Error::other)
    }

    fn binary(payload: Bytes) -> ws::Message {
        ws::Message::binary(payload)
    }

    fn ping() -> ws::Message {
        ws::Message::ping("")
    }

    fn close(code: CloseCode) -> ws::Message {
        ws::Message::close_with(code.code(), code.reason())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_not_utf_8_is_refused_and_not_altered() {
        let text = Codec::text(Bytes::from_static("é".as_bytes()));
        assert!(text.is_ok_and(|text| text.to_str() == Ok("é")));
        assert!(Codec::text(Bytes::from_static(b"\xff")).is_err());
    }
}
