//! The chat on warp's own WebSockets.
//!
//! warp shows messages, not the bytes under them, and neither its socket nor most of its codec's settings.
//! So this mechanism differs from [`hijack`](crate::hijack) in what follows, and only in that:
//!
//! - `Upgrade: foo, websocket` is valid and is refused with 500: `warp::ws` wants the bare word, on the first
//!   line of that name.
//! - A peer that ends its stream without a close frame gets no answers any more to what it had asked: the
//!   codec ends both directions.
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
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use chat_core::{CloseCode, Connection, Endpoint, Incoming, Message, Outgoing, Upgrade};
use futures_util::{Sink, Stream};
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
    let ws = ws.max_frame_size(limits.max_frame).max_message_size(limits.max_frame);
    let max_waiting = limits.max_batch;
    let (give, taken) = oneshot::channel();
    tokio::spawn(ticket.start(async move { taken.await.map(|socket| Socket::new(socket, max_waiting)) }));
    let theirs = ws.on_upgrade(|socket| async {
        // If nobody waits for it any more, this ends it.
        let _unwanted = give.send(socket);
    });
    // Awaits the connection; what warp would answer says the same as ours, but for the subprotocol.
    drop(theirs.into_response());
    chat_hyper::switching_protocols(&answer)
}

/// A connection of warp's.
struct Socket {
    socket: WebSocket,
    max_waiting: usize,
    /// Bytes given to warp since everything was written, a frame's header counted as one.
    waiting: usize,
    /// How often everything was written.
    progress: u64,
    /// Whether the peer has broken the protocol: then warp reads no more.
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
        if message.is_text() {
            Incoming::Text(message.into_bytes())
        } else if message.is_ping() {
            self.waiting += 1 + message.as_bytes().len();
            Incoming::Ping
        } else if message.is_pong() {
            Incoming::Pong
        } else if message.is_close() {
            Incoming::Close(message.close_frame().map(|(code, _)| code))
        } else {
            Incoming::Binary
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
            Outgoing::Text(text) => ws::Message::text(String::from_utf8_lossy(&text)),
            Outgoing::Ping => ws::Message::ping(""),
        };
        self.waiting += 1 + message.as_bytes().len();
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
                        let frame = ws::Message::close_with(code.code(), code.reason());
                        // Fails if the transport has: then the next step finds out too.
                        let _failed = self.socket().start_send(frame);
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
                    Some(Ok(message)) if !message.is_close() => {}
                    _ => return Poll::Ready(()),
                },
            }
        }
    }

    fn progress(&self) -> u64 {
        self.progress
    }
}

/// What an error of warp's means. warp does not say; its codec's error does, if it is of the very version that
/// warp uses: where the two part, the tests of every breach fail.
fn failed(error: warp::Error) -> Incoming {
    match error.source().and_then(|source| source.downcast_ref()) {
        Some(Error::Capacity(_)) => Incoming::Violation(CloseCode::MessageTooBig),
        Some(Error::Utf8(_)) => Incoming::Violation(CloseCode::InvalidPayload),
        Some(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => Incoming::End,
        Some(Error::Protocol(_)) => Incoming::Violation(CloseCode::ProtocolError),
        _ => Incoming::Lost(io::Error::other(error)),
    }
}
