use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use chat_core::{CloseCode, Connection, Incoming, Limits, Outgoing, ProtocolViolation};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::wire::{Endless, Wire};

/// Bytes read at once; tungstenite keeps as many for each connection, and clears them before each read.
pub const READ_BUFFER: usize = 2 * 1024;

/// Bytes that wait to be written before no more are taken, pongs included.
const HIGH_WATER: usize = 64 * 1024;

/// What tungstenite may hold at the most: what may wait, and one event of any size on top.
pub const WRITE_BUFFER: usize = 16 * 1024 * 1024;

/// Bytes on the wire that a message may cost for each of its own: a fragment of one byte costs seven.
const COST: usize = 8;

/// Bytes read and thrown away after the close, so that the peer's last ones do not cause a reset.
const DRAIN: usize = 256 * 1024;

/// The first byte of a text message in one frame.
const TEXT: u8 = 0x81;

/// The first byte of a binary message in one frame.
const BINARY: u8 = 0x82;

/// Bytes that an adapter takes from a [`WebSocket`] at the most before its framework has taken them.
pub const CHUNK: usize = 16 * 1024;

/// A server's side of a WebSocket connection (RFC 6455) on a byte stream.
#[derive(Debug)]
pub struct WebSocket<S> {
    stream: WebSocketStream<Wire<S>>,
    allowance: usize,
    closing: Closing,
    /// Whether the peer's frames can still be read.
    readable: bool,
    /// Whether the peer may still be sending although its frames cannot be read.
    violated: bool,
    /// Whether the peer has closed, and the echo is yet to come.
    echoes: bool,
    half_closes: bool,
}

/// How far the closing handshake is.
#[derive(Debug)]
enum Closing {
    Open,
    Flushing,
    Awaiting,
    Ending,
    Draining(usize),
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Speaks on `stream` as the server. `early` is what was read from it together with the request.
    pub async fn accept(stream: S, early: Bytes, limits: &Limits) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            // The wire buffers: tungstenite's own buffer would keep the size of the largest burst.
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(limits.wire.max_frame_bytes))
            .max_frame_size(Some(limits.wire.max_frame_bytes));
        let allowance = limits.wire.max_frame_bytes.saturating_mul(COST).saturating_add(DRAIN);
        let mut wire = Wire::new(stream, &early);
        wire.allow(allowance);
        let stream = WebSocketStream::from_raw_socket(wire, Role::Server, Some(config)).await;
        Self {
            stream,
            allowance,
            closing: Closing::Open,
            readable: true,
            violated: false,
            echoes: false,
            half_closes: true,
        }
    }

    /// For a stream that ends both ways when it is shut down: what a peer sends that does not take part in
    /// the closing handshake is read before that, not after it.
    #[must_use]
    pub fn without_half_close(mut self) -> Self {
        self.half_closes = false;
        self
    }

    fn wire(&mut self) -> &mut Wire<S> {
        self.stream.get_mut()
    }

    fn waiting(&self) -> usize {
        self.stream.get_ref().waiting()
    }

    /// Sends a whole message past tungstenite, which would copy it for each recipient.
    fn push(&mut self, first: u8, payload: Bytes) {
        let wire = self.wire();
        wire.push(header(first, payload.len()));
        wire.push(payload);
    }

    /// What follows the closing handshake.
    fn ending(&self) -> Closing {
        if self.half_closes || !self.violated { Closing::Ending } else { Closing::Draining(DRAIN) }
    }

    /// Reads and throws away until the peer has ended its side.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; 4 * 1024];
        while let Closing::Draining(left) = &mut self.closing {
            let left = left.checked_sub(scratch.len());
            let Some(left) = left else { break };
            self.closing = Closing::Draining(left);
            let mut buf = ReadBuf::new(&mut scratch);
            self.wire().allow(usize::MAX);
            let read = ready!(Pin::new(self.wire()).poll_read(cx, &mut buf));
            if read.is_err() || buf.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection for WebSocket<S> {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        if self.waiting() > HIGH_WATER {
            // The pongs that this peer does not read would pile up.
            if let Err(error) = ready!(self.poll_flush(cx)) {
                return Poll::Ready(Incoming::Lost(error));
            }
        }
        let allowance = self.allowance;
        let message = ready!(self.stream.poll_next_unpin(cx));
        self.wire().allow(allowance);
        let incoming = received(message);
        self.readable =
            matches!(incoming, Incoming::Text(_) | Incoming::Binary(_) | Incoming::Ping | Incoming::Pong);
        self.violated = matches!(incoming, Incoming::Violation(_));
        self.echoes = matches!(incoming, Incoming::Close(_));
        Poll::Ready(incoming)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting() > HIGH_WATER { self.poll_flush(cx) } else { Poll::Ready(Ok(())) }
    }

    fn send(&mut self, frame: Outgoing) -> io::Result<()> {
        match frame {
            Outgoing::Text(text) => self.push(TEXT, text),
            Outgoing::Binary(payload) => self.push(BINARY, payload),
            // A ping asks whether the peer is there, and it has just said goodbye. tungstenite would refuse it.
            Outgoing::Ping if self.echoes => {}
            Outgoing::Ping => {
                return self.stream.start_send_unpin(Message::Ping(Bytes::new())).map_err(transport);
            }
        }
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // First tungstenite's own frames, pongs and the like, go to the wire; then the wire is flushed, which
        // tungstenite leaves out once its side is closed.
        // The echo of the peer's close frame is one of them: it waits for what the session still has to say.
        let own = if self.echoes { Ok(()) } else { ready!(self.stream.poll_flush_unpin(cx)) };
        ready!(Pin::new(self.wire()).poll_flush(cx))?;
        Poll::Ready(own.map_err(transport))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, code: Option<CloseCode>) -> Poll<()> {
        loop {
            match self.closing {
                Closing::Open => {
                    if let Some(code) = code {
                        let frame = CloseFrame { code: code.code().into(), reason: code.reason().into() };
                        // Fails if the transport has: then the next step finds out too.
                        let _failed = self.stream.start_send_unpin(Message::Close(Some(frame)));
                    }
                    self.closing = Closing::Flushing;
                }
                Closing::Flushing => {
                    let flushed = ready!(self.stream.poll_flush_unpin(cx));
                    let gone = matches!(flushed, Err(Error::Io(_)))
                        || ready!(Pin::new(self.wire()).poll_flush(cx)).is_err();
                    self.closing = match (gone, code.is_some() && self.readable) {
                        (true, _) => return Poll::Ready(()),
                        (false, true) => Closing::Awaiting,
                        (false, false) => self.ending(),
                    };
                }
                Closing::Awaiting => {
                    let allowance = self.allowance;
                    self.wire().allow(allowance);
                    match ready!(self.stream.poll_next_unpin(cx)) {
                        Some(Ok(Message::Close(_))) | None => self.closing = Closing::Ending,
                        Some(Ok(_)) => {}
                        Some(Err(error)) => {
                            self.violated = matches!(failed(error), Incoming::Violation(_));
                            self.closing = self.ending();
                        }
                    }
                }
                Closing::Draining(_) => {
                    ready!(self.poll_drain(cx));
                    if self.half_closes {
                        return Poll::Ready(());
                    }
                    self.closing = Closing::Ending;
                }
                Closing::Ending => {
                    let ended = ready!(Pin::new(self.wire()).poll_shutdown(cx));
                    if ended.is_err() || !self.half_closes {
                        return Poll::Ready(());
                    }
                    self.closing = Closing::Draining(DRAIN);
                }
            }
        }
    }

    fn progress(&self) -> u64 {
        self.stream.get_ref().written()
    }
}

