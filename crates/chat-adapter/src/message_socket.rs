use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use chat_core::{CloseCode, Connection, Incoming, Limits, Outgoing, UpgradeTicket};
use futures_util::{Sink, Stream};
use tokio::sync::oneshot;

/// The translation between the messages of a framework's WebSocket and those of the chat.
pub trait MessageCodec {
    /// A message of the framework.
    type Message;
    /// An error of the framework.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Returns the bytes of a message's payload.
    fn size(message: &Self::Message) -> usize;

    /// Returns a message of the peer as the chat sees it.
    fn decode(message: Self::Message) -> Incoming;

    /// Returns the cause of an error as the chat sees it.
    fn map_error(error: Self::Error) -> Incoming;

    /// Returns a text message.
    ///
    /// # Errors
    ///
    /// An error if the framework does not accept the bytes as UTF-8.
    fn text(text: Bytes) -> io::Result<Self::Message>;

    /// Returns a binary message.
    fn binary(payload: Bytes) -> Self::Message;

    /// Returns a ping without payload.
    fn ping() -> Self::Message;

    /// Returns a close frame.
    fn close(code: CloseCode) -> Self::Message;
}

/// The connection on a framework's WebSocket that shows messages, but not the bytes under them.
#[derive(Debug)]
pub struct MessageSocket<S, C> {
    socket: S,
    max_unflushed: usize,
    /// Bytes given to the framework since the last complete flush. Each frame counts as one more.
    unflushed: usize,
    /// The number of complete flushes.
    flushes: u64,
    /// The peer has violated the protocol, and the framework reads no more.
    read_closed: bool,
    closing: Closing,
    codec: PhantomData<fn() -> C>,
}

/// The progress of the closing handshake.
#[derive(Debug)]
enum Closing {
    Open,
    Flushing,
    Awaiting,
}

impl<S, C> MessageSocket<S, C>
where
    C: MessageCodec + 'static,
    S: Stream<Item = Result<C::Message, C::Error>> + Sink<C::Message, Error = C::Error> + Unpin,
{
    /// Returns a connection on the framework's WebSocket. The framework is given
    /// [`WireLimits::max_batch_bytes`](chat_core::WireLimits::max_batch_bytes) and one event at most before it has
    /// written them.
    pub fn new(socket: S, limits: &Limits) -> Self {
        Self {
            socket,
            max_unflushed: limits.wire.max_batch_bytes,
            unflushed: 0,
            flushes: 0,
            read_closed: false,
            closing: Closing::Open,
            codec: PhantomData,
        }
    }

    /// Spawns a task that runs the session on the socket that the returned sender is given. If nothing waits for the
    /// socket any more, the sender fails, and dropping the socket closes it.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start(ticket: UpgradeTicket) -> oneshot::Sender<S>
    where
        S: Send + 'static,
    {
        let (sender, socket) = oneshot::channel();
        let limits = Arc::clone(ticket.limits());
        tokio::spawn(ticket.start(async move { socket.await.map(|socket| Self::new(socket, &limits)) }));
        sender
    }

    fn socket(&mut self) -> Pin<&mut S> {
        Pin::new(&mut self.socket)
    }

    fn start_send(&mut self, message: C::Message) -> io::Result<()> {
        self.unflushed += 1 + C::size(&message);
        self.socket().start_send(message).map_err(io::Error::other)
    }
}

impl<S, C> Connection for MessageSocket<S, C>
where
    C: MessageCodec + 'static,
    S: Stream<Item = Result<C::Message, C::Error>> + Sink<C::Message, Error = C::Error> + Unpin,
{
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        if self.unflushed > self.max_unflushed {
            // The pongs of a peer that does not read would use memory without a bound.
            if let Err(error) = ready!(self.poll_flush(cx)) {
                return Poll::Ready(Incoming::Lost(error));
            }
        }
        let incoming = match ready!(self.socket().poll_next(cx)) {
            Some(Ok(message)) => {
                let size = C::size(&message);
                let incoming = C::decode(message);
                self.unflushed += if matches!(incoming, Incoming::Ping) { 1 + size } else { 0 };
                incoming
            }
            Some(Err(error)) => C::map_error(error),
            None => Incoming::End,
        };
        self.read_closed = matches!(incoming, Incoming::Violation(_));
        Poll::Ready(incoming)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unflushed > self.max_unflushed {
            self.poll_flush(cx)
        } else {
            self.socket().poll_ready(cx).map_err(io::Error::other)
        }
    }

    fn send(&mut self, frame: Outgoing) -> io::Result<()> {
        let message = match frame {
            Outgoing::Text(text) => C::text(text)?,
            Outgoing::Binary(payload) => C::binary(payload),
            Outgoing::Ping => C::ping(),
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        self.start_send(message)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.socket().poll_flush(cx)).map_err(io::Error::other)?;
        self.unflushed = 0;
        self.flushes += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, code: Option<CloseCode>) -> Poll<()> {
        loop {
            match self.closing {
                Closing::Open => {
                    if let Some(code) = code {
                        // An error of the transport is returned again in the next step.
                        let _failed = self.start_send(C::close(code));
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
                // A socket that is dropped with unread bytes in it is reset, which may discard the close frame before
                // the peer reads it. So the peer gets the caller's time.
                Closing::Awaiting if self.read_closed => return Poll::Pending,
                Closing::Awaiting => {
                    match ready!(self.socket().poll_next(cx)).map(|next| next.map(C::decode)) {
                        Some(Ok(Incoming::Close(_)) | Err(_)) | None => return Poll::Ready(()),
                        Some(Ok(_)) => {}
                    }
                }
            }
        }
    }

    fn progress(&self) -> u64 {
        self.flushes
    }
}
