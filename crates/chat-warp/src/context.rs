//! The chat on warp's own WebSockets.
//!
//! warp shows messages, not the bytes under them, and neither its socket nor most of its codec's settings.
//! So this mechanism differs from [`hijack`](crate::hijack) in what follows, and only in that:
//!
//! - `Upgrade: foo, websocket` is valid and is refused with 500: `warp::ws` wants the bare word, on the first
//!   line of that name.
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
//! - A connection costs 128 KiB of read buffer more, and each event a copy and a check for UTF-8 for each
//!   recipient.

use std::error::Error as _;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use chat_core::{CloseCode, Endpoint, Incoming, Message, ProtocolViolation, Upgrade};
use chat_hyper::Messages;
use hyper::upgrade::OnUpgrade;
use tokio::sync::oneshot;
use tungstenite_of_warp::Error;
use tungstenite_of_warp::error::ProtocolError;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::{Reply, Response};
use warp::ws::{self, WebSocket, Ws};

use crate::{Decided, decided};

/// The chat on warp's own WebSockets.
pub(crate) fn routes<M: Message>(endpoint: Endpoint<M>) -> BoxedFilter<(Response,)> {
    // After the decision: warp takes the connection out of the request, which may be for another route.
    // warp would send a 101 even where there is none.
    let socket = warp::ext::get::<OnUpgrade>()
        .and(warp::ws())
        .map(|_, ws| Some(ws))
        .or(warp::any().map(|| None))
        .unify();
    decided(endpoint)
        .and(socket)
        .map(|decided: Decided<M>, ws: Option<Ws>| match decided {
            Ok(upgrade) => open(upgrade, ws),
            Err(answer) => chat_hyper::answer(answer),
        })
        .boxed()
}

/// Carries an upgrade out; if warp does not see one, it is refused.
fn open<M: Message>(upgrade: Upgrade<M>, ws: Option<Ws>) -> Response {
    let Some(ws) = ws else {
        return chat_hyper::answer(upgrade.refuse());
    };
    let (answer, ticket) = upgrade.accept();
    let limits = ticket.limits();
    let ws = ws.max_frame_size(limits.wire.max_frame_bytes).max_message_size(limits.wire.max_frame_bytes);
    let limits = Arc::clone(limits);
    let (give, taken) = oneshot::channel::<WebSocket>();
    let connection = async move { taken.await.map(|socket| Messages::<_, Dialect>::new(socket, &limits)) };
    tokio::spawn(ticket.start(connection));
    let theirs = ws.on_upgrade(|socket| async {
        // If nobody waits for it any more, this ends it.
        let _unwanted = give.send(socket);
    });
    // Awaits the connection; what warp would answer says the same as ours, but for the subprotocol.
    drop(theirs.into_response());
    chat_hyper::switching_protocols(&answer)
}

/// warp's messages.
struct Dialect;

impl chat_hyper::Dialect for Dialect {
    type Message = ws::Message;
    type Error = warp::Error;

    fn size(message: &ws::Message) -> usize {
        message.as_bytes().len()
    }

    fn read(message: ws::Message) -> Incoming {
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

    /// warp does not say what its errors mean; its codec's errors do, if they are of the very version that warp
    /// uses: where the two part, the tests of every breach fail.
    fn failed(error: warp::Error) -> Incoming {
        match error.source().and_then(|source| source.downcast_ref()) {
            Some(Error::Capacity(_)) => Incoming::Violation(ProtocolViolation::TooBig),
            Some(Error::Utf8(_)) => Incoming::Violation(ProtocolViolation::Utf8),
            Some(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => Incoming::End,
            Some(Error::Protocol(_)) => Incoming::Violation(ProtocolViolation::Protocol),
            _ => Incoming::Lost(io::Error::other(error)),
        }
    }

    fn text(text: Bytes) -> io::Result<ws::Message> {
        Ok(ws::Message::text(String::from_utf8_lossy(&text)))
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
