//! The chat on axum's own WebSockets.
//!
//! axum shows messages, not the bytes under them, and not its socket. So this mechanism differs from
//! [`hijack`](crate::hijack) in what follows, and only in that:
//!
//! - A peer that ends its stream without a close frame gets no answers any more to what it had asked: the
//!   codec ends both directions.
//! - After a breach of the protocol nothing more can be read. The close frame goes out; then the connection is
//!   held, unread, for as long as a close may take, and ends in a reset if the peer was still sending.
//! - After a closing handshake, whatever the peer sends behind its close frame may cause a reset.
//! - Empty fragments without end cost no memory, and are not refused; those of one byte or more count towards the
//!   limit of their message.
//! - Progress shows only when everything that waits has been taken. A peer that takes some of it, but not all
//!   within the write timeout, is closed as if it took nothing.
//! - Each event costs a check for UTF-8 for each recipient.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use axum::extract::FromRequestParts;
use axum::extract::ws::{self, CloseFrame, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use chat_core::{CloseCode, Connection, Incoming, Message, Outgoing, Upgrade};
use chat_websocket::{READ_BUFFER, WRITE_BUFFER};
use futures_util::{Sink, Stream};
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
        .max_frame_size(limits.max_frame)
        .max_message_size(limits.max_frame);
    let max_waiting = limits.max_batch;
    let (give, taken) = oneshot::channel();
    tokio::spawn(ticket.start(async move { taken.await.map(|socket| Socket::new(socket, max_waiting)) }));
    let theirs = ws.on_upgrade(|socket| async {
        // If nobody waits for it any more, this ends it.
        let _unwanted = give.send(socket);
    });
    // axum awaits the connection; what it would answer says the same as ours, but for the subprotocol.
    drop(theirs);
    chat_hyper::switching_protocols(&answer)
}

/// A connection of axum's.
struct Socket {
    socket: WebSocket,
    max_waiting: usize,
    /// Bytes given to axum since everything was written, a frame's header counted as one.
    waiting: usize,
    /// How often everything was written.
    progress: u64,
    /// Whether the peer has broken the protocol: then axum reads no more.
    deaf: bool,
    closing: Closing,
}

/// How far the closing handshake is.
enum Closing {
    Open,
    Flushing,
    Awaiting,
}

impl Socket {
    fn new(socket: WebSocket, max_waiting: usize) -> Self {
        Self { socket, max_waiting, waiting: 0, progress: 0, deaf: false, closing: Closing::Open }
    }

    fn socket(&mut self) -> Pin<&mut WebSocket> {
        Pin::new(&mut self.socket)
    }

    fn received(&mut self, message: ws::Message) -> Incoming {
        match message {
            ws::Message::Text(text) => Incoming::Text(text.into()),
            ws::Message::Binary(_) => Incoming::Binary,
            ws::Message::Ping(payload) => {
                self.waiting += 1 + payload.len();
                Incoming::Ping
            }
            ws::Message::Pong(_) => Incoming::Pong,
            ws::Message::Close(frame) => Incoming::Close(frame.map(|frame| frame.code)),
        }
    }
}

impl Connection for Socket {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        if self.waiting > self.max_waiting {
            // The pongs that this peer does not read would pile up.
            if let Err(error) = ready!(self.poll_flush(cx)) {
                return Poll::Ready(Incoming::Lost(error));
            }
        }
        let incoming = match ready!(self.socket().poll_next(cx)) {
            Some(Ok(message)) => self.received(message),
            Some(Err(error)) => failed(error),
            None => Incoming::End,
        };
        self.deaf = matches!(incoming, Incoming::Violation(_));
        Poll::Ready(incoming)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting > self.max_waiting {
            self.poll_flush(cx)
        } else {
            self.socket().poll_ready(cx).map_err(io::Error::other)
        }
    }

    fn send(&mut self, frame: Outgoing) -> io::Result<()> {
        let message = match frame {
            Outgoing::Text(text) => {
                self.waiting += 1 + text.len();
                ws::Message::Text(Utf8Bytes::try_from(text).map_err(io::Error::other)?)
            }
            Outgoing::Ping => {
                self.waiting += 1;
                ws::Message::Ping(Bytes::new())
            }
        };
        self.socket().start_send(message).map_err(io::Error::other)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.socket().poll_flush(cx)).map_err(io::Error::other)?;
        self.waiting = 0;
        self.progress += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, code: Option<CloseCode>) -> Poll<()> {
        loop {
            match self.closing {
                Closing::Open => {
                    if let Some(code) = code {
                        let frame = CloseFrame { code: code.code(), reason: code.reason().into() };
                        // Fails if the transport has: then the next step finds out too.
                        let _failed = self.socket().start_send(ws::Message::Close(Some(frame)));
                    }
                    self.closing = Closing::Flushing;
                }
                Closing::Flushing => {
                    let flushed = ready!(self.poll_flush(cx));
                    if flushed.is_err() || code.is_none() {
                        return Poll::Ready(());
                    }
                    self.closing = Closing::Awaiting;
                }
                // Dropped with bytes in it that nobody read, the socket would take the close frame back. The
                // caller's time is the peer's to read it.
                Closing::Awaiting if self.deaf => return Poll::Pending,
                Closing::Awaiting => match ready!(self.socket().poll_next(cx)) {
                    Some(Ok(message)) if !matches!(message, ws::Message::Close(_)) => {}
                    _ => return Poll::Ready(()),
                },
            }
        }
    }

    fn progress(&self) -> u64 {
        self.progress
    }
}

/// What an error of axum's means. axum does not say; its codec's error does, if it is of the very version that
/// axum uses: where the two part, the tests of every breach fail.
fn failed(error: axum::Error) -> Incoming {
    let error = error.into_inner();
    match error.downcast_ref() {
        Some(Error::Capacity(_)) => Incoming::Violation(CloseCode::MessageTooBig),
        Some(Error::Utf8(_)) => Incoming::Violation(CloseCode::InvalidPayload),
        Some(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => Incoming::End,
        Some(Error::Protocol(_)) => Incoming::Violation(CloseCode::ProtocolError),
        _ => Incoming::Lost(io::Error::other(error)),
    }
}
