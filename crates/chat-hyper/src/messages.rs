use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use chat_core::{CloseCode, Connection, Incoming, Limits, Outgoing};
use futures_util::{Sink, Stream};

/// How a framework calls the messages of its WebSocket, which is a stream and a sink of them.
pub trait Dialect {
    /// A message.
    type Message;
    /// What can go wrong.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The bytes that a message takes, about.
    fn size(message: &Self::Message) -> usize;

    /// What a message says.
    fn read(message: Self::Message) -> Incoming;

    /// What an error says.
    fn failed(error: Self::Error) -> Incoming;

    /// A text message.
    ///
    /// # Errors
    ///
    /// If the framework does not take it for UTF-8.
    fn text(text: Bytes) -> io::Result<Self::Message>;

    /// A binary message.
    fn binary(payload: Bytes) -> Self::Message;

    /// A ping without payload.
    fn ping() -> Self::Message;

    /// A close frame.
    fn close(code: CloseCode) -> Self::Message;
}

/// The connection of a framework that shows messages, and not the bytes under them.
#[derive(Debug)]
pub struct Messages<S, D> {
    socket: S,
    max_waiting: usize,
    /// Bytes given to the framework since everything was written, a frame's header counted as one.
    waiting: usize,
    /// How often everything was written.
    progress: u64,
    /// Whether the peer has broken the protocol: then the framework reads no more.
    deaf: bool,
    closing: Closing,
    dialect: PhantomData<fn() -> D>,
}

/// How far the closing handshake is.
#[derive(Debug)]
enum Closing {
    Open,
    Flushing,
    Awaiting,
}

impl<S, D> Messages<S, D>
where
    D: Dialect,
    S: Stream<Item = Result<D::Message, D::Error>> + Sink<D::Message, Error = D::Error> + Unpin,
{
    /// A connection on the framework's WebSocket, to which [`WireLimits::max_batch_bytes`] and one event are given at the
    /// most before it has written them.
    pub fn new(socket: S, limits: &Limits) -> Self {
        Self {
            socket,
            max_waiting: limits.wire.max_batch_bytes,
            waiting: 0,
            progress: 0,
            deaf: false,
            closing: Closing::Open,
            dialect: PhantomData,
        }
    }

    fn socket(&mut self) -> Pin<&mut S> {
        Pin::new(&mut self.socket)
    }

    fn give(&mut self, message: D::Message) -> io::Result<()> {
        self.waiting += 1 + D::size(&message);
        self.socket().start_send(message).map_err(io::Error::other)
    }
}

impl<S, D> Connection for Messages<S, D>
where
    D: Dialect,
    S: Stream<Item = Result<D::Message, D::Error>> + Sink<D::Message, Error = D::Error> + Unpin,
{
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        if self.waiting > self.max_waiting {
            // The pongs that this peer does not read would pile up.
            if let Err(error) = ready!(self.poll_flush(cx)) {
                return Poll::Ready(Incoming::Lost(error));
            }
        }
        let incoming = match ready!(self.socket().poll_next(cx)) {
            Some(Ok(message)) => {
                let size = D::size(&message);
                let incoming = D::read(message);
                self.waiting += if matches!(incoming, Incoming::Ping) { 1 + size } else { 0 };
                incoming
            }
            Some(Err(error)) => D::failed(error),
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
            Outgoing::Text(text) => D::text(text)?,
            Outgoing::Binary(payload) => D::binary(payload),
            Outgoing::Ping => D::ping(),
        };
        self.give(message)
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
                        // Fails if the transport has: then the next step finds out too.
                        let _failed = self.give(D::close(code));
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
                Closing::Awaiting => {
                    match ready!(self.socket().poll_next(cx)).map(|next| next.map(D::read)) {
                        Some(Ok(Incoming::Close(_)) | Err(_)) | None => return Poll::Ready(()),
                        Some(Ok(_)) => {}
                    }
                }
            }
        }
    }

    fn progress(&self) -> u64 {
        self.progress
    }
}
