use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use chat_core::{
    CloseCode, Connection, DirectWrite, DirectlyWritten, Incoming, Limits, Outgoing, UpgradeTicket, frames,
};
use chat_websocket::poll_now;
use futures_util::{Sink, Stream};
use parking_lot::Mutex;
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
    output: Arc<SharedOutput<S, C>>,
    max_unflushed: usize,
    /// The peer has violated the protocol, and the framework reads no more.
    read_closed: bool,
    closing: Closing,
}

/// The framework's WebSocket, which its session and its rooms share. They never use it at the same time.
struct SharedOutput<S, C>(Mutex<Output<S, C>>);

struct Output<S, C> {
    socket: S,
    /// Frames of rooms for which the framework has no space yet.
    held: Bytes,
    /// Bytes given to the framework since the last complete flush. Each frame counts as one more.
    unflushed: usize,
    /// The number of complete flushes.
    flushes: u64,
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
        let output = Output { socket, held: Bytes::new(), unflushed: 0, flushes: 0, codec: PhantomData };
        Self {
            output: Arc::new(SharedOutput(Mutex::new(output))),
            max_unflushed: limits.wire.max_batch_bytes,
            read_closed: false,
            closing: Closing::Open,
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
}

impl<S, C> Output<S, C>
where
    C: MessageCodec,
    S: Stream<Item = Result<C::Message, C::Error>> + Sink<C::Message, Error = C::Error> + Unpin,
{
    fn socket(&mut self) -> Pin<&mut S> {
        Pin::new(&mut self.socket)
    }

    fn start_send(&mut self, message: C::Message) -> io::Result<()> {
        self.unflushed += 1 + C::size(&message);
        self.socket().start_send(message).map_err(io::Error::other)
    }

    /// Waits until the framework has the messages that are held, and space for another one.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.socket().poll_ready(cx)).map_err(io::Error::other)?;
            let Some(text) = frames::take_payload(&mut self.held) else { return Poll::Ready(Ok(())) };
            self.start_send(C::text(text)?)?;
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.held.is_empty() {
            ready!(self.poll_ready(cx))?;
        }
        ready!(self.socket().poll_flush(cx)).map_err(io::Error::other)?;
        self.unflushed = 0;
        self.flushes += 1;
        Poll::Ready(Ok(()))
    }
}

impl<S, C> Connection for MessageSocket<S, C>
where
    C: MessageCodec + 'static,
    S: Stream<Item = Result<C::Message, C::Error>>
        + Sink<C::Message, Error = C::Error>
        + Send
        + Unpin
        + 'static,
{
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        let mut output = self.output.0.lock();
        if output.unflushed > self.max_unflushed {
            // The pongs of a peer that does not read would use memory without a bound.
            if let Err(error) = ready!(output.poll_flush(cx)) {
                return Poll::Ready(Incoming::Lost(error));
            }
        }
        let incoming = match ready!(output.socket().poll_next(cx)) {
            Some(Ok(message)) => {
                let size = C::size(&message);
                let incoming = C::decode(message);
                output.unflushed += if matches!(incoming, Incoming::Ping) { 1 + size } else { 0 };
                incoming
            }
            Some(Err(error)) => C::map_error(error),
            None => Incoming::End,
        };
        self.read_closed = matches!(incoming, Incoming::Violation(_));
        Poll::Ready(incoming)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut output = self.output.0.lock();
        if output.unflushed > self.max_unflushed { output.poll_flush(cx) } else { output.poll_ready(cx) }
    }

    fn send(&mut self, frame: Outgoing) -> io::Result<()> {
        let message = match frame {
            Outgoing::Text(text) => C::text(text)?,
            Outgoing::Binary(payload) => C::binary(payload),
            Outgoing::Ping => C::ping(),
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        self.output.0.lock().start_send(message)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output.0.lock().poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, code: Option<CloseCode>) -> Poll<()> {
        let mut output = self.output.0.lock();
        loop {
            match self.closing {
                Closing::Open => {
                    // What rooms have sent comes before the close frame.
                    if let Some(code) = code
                        && ready!(output.poll_ready(cx)).is_ok()
                    {
                        // An error of the transport is returned again in the next step.
                        let _failed = output.start_send(C::close(code));
                    }
                    self.closing = Closing::Flushing;
                }
                Closing::Flushing => {
                    let flushed = ready!(output.poll_flush(cx));
                    if flushed.is_err() || code.is_none() {
                        return Poll::Ready(());
                    }
                    self.closing = Closing::Awaiting;
                }
                // A socket that is dropped with unread bytes in it is reset, which may discard the close frame before
                // the peer reads it. So the peer gets the caller's time.
                Closing::Awaiting if self.read_closed => return Poll::Pending,
                Closing::Awaiting => {
                    match ready!(output.socket().poll_next(cx)).map(|next| next.map(C::decode)) {
                        Some(Ok(Incoming::Close(_)) | Err(_)) | None => return Poll::Ready(()),
                        Some(Ok(_)) => {}
                    }
                }
            }
        }
    }

    fn progress(&self) -> u64 {
        self.output.0.lock().flushes
    }

    fn direct(&self) -> Option<Arc<dyn DirectWrite>> {
        Some(Arc::<SharedOutput<S, C>>::clone(&self.output))
    }
}

