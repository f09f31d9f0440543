use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::{CloseCode, ProtocolViolation};

/// A connection that carries frames in both directions, such as a WebSocket.
///
/// An adapter implements it once for each kind of connection. The session polls receiving and sending in turn, from
/// one task. Neither may wait for the other, so that the commands of a peer that does not read are still received.
///
/// # Contract
///
/// - Messages arrive whole, in the order sent; valid messages ahead of a bad one arrive first.
/// - The implementation answers a ping with the ping's payload, in order with the other frames, and reports it as
///   [`Incoming::Ping`]. The number of waiting pongs is bounded, also if the peer does not read.
/// - A message over the limit, text that is not UTF-8, or another violation of RFC 6455 is reported once, as
///   [`Incoming::Violation`]. No more than the limit is buffered.
/// - The peer's close frame is reported as [`Incoming::Close`] and echoed by [`poll_close`](Self::poll_close).
/// - Frames leave unaltered, in the order of [`send`](Self::send). They are written when they are flushed or when the
///   buffer is full, so that a batch needs few writes.
/// - Dropping the connection closes the socket and frees everything else.
///
/// # Examples
///
/// A connection over two channels in memory. `tests/duplex.rs` has one over any byte stream.
///
/// ```
/// use std::io;
/// use std::task::{Context, Poll, ready};
///
/// use chat_core::{Chat, CloseCode, Connection, Incoming, Outgoing};
/// use tokio::sync::mpsc;
///
/// struct Channels {
///     from_peer: mpsc::UnboundedReceiver<String>,
///     to_peer: mpsc::UnboundedSender<Outgoing>,
///     sent: u64,
/// }
///
/// impl Connection for Channels {
///     fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
///         let text = ready!(self.from_peer.poll_recv(cx));
///         Poll::Ready(text.map_or(Incoming::End, |text| Incoming::Text(text.into())))
///     }
///
///     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
///         Poll::Ready(Ok(()))
///     }
///
///     fn send(&mut self, frame: Outgoing) -> io::Result<()> {
///         self.sent += 1;
///         self.to_peer.send(frame).map_err(|_| io::ErrorKind::BrokenPipe.into())
///     }
///
///     fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
///         Poll::Ready(Ok(()))
///     }
///
///     fn poll_close(&mut self, _: &mut Context<'_>, _: Option<CloseCode>) -> Poll<()> {
///         Poll::Ready(())
///     }
///
///     fn progress(&self) -> u64 {
///         self.sent
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let chat = Chat::default();
/// let ((commands, from_peer), (to_peer, mut events)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
/// let ticket = chat.admit(chat.next_guest())?;
/// let session = ticket.serve(Channels { from_peer, to_peer, sent: 0 });
/// commands.send(r#"{"type":"ping"}"#.to_owned())?;
/// drop(commands);
/// session.await;
/// let Some(Outgoing::Text(welcome)) = events.recv().await else { panic!() };
/// assert!(welcome.starts_with(br#"{"type":"welcome""#));
/// let Some(Outgoing::Text(pong)) = events.recv().await else { panic!() };
/// assert_eq!(&pong[..], br#"{"type":"pong"}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Connection {
    /// Receives the next input from the peer.
    ///
    /// It is not polled again after [`Incoming::Close`], [`Incoming::Violation`], [`Incoming::End`] or
    /// [`Incoming::Lost`].
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Incoming>;

    /// Waits until another frame can be taken. It is ready while fewer frames wait than the connection's own bound.
    /// Otherwise it writes, and is ready once there is space.
    ///
    /// # Errors
    ///
    /// An error of the transport, after which nothing can be sent.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Takes one frame, without writing it yet. It is called only after [`poll_ready`](Self::poll_ready) was ready.
    ///
    /// # Errors
    ///
    /// An error of the transport, after which nothing can be sent.
    fn send(&mut self, frame: Outgoing) -> io::Result<()>;

    /// Writes all frames taken so far, including pongs.
    ///
    /// # Errors
    ///
    /// An error of the transport, after which nothing can be sent.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Closes the connection, with a close frame of this code. `None` means that the peer has closed first, and gets
    /// its own code back, or that the peer is gone.
    ///
    /// It then waits for the peer's close frame, ends the stream, and reads a little longer, so that a reset does not
    /// destroy the close frame on its way (RFC 6455 section 7.1.1). It is ready when that is done or impossible. The
    /// caller limits the time.
    fn poll_close(&mut self, cx: &mut Context<'_>, code: Option<CloseCode>) -> Poll<()>;

    /// Returns a number that grows with each byte or frame that the peer has accepted. The session closes the
    /// connection if frames wait for the peer and this number stays the same.
    fn progress(&self) -> u64;

    /// Returns the direct writer of a connection that other tasks can write to.
    ///
    /// A room then writes its events to the connection without its task, while no frame waits there. The session drops
    /// the writer before it closes the connection. By default there is no direct writer, and the session sends
    /// everything.
    fn direct(&self) -> Option<Arc<dyn DirectWrite>> {
        None
    }

    /// Takes the end of frames of which a [direct writer](Self::direct) has written the beginning. It is called before
    /// any other frame is sent, and followed by a flush.
    ///
    /// # Errors
    ///
    /// An error of the transport. By default [`io::ErrorKind::Unsupported`], for connections without a direct writer.
    fn send_rest(&mut self, rest: Bytes) -> io::Result<()> {
        let _unsent = rest;
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// The writing end of a connection, for any task.
pub trait DirectWrite: std::fmt::Debug + Send + Sync {
    /// Writes as many of these bytes as the transport takes now. They are whole, unmasked text messages of a WebSocket
    /// (RFC 6455 section 5.2). [`frames::take_payload`](crate::frames::take_payload) returns their texts. It does not
    /// wait and calls no method of the chat, because locks are held.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if the connection takes nothing now. Any error means that nothing was taken.
    ///
    /// # Panics
    ///
    /// After a panic it is not known what was taken, so the session ends as after an error of the transport.
    fn try_write(&self, frames: &Bytes) -> io::Result<DirectlyWritten>;
}

/// The result of a [direct write](DirectWrite::try_write).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectlyWritten {
    /// The transport has this number of bytes. The session sends the rest.
    Bytes(usize),
    /// The connection has all frames, and the transport does not have all of them. The session flushes them.
    Buffered,
}

/// An input from the peer.
#[derive(Debug)]
#[non_exhaustive]
pub enum Incoming {
    /// A text message, which is valid UTF-8.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
    /// A ping, which the connection has answered.
    Ping,
    /// A pong, solicited or not.
    Pong,
    /// A close frame, with its code if it had one.
    Close(Option<u16>),
    /// A violation of the WebSocket protocol.
    Violation(ProtocolViolation),
    /// The end of the stream without a close frame. The peer may still be reading.
    End,
    /// The transport failed.
    Lost(io::Error),
}

impl Incoming {
    /// Returns true for a valid frame or message.
    pub(crate) fn is_frame(&self) -> bool {
        !matches!(self, Self::End | Self::Lost(_) | Self::Violation(_))
    }
}

/// A frame for the peer.
///
/// A connection that cannot carry a kind of frame answers [`Connection::send`] with
/// [`io::ErrorKind::Unsupported`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outgoing {
    /// A text message, which is valid UTF-8.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
    /// A ping without payload.
    Ping,
}

impl Outgoing {
    /// Returns the length of the payload.
    pub(crate) fn payload_bytes(&self) -> usize {
        match self {
            Self::Text(payload) | Self::Binary(payload) => payload.len(),
            Self::Ping => 0,
        }
    }
}
