use std::io;
use std::mem::{self, MaybeUninit};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use chat_core::{CloseCode, Connection, DirectWrite, Incoming, Limits, Outgoing};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::codec::{BINARY, CLOSE, PING, PONG, TEXT, close_payload, map_error};
use crate::decoder::{Decoder, Received};
use crate::wire::Wire;

/// The read buffer of a framework's tungstenite, which keeps it for each connection.
pub const READ_BUFFER_BYTES: usize = 2 * 1024;

/// Bytes that a framework's tungstenite may hold at most: those below its high-water mark, and one event of any size.
pub const WRITE_BUFFER_BYTES: usize = 16 * 1024 * 1024;

/// Bytes that a [`WebSocket`] reads at once. The buffer is on the stack, so that a connection has none while it waits.
pub const READ_BYTES: usize = 8 * 1024;

/// Bytes that an adapter takes from a [`WebSocket`] at most before its framework has taken them.
pub const CHUNK_BYTES: usize = 16 * 1024;

/// Bytes that wait to be written before no more are taken, pongs included.
const HIGH_WATER_BYTES: usize = 64 * 1024;

/// Bytes on the wire that a message may cost for each byte of its payload. A fragment of one byte costs seven.
const MAX_OVERHEAD: usize = 8;

/// Bytes that are read and discarded after the close, so that the last bytes of the peer do not cause a reset.
const DRAIN_BYTES: usize = 256 * 1024;

/// Bytes that are discarded at once.
const DRAIN_BUFFER_BYTES: usize = 4 * 1024;

/// The server's side of a WebSocket connection (RFC 6455) on a byte stream.
///
/// ```
/// use std::future::poll_fn;
///
/// use bytes::Bytes;
/// use chat_core::{Connection, Incoming, Limits};
/// use chat_websocket::WebSocket;
/// use tokio::io::AsyncWriteExt;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// let (mut client, server) = tokio::io::duplex(64);
/// let mut websocket = WebSocket::accept(server, Bytes::new(), &Limits::default()).await;
/// // A masked text frame of two bytes.
/// client.write_all(b"\x81\x82\0\0\0\0hi").await?;
/// let incoming = poll_fn(|cx| websocket.poll_receive(cx)).await;
/// assert!(matches!(incoming, Incoming::Text(text) if text == "hi"));
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct WebSocket<S> {
    wire: Wire<S>,
    decoder: Decoder,
    /// False for a stream that ends both directions when it is shut down.
    can_half_close: bool,
    /// True until the answer to the request was written.
    has_unsent_answer: bool,
    reading: Reading,
    closing: Closing,
    direct: Option<Arc<dyn DirectWrite>>,
}

/// The state of the peer's side.
#[derive(Debug, PartialEq, Eq)]
enum Reading {
    /// Frames may come.
    Open,
    /// The peer has sent a close frame, which gets an answer with this payload after the last frames of the session.
    CloseReceived(Box<[u8]>),
    /// The peer has violated the protocol. Bytes may come, but no frame is read from them.
    Violated,
    /// The stream has ended or failed.
    Ended,
}

/// The progress of the close.
#[derive(Debug)]
enum Closing {
    Open,
    /// Writes the last frames.
    Flushing,
    /// Awaits the peer's close frame.
    AwaitingPeer,
    /// Ends the stream.
    ShuttingDown,
    /// Discards this many bytes at most.
    Draining(usize),
}