/// The header of a whole message from a server (RFC 6455 section 5.2).
fn header(first: u8, length: usize) -> Bytes {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..126), _) => Bytes::copy_from_slice(&[first, length]),
        (_, Ok(length)) => {
            let [a, b] = length.to_be_bytes();
            Bytes::copy_from_slice(&[first, 126, a, b])
        }
        _ => [&[first, 127][..], &(length as u64).to_be_bytes()].concat().into(),
    }
}

fn received(message: Option<Result<Message, Error>>) -> Incoming {
    match message {
        Some(Ok(Message::Text(text))) => Incoming::Text(text.into()),
        Some(Ok(Message::Binary(payload))) => Incoming::Binary(payload),
        // tungstenite reads none; it is for writing them.
        Some(Ok(Message::Frame(frame))) => Incoming::Binary(frame.into_payload()),
        Some(Ok(Message::Ping(_))) => Incoming::Ping,
        Some(Ok(Message::Pong(_))) => Incoming::Pong,
        Some(Ok(Message::Close(frame))) => Incoming::Close(frame.map(|frame| frame.code.into())),
        Some(Err(error)) => failed(error),
        None => Incoming::End,
    }
}

fn failed(error: Error) -> Incoming {
    match error {
        Error::Capacity(_) => Incoming::Violation(ProtocolViolation::TooBig),
        Error::Utf8(_) => Incoming::Violation(ProtocolViolation::Utf8),
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Incoming::End,
        Error::Protocol(_) => Incoming::Violation(ProtocolViolation::Protocol),
        Error::Io(error) if matches!(error.get_ref(), Some(inner) if inner.is::<Endless>()) => {
            Incoming::Violation(ProtocolViolation::TooBig)
        }
        Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => Incoming::End,
        error => Incoming::Lost(transport(error)),
    }
}

fn transport(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        error => io::Error::other(error),
    }
}
