use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use chat_core::{CloseCode, Connection, DirectWrite, Incoming, Limits, Outgoing};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::codec::{BINARY, TEXT, decode, header, into_io_error, map_error};
use crate::wire::Wire;

/// Bytes read at once. tungstenite keeps a buffer of this size for each connection.
pub const READ_BUFFER_BYTES: usize = 2 * 1024;

/// Bytes that tungstenite may hold at most: those below the high-water mark, and one event of any size.
pub const WRITE_BUFFER_BYTES: usize = 16 * 1024 * 1024;

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
    stream: WebSocketStream<Wire<S>>,
    /// Bytes that may be read before the next message.
    max_read_bytes: usize,
    /// False for a stream that ends both directions when it is shut down.
    can_half_close: bool,
    reading: Reading,
    closing: Closing,
    direct: Option<Arc<dyn DirectWrite>>,
}

/// The state of the peer's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// Frames may come.
    Open,
    /// The peer has sent a close frame. tungstenite holds the answer.
    CloseReceived,
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
    fn after(incoming: &Incoming) -> Self {
        match incoming {
            Incoming::Close(_) => Self::CloseReceived,
            Incoming::Violation(_) => Self::Violated,
            Incoming::Text(_) | Incoming::Binary(_) | Incoming::Ping | Incoming::Pong => Self::Open,
            _ => Self::Ended,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Returns the server's side of the connection on `stream`. `early` has the bytes that were read together with the
    /// request.
    pub async fn accept(stream: S, early: Bytes, limits: &Limits) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            // The wire buffers. tungstenite's own buffer would keep the size of the largest burst.
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BUFFER_BYTES)
            .max_message_size(Some(limits.wire.max_frame_bytes))
            .max_frame_size(Some(limits.wire.max_frame_bytes));
        let max_read_bytes =
            limits.wire.max_frame_bytes.saturating_mul(MAX_OVERHEAD).saturating_add(DRAIN_BYTES);
        let mut wire = Wire::new(stream, &early);
        wire.allow(max_read_bytes);
        let stream = WebSocketStream::from_raw_socket(wire, Role::Server, Some(config)).await;
        let (reading, closing) = (Reading::Open, Closing::Open);
        Self { stream, max_read_bytes, can_half_close: true, reading, closing, direct: None }
    }

    /// Lets rooms write to the stream's transport without a turn of the session: see [`Connection::direct`].
    #[must_use]
    pub fn with_direct(mut self, writer: Arc<dyn DirectWrite>) -> Self {
        self.direct = Some(writer);
        self
    }

    /// Adapts to a stream that ends both directions when it is shut down. After a violation of the protocol, the bytes
    /// of the peer are then read before the end, not after it.
    #[must_use]
    pub fn without_half_close(mut self) -> Self {
        self.can_half_close = false;
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
        if self.waiting() > HIGH_WATER_BYTES {
            // The pongs of a peer that does not read would use memory without a bound.
            if let Err(error) = ready!(self.poll_flush(cx)) {
                return Poll::Ready(Incoming::Lost(error));
            }
        }
        let max_read_bytes = self.max_read_bytes;
        let message = ready!(self.stream.poll_next_unpin(cx));
        self.wire().allow(max_read_bytes);
        let incoming = decode(message);
        self.reading = Reading::after(&incoming);
        Poll::Ready(incoming)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting() > HIGH_WATER_BYTES { self.poll_flush(cx) } else { Poll::Ready(Ok(())) }
    }

    fn send(&mut self, frame: Outgoing) -> io::Result<()> {
        match frame {
            Outgoing::Text(text) => self.push(TEXT, text),
            Outgoing::Binary(payload) => self.push(BINARY, payload),
            // A peer that closes needs no ping, and tungstenite would refuse it.
            Outgoing::Ping if self.reading == Reading::CloseReceived => {}
            Outgoing::Ping => {
                return self.stream.start_send_unpin(Message::Ping(Bytes::new())).map_err(into_io_error);
            }
            _ => return Err(io::ErrorKind::Unsupported.into()),
        }
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // First tungstenite's own frames, such as pongs, go to the wire. Then the wire is flushed, because tungstenite
        // does not flush it once its side is closed. The answer to the peer's close frame is one of tungstenite's
        // frames, and it must follow the last frames of the session.
        let own = match self.reading {
            Reading::CloseReceived => Ok(()),
            _ => ready!(self.stream.poll_flush_unpin(cx)),
        };
        ready!(Pin::new(self.wire()).poll_flush(cx))?;
        Poll::Ready(own.map_err(into_io_error))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, code: Option<CloseCode>) -> Poll<()> {
        loop {
            match self.closing {
                Closing::Open => {
                    if let Some(code) = code {
                        let frame = CloseFrame { code: code.code().into(), reason: code.reason().into() };
                        // An error of the transport is returned again in the next step.
                        let _failed = self.stream.start_send_unpin(Message::Close(Some(frame)));
                    }
                    self.closing = Closing::Flushing;
                }
                Closing::Flushing => {
                    let flushed = ready!(self.stream.poll_flush_unpin(cx));
                    let gone = matches!(flushed, Err(Error::Io(_)))
                        || ready!(Pin::new(self.wire()).poll_flush(cx)).is_err();
                    self.closing = match (gone, code.is_some() && self.reading == Reading::Open) {
                        (true, _) => return Poll::Ready(()),
                        (false, true) => Closing::AwaitingPeer,
                        (false, false) => self.after_handshake(),
                    };
                }
                Closing::AwaitingPeer => {
                    let max_read_bytes = self.max_read_bytes;
                    self.wire().allow(max_read_bytes);
                    match ready!(self.stream.poll_next_unpin(cx)) {
                        Some(Ok(Message::Close(_))) | None => self.closing = Closing::ShuttingDown,
                        Some(Ok(_)) => {}
                        Some(Err(error)) => {
                            self.reading = Reading::after(&map_error(error));
                            self.closing = self.after_handshake();
                        }
                    }
                }
                Closing::Draining(_) => {
                    ready!(self.poll_drain(cx));
                    if self.can_half_close {
                        return Poll::Ready(());
                    }
                    self.closing = Closing::ShuttingDown;
                }
                Closing::ShuttingDown => {
                    let ended = ready!(Pin::new(self.wire()).poll_shutdown(cx));
                    if ended.is_err() || !self.can_half_close {
                        return Poll::Ready(());
                    }
                    self.closing = Closing::Draining(DRAIN_BYTES);
                }
            }
        }
    }

    fn progress(&self) -> u64 {
        self.stream.get_ref().written()
    }

    fn direct(&self) -> Option<Arc<dyn DirectWrite>> {
        self.direct.clone()
    }

    fn send_rest(&mut self, rest: Bytes) -> io::Result<()> {
        self.wire().push(rest);
        Ok(())
    }
}