impl<S, C> DirectWrite for SharedOutput<S, C>
where
    C: MessageCodec,
    S: Stream<Item = Result<C::Message, C::Error>> + Sink<C::Message, Error = C::Error> + Send + Unpin,
{
    fn try_write(&self, frames: &Bytes) -> io::Result<DirectlyWritten> {
        let busy = io::ErrorKind::WouldBlock;
        let mut output = self.0.try_lock().ok_or(busy)?;
        if poll_now(|cx| output.poll_ready(cx))?.is_none() {
            return Err(busy.into());
        }
        output.held = frames.clone();
        // The session sees an error when it flushes.
        let is_flushed = poll_now(|cx| output.poll_flush(cx)).is_ok_and(|flushed| flushed.is_some());
        Ok(if is_flushed { DirectlyWritten::Bytes(frames.len()) } else { DirectlyWritten::Buffered })
    }
}

impl<S, C> fmt::Debug for SharedOutput<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedOutput").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// A framework's WebSocket whose messages are texts. It holds one message that is not written.
    #[derive(Default)]
    struct Texts {
        held: Option<String>,
        written: Vec<String>,
        /// The number of messages that the transport takes.
        space: usize,
    }

    impl Texts {
        fn write(&mut self) -> Poll<Result<(), Infallible>> {
            if self.held.is_some() && self.space > 0 {
                self.space -= 1;
                self.written.extend(self.held.take());
            }
            if self.held.is_none() { Poll::Ready(Ok(())) } else { Poll::Pending }
        }
    }

    impl Stream for Texts {
        type Item = Result<String, Infallible>;

        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Pending
        }
    }

    impl Sink<String> for Texts {
        type Error = Infallible;

        fn poll_ready(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            self.write()
        }

        fn start_send(mut self: Pin<&mut Self>, text: String) -> Result<(), Infallible> {
            assert!(self.held.is_none(), "not ready");
            self.held = Some(text);
            Ok(())
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            self.write()
        }

        fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            self.write()
        }
    }

    struct TextCodec;

    impl MessageCodec for TextCodec {
        type Message = String;
        type Error = Infallible;

        fn size(text: &String) -> usize {
            text.len()
        }

        fn decode(text: String) -> Incoming {
            Incoming::Text(text.into())
        }

        fn map_error(error: Infallible) -> Incoming {
            match error {}
        }

        fn text(text: Bytes) -> io::Result<String> {
            String::from_utf8(text.to_vec()).map_err(io::Error::other)
        }

        fn binary(_: Bytes) -> String {
            "binary".to_owned()
        }

        fn ping() -> String {
            "ping".to_owned()
        }

        fn close(code: CloseCode) -> String {
            code.code().to_string()
        }
    }

    fn socket(space: usize) -> MessageSocket<Texts, TextCodec> {
        MessageSocket::new(Texts { space, ..Texts::default() }, &Limits::default())
    }

    impl MessageSocket<Texts, TextCodec> {
        fn try_write(&self, texts: &[&str]) -> io::Result<DirectlyWritten> {
            self.output.try_write(&frames::texts(texts.iter().map(|text| text.as_bytes())))
        }

        fn grant(&self, space: usize) {
            self.output.0.lock().socket.space += space;
        }

        fn written(&self) -> Vec<String> {
            self.output.0.lock().socket.written.clone()
        }
    }

    #[test]
    fn a_room_writes_whole_messages_to_a_socket_that_has_space() -> io::Result<()> {
        let socket = socket(3);
        let frames = frames::texts([&b"a"[..], b"b"]);
        assert_eq!(socket.output.try_write(&frames)?, DirectlyWritten::Bytes(frames.len()));
        assert_eq!((socket.written(), socket.progress()), (vec!["a".to_owned(), "b".to_owned()], 1));
        Ok(())
    }

    #[test]
    fn messages_of_a_room_that_find_no_space_are_held_and_leave_before_later_ones() -> io::Result<()> {
        let (mut socket, mut cx) = (socket(1), Context::from_waker(std::task::Waker::noop()));
        assert_eq!(socket.try_write(&["a", "b", "c"])?, DirectlyWritten::Buffered);
        assert_eq!((socket.written(), socket.progress()), (vec!["a".to_owned()], 0));
        // A room does not write while some are held.
        let refused = socket.try_write(&["d"]).map_err(|error| error.kind());
        assert_eq!(refused, Err(io::ErrorKind::WouldBlock));
        assert!(socket.poll_flush(&mut cx).is_pending() && socket.poll_ready(&mut cx).is_pending());
        socket.grant(2);
        assert!(matches!(socket.poll_ready(&mut cx), Poll::Ready(Ok(()))));
        socket.send(Outgoing::Ping)?;
        assert!(socket.poll_flush(&mut cx).is_pending());
        socket.grant(1);
        assert!(matches!(socket.poll_flush(&mut cx), Poll::Ready(Ok(()))));
        assert_eq!((socket.written().join(" "), socket.progress()), ("a b c ping".to_owned(), 1));
        Ok(())
    }

    #[test]
    fn a_close_frame_leaves_after_the_messages_of_rooms() -> io::Result<()> {
        let (mut socket, mut cx) = (socket(0), Context::from_waker(std::task::Waker::noop()));
        assert_eq!(socket.try_write(&["a", "b"])?, DirectlyWritten::Buffered);
        for _ in 0..4 {
            assert!(socket.poll_close(&mut cx, Some(CloseCode::Restarting)).is_pending());
            socket.grant(1);
        }
        assert_eq!(socket.written(), ["a", "b", "1012"]);
        Ok(())
    }

    #[test]
    fn a_socket_without_space_takes_nothing() {
        let socket = socket(0);
        assert_eq!(socket.try_write(&["a"]).ok(), Some(DirectlyWritten::Buffered));
        assert_eq!(socket.try_write(&["b"]).map_err(|error| error.kind()), Err(io::ErrorKind::WouldBlock));
    }
}