impl Reading {
    fn after(failure: &Incoming) -> Self {
        match failure {
            Incoming::Violation(_) => Self::Violated,
            _ => Self::Ended,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Returns the server's side of the connection on `stream`. `early` has the bytes that were read together with the
    /// request.
    pub async fn accept(stream: S, early: Bytes, limits: &Limits) -> Self {
        let (mut wire, mut decoder) = (Wire::new(stream), Decoder::new(limits.wire.max_frame_bytes));
        wire.allow(max_read_bytes(&decoder).saturating_sub(early.len()));
        // Copied, because even an empty slice would keep the buffer of the request alive.
        decoder.push(&early);
        Self {
            wire,
            decoder,
            can_half_close: true,
            has_unsent_answer: false,
            reading: Reading::Open,
            closing: Closing::Open,
            direct: None,
        }
    }

    /// Lets rooms write to the stream's transport without a turn of the session: see [`Connection::direct`].
    #[must_use]
    pub fn with_direct(mut self, writer: Arc<dyn DirectWrite>) -> Self {
        self.direct = Some(writer);
        self
    }

    /// Sends bytes before the first frame: the end of the answer to the request. They leave together with the first
    /// frames, or before anything is read.
    #[must_use]
    pub fn with_unsent(mut self, answer: Bytes) -> Self {
        self.has_unsent_answer = !answer.is_empty();
        if self.has_unsent_answer {
            self.wire.push(answer);
        }
        self
    }

    /// Adapts to a stream that ends both directions when it is shut down. After a violation of the protocol, the bytes
    /// of the peer are then read before the end, not after it.
    #[must_use]
    pub fn without_half_close(mut self) -> Self {
        self.can_half_close = false;
        self
    }

    /// Reads the next message or control frame. The error has the reason why no further one can be read.
    fn poll_received(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, Incoming>> {
        loop {
            match self.decoder.decode() {
                Ok(Some(received)) => {
                    self.wire.allow(max_read_bytes(&self.decoder));
                    return Poll::Ready(Ok(received));
                }
                Ok(None) => {}
                Err(violation) => return Poll::Ready(Err(Incoming::Violation(violation))),
            }
            let mut space = [MaybeUninit::uninit(); READ_BYTES];
            let mut buf = ReadBuf::uninit(&mut space);
            match ready!(Pin::new(&mut self.wire).poll_read(cx, &mut buf)) {
                Ok(()) => self.decoder.push(buf.filled()),
                Err(error) => return Poll::Ready(Err(map_error(error))),
            }
        }
    }

    /// Returns the step after the closing handshake.
    fn after_handshake(&self) -> Closing {
        if self.can_half_close || self.reading != Reading::Violated {
            Closing::ShuttingDown
        } else {
            Closing::Draining(DRAIN_BYTES)
        }
    }

    /// Reads and discards until the peer has ended its side.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; DRAIN_BUFFER_BYTES];
        while let Closing::Draining(left) = &mut self.closing {
            let left = left.checked_sub(scratch.len());
            let Some(left) = left else { break };
            self.closing = Closing::Draining(left);
            let mut buf = ReadBuf::new(&mut scratch);
            self.wire.allow(usize::MAX);
            let read = ready!(Pin::new(&mut self.wire).poll_read(cx, &mut buf));
            if read.is_err() || buf.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection for WebSocket<S> {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        if self.has_unsent_answer
            && let Poll::Ready(Err(error)) = self.poll_flush(cx)
        {
            return Poll::Ready(Incoming::Lost(error));
        }
        if self.wire.waiting() > HIGH_WATER_BYTES {
            // The pongs of a peer that does not read would use memory without a bound.
            if let Err(error) = ready!(self.poll_flush(cx)) {
                return Poll::Ready(Incoming::Lost(error));
            }
        }
        let received = match ready!(self.poll_received(cx)) {
            Ok(received) => received,
            Err(failure) => {
                self.reading = Reading::after(&failure);
                return Poll::Ready(failure);
            }
        };
        Poll::Ready(match received {
            Received::Text(text) => Incoming::Text(text),
            Received::Binary(payload) => Incoming::Binary(payload),
            Received::Ping(payload) => {
                self.wire.push_frame(PONG, payload);
                Incoming::Ping
            }
            Received::Pong => Incoming::Pong,
            Received::Close(code, answer) => {
                self.reading = Reading::CloseReceived(answer.as_ref().into());
                Incoming::Close(code)
            }
        })
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.wire.waiting() > HIGH_WATER_BYTES { self.poll_flush(cx) } else { Poll::Ready(Ok(())) }
    }

    fn send(&mut self, frame: Outgoing) -> io::Result<()> {
        match frame {
            Outgoing::Text(text) => self.wire.push_frame(TEXT, text),
            Outgoing::Binary(payload) => self.wire.push_frame(BINARY, payload),
            // A peer that closes needs no ping.
            Outgoing::Ping if matches!(self.reading, Reading::CloseReceived(_)) => {}
            Outgoing::Ping => self.wire.push_frame(PING, Bytes::new()),
            _ => return Err(io::ErrorKind::Unsupported.into()),
        }
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.wire.poll_flush(cx))?;
        self.has_unsent_answer = false;
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, code: Option<CloseCode>) -> Poll<()> {
        loop {
            match self.closing {
                Closing::Open => {
                    let payload = match (&mut self.reading, code) {
                        (Reading::CloseReceived(answer), _) => Some(mem::take(answer).into()),
                        (_, Some(code)) => Some(close_payload(code.code(), code.reason())),
                        (_, None) => None,
                    };
                    if let Some(payload) = payload {
                        self.wire.push_frame(CLOSE, payload);
                    }
                    self.closing = Closing::Flushing;
                }
                Closing::Flushing => {
                    let flushed = ready!(self.poll_flush(cx));
                    self.closing = match (flushed, code.is_some() && self.reading == Reading::Open) {
                        (Err(_), _) => return Poll::Ready(()),
                        (Ok(()), true) => {
                            self.wire.allow(max_read_bytes(&self.decoder));
                            Closing::AwaitingPeer
                        }
                        (Ok(()), false) => self.after_handshake(),
                    };
                }
                Closing::AwaitingPeer => match ready!(self.poll_received(cx)) {
                    Ok(Received::Close(..)) => self.closing = Closing::ShuttingDown,
                    Ok(_) => {}
                    Err(failure) => {
                        self.reading = Reading::after(&failure);
                        self.closing = self.after_handshake();
                    }
                },
                Closing::Draining(_) => {
                    ready!(self.poll_drain(cx));
                    if self.can_half_close {
                        return Poll::Ready(());
                    }
                    self.closing = Closing::ShuttingDown;
                }
                Closing::ShuttingDown => {
                    let ended = ready!(self.wire.poll_shutdown(cx));
                    if ended.is_err() || !self.can_half_close {
                        return Poll::Ready(());
                    }
                    self.closing = Closing::Draining(DRAIN_BYTES);
                }
            }
        }
    }

    fn progress(&self) -> u64 {
        self.wire.written()
    }

    fn direct(&self) -> Option<Arc<dyn DirectWrite>> {
        self.direct.clone()
    }

    fn send_rest(&mut self, rest: Bytes) -> io::Result<()> {
        self.wire.push(rest);
        Ok(())
    }
}

/// Returns the bytes that may be read before the next message.
fn max_read_bytes(decoder: &Decoder) -> usize {
    decoder.max().saturating_mul(MAX_OVERHEAD).saturating_add(DRAIN_BYTES)
}
