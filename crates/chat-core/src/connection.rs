use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::{CloseCode, ProtocolViolation};

/// One upgraded connection, at the level of WebSocket messages.
///
/// An adapter implements it once for each mechanism. The session polls receiving and sending from one task,
/// in turn: neither may wait for the other, so that a peer that does not read can still be heard.
///
/// # Contract
///
/// - Messages arrive whole, in the order sent; valid messages ahead of a bad one arrive first.
/// - A ping is answered with its own payload by the implementation, in turn with what is being sent, and is
///   reported as [`Incoming::Ping`]. What waits for a peer that does not read stays bounded.
/// - A message over the limit, text that is not UTF-8, or any breach of RFC 6455 is reported as
///   [`Incoming::Violation`], once, without having stored more than the limit.
/// - The peer's close frame is reported as [`Incoming::Close`] and echoed by [`poll_close`](Self::poll_close).
/// - Frames leave in the order of [`send`](Self::send), each unaltered, none before it is flushed or the
///   buffer is full, and a batch leaves with as few writes as its size allows.
/// - Dropping the connection at any moment frees everything it held, the socket included.
pub trait Connection {
    /// What the peer sent next.
    ///
    /// After [`Incoming::Close`], [`Incoming::Violation`], [`Incoming::End`] or [`Incoming::Lost`] it is not
    /// polled again.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Incoming>;

    /// Whether another frame can be taken. Ready while what waits to be written is below the connection's
    /// own bound; otherwise it writes, and is ready once there is room.
    ///
    /// # Errors
    ///
    /// The transport's, after which nothing can be sent.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Takes one frame, without writing it yet. Called only after [`poll_ready`](Self::poll_ready) said yes.
    ///
    /// # Errors
    ///
    /// The transport's, after which nothing can be sent.
    fn send(&mut self, frame: Outgoing) -> io::Result<()>;

    /// Writes everything taken so far, pongs included.
    ///
    /// # Errors
    ///
    /// The transport's, after which nothing can be sent.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Closes: with a close frame of this code or, if the peer closed first or is gone, with `None`, which
    /// echoes the peer's. Then waits for the peer's close frame, ends the stream, and reads on a little, so that
    /// the close frame is not lost to a reset (RFC 6455 section 7.1.1). Ready when that is done or cannot be done;
    /// the caller bounds the time.
    fn poll_close(&mut self, cx: &mut Context<'_>, code: Option<CloseCode>) -> Poll<()>;

    /// A number that grows whenever the peer's side has taken something. The session gives up on a peer for
    /// which something waits and this stands still.
    fn progress(&self) -> u64;
}

/// What came from the peer.
#[derive(Debug)]
pub enum Incoming {
    /// A text message. That it is UTF-8 has been checked.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
    /// A ping, answered already.
    Ping,
    /// A pong, asked for or not.
    Pong,
    /// A close frame, with its code if it had one.
    Close(Option<u16>),
    /// A breach of the WebSocket protocol.
    Violation(ProtocolViolation),
    /// The end of the stream without a close frame. The peer may still be reading.
    End,
    /// The transport failed.
    Lost(io::Error),
}

impl Incoming {
    /// Whether the peer has sent a valid frame, or several that are a message.
    pub(crate) fn is_frame(&self) -> bool {
        !matches!(self, Self::End | Self::Lost(_) | Self::Violation(_))
    }
}

/// What is sent to the peer.
#[derive(Clone, Debug)]
pub enum Outgoing {
    /// A text message; always UTF-8.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
    /// A ping without payload.
    Ping,
}
