//! The output of a WebSocket of actix-ws.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::thread::{self, ThreadId};

use actix_web::body::{BoxBody, MessageBody};
use actix_ws::{Message, Session};
use bytes::{Buf, Bytes};
use chat_core::{DirectWrite, DirectlyWritten, frames};
use chat_websocket::poll_now;
use futures_util::SinkExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::unconstrained;

use crate::error::ConnectionError;
use crate::transport::Transport;

thread_local! {
    /// The outputs of this thread, by their numbers.
    static OUTPUTS: RefCell<HashMap<u64, Weak<dyn LocalWrite>>> = RefCell::default();
    static LAST_NUMBER: Cell<u64> = const { Cell::new(0) };
}

/// The messages for a peer, on their way through actix-ws to the transport.
pub(crate) struct Output<S> {
    session: Session,
    /// Frames of rooms for which the session has no space yet.
    held: Bytes,
    /// The frames of the messages that were given to the session.
    encoded: BoxBody,
    /// True if the session has messages whose frames were not taken from `encoded`.
    has_messages: bool,
    /// The part of these frames that has not been written.
    outbound: Bytes,
    transport: Transport<S>,
    written: u64,
}

/// An output that its session and the rooms of its thread share. They never use it at the same time.
pub(crate) struct SharedOutput<S> {
    output: Rc<RefCell<Output<S>>>,
    writer: Arc<Writer>,
}

/// The writer for rooms. actix keeps a connection on one thread. On another thread, the writer takes nothing, and the
/// session is woken.
#[derive(Debug)]
struct Writer {
    thread: ThreadId,
    number: u64,
}

/// A direct writer of one thread.
trait LocalWrite {
    fn try_write(&self, frames: &Bytes) -> io::Result<DirectlyWritten>;
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> SharedOutput<S> {
    pub(crate) fn new(session: Session, encoded: BoxBody, transport: Transport<S>) -> Self {
        let (held, outbound) = (Bytes::new(), Bytes::new());
        let has_messages = false;
        let output = Output { session, held, encoded, has_messages, outbound, transport, written: 0 };
        let output = Rc::new(RefCell::new(output));
        let number = LAST_NUMBER.get() + 1;
        LAST_NUMBER.set(number);
        let shared: Rc<dyn LocalWrite> = Rc::<RefCell<Output<S>>>::clone(&output);
        OUTPUTS.with_borrow_mut(|outputs| outputs.insert(number, Rc::downgrade(&shared)));
        Self { output, writer: Arc::new(Writer { thread: thread::current().id(), number }) }
    }
}

impl<S> SharedOutput<S> {
    pub(crate) fn borrow(&self) -> RefMut<'_, Output<S>> {
        self.output.borrow_mut()
    }

    pub(crate) fn direct(&self) -> Arc<dyn DirectWrite> {
        Arc::<Writer>::clone(&self.writer)
    }
}

impl<S> Drop for SharedOutput<S> {
    fn drop(&mut self) {
        // At the end of the thread, the outputs may be gone.
        let _gone = OUTPUTS.try_with(|outputs| outputs.borrow_mut().remove(&self.writer.number));
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Output<S> {
    /// Returns the number of bytes that were written.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Waits until the session has the messages that are held, and space for another one.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            // The session of actix-ws has space for 32 messages, and gets it back when they are encoded.
            let ready = match self.session.poll_ready_unpin(cx) {
                Poll::Pending => {
                    ready!(self.poll_write(cx))?;
                    ready!(self.session.poll_ready_unpin(cx))
                }
                Poll::Ready(ready) => ready,
            };
            ready.map_err(|_| io::ErrorKind::BrokenPipe)?;
            let Some(payload) = frames::take_payload(&mut self.held) else { return Poll::Ready(Ok(())) };
            self.start_send(text(payload)?)?;
        }
    }

    pub(crate) fn start_send(&mut self, message: Message) -> io::Result<()> {
        self.has_messages = true;
        self.session.start_send_unpin(message).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Writes all messages.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.held.is_empty() {
            ready!(self.poll_ready(cx))?;
        }
        self.poll_write(cx)
    }

    /// Writes all frames of messages that were given to the session.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while !self.outbound.is_empty() {
                let written = ready!(self.transport.poll_write(cx, &self.outbound))?;
                self.outbound.advance(written);
                self.written += written as u64;
            }
            if !mem::take(&mut self.has_messages) {
                return self.transport.poll_flush(cx);
            }
            // All messages are encoded at once, at most 32. Without the budget that tokio gives to a task, because
            // without a budget it is pending too. Without the waker of the session, which each of its messages would
            // wake.
            let mut encoded = Pin::new(&mut self.encoded);
            match poll_unbudgeted(|cx| encoded.as_mut().poll_next(cx)) {
                Poll::Ready(Some(Ok(bytes))) => self.outbound = bytes,
                Poll::Ready(Some(Err(error))) => {
                    let error = ConnectionError::Frame(error.to_string());
                    return Poll::Ready(Err(io::Error::other(error)));
                }
                Poll::Ready(None) | Poll::Pending => {}
            }
        }
    }
}

/// Polls once. It uses up no budget of the task, and wakes no task later.
fn poll_unbudgeted<T>(poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    pin!(unconstrained(poll_fn(poll))).poll(&mut Context::from_waker(Waker::noop()))
}

impl<S: AsyncRead + AsyncWrite + Unpin> LocalWrite for RefCell<Output<S>> {
    fn try_write(&self, frames: &Bytes) -> io::Result<DirectlyWritten> {
        let busy = io::ErrorKind::WouldBlock;
        let mut output = self.try_borrow_mut().map_err(|_| busy)?;
        if poll_now(|cx| output.poll_ready(cx))?.is_none() {
            return Err(busy.into());
        }
        output.held = frames.clone();
        // The session sees an error when it flushes.
        let is_flushed = poll_now(|cx| output.poll_flush(cx)).is_ok_and(|flushed| flushed.is_some());
        Ok(if is_flushed { DirectlyWritten::Bytes(frames.len()) } else { DirectlyWritten::Buffered })
    }
}

impl DirectWrite for Writer {
    fn try_write(&self, frames: &Bytes) -> io::Result<DirectlyWritten> {
        let elsewhere = io::ErrorKind::WouldBlock;
        if thread::current().id() != self.thread {
            return Err(elsewhere.into());
        }
        let output = OUTPUTS.try_with(|outputs| outputs.borrow().get(&self.number).and_then(Weak::upgrade));
        output.ok().flatten().ok_or(elsewhere)?.try_write(frames)
    }
}

/// Returns a text message.
///
/// # Errors
///
/// An error if the bytes are not UTF-8.
pub(crate) fn text(text: Bytes) -> io::Result<Message> {
    let text = text.try_into().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Message::Text(text))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use actix_web::FromRequest;
    use actix_web::test::TestRequest;
    use actix_web::web::Payload;
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};
    use tokio::task::consume_budget;

    use super::*;

    /// Returns the output to a peer whose transport takes this number of bytes, and the peer.
    async fn output(space: usize) -> io::Result<(SharedOutput<DuplexStream>, DuplexStream)> {
        let request = TestRequest::default()
            .insert_header(("upgrade", "websocket"))
            .insert_header(("connection", "upgrade"))
            .insert_header(("sec-websocket-version", "13"))
            .insert_header(("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="));
        let (request, mut payload) = request.to_http_parts();
        let payload = Payload::from_request(&request, &mut payload).await;
        let failed = |error: actix_web::Error| io::Error::other(error.to_string());
        let (response, session, _) = actix_ws::handle(&request, payload.map_err(failed)?).map_err(failed)?;
        let (stream, peer) = duplex(space);
        let transport = Transport::new(1024);
        transport.attach(stream, Bytes::new());
        Ok((SharedOutput::new(session, response.into_body(), transport), peer))
    }

    fn texts(number: usize) -> Bytes {
        let texts: Vec<_> = (0..number).map(|number| format!("text {number:4}")).collect();
        frames::texts(texts.iter().map(String::as_bytes))
    }

    #[actix_web::test]
    async fn a_room_writes_more_messages_than_actix_ws_holds() -> io::Result<()> {
        let (output, mut peer) = output(64 * 1024).await?;
        let frames = texts(100);
        assert_eq!(output.direct().try_write(&frames)?, DirectlyWritten::Bytes(frames.len()));
        let mut got = vec![0; frames.len()];
        peer.read_exact(&mut got).await?;
        assert_eq!((got, output.borrow().written()), (frames.to_vec(), frames.len() as u64));
        Ok(())
    }

    #[actix_web::test]
    async fn messages_that_find_no_space_leave_before_later_ones_also_without_a_budget() -> io::Result<()> {
        // With each number the budget of the task ends at another place.
        for number in 90..130 {
            let (output, mut peer) = output(8).await?;
            let frames = texts(number);
            assert_eq!(output.direct().try_write(&frames)?, DirectlyWritten::Buffered);
            let refused = output.direct().try_write(&frames).map_err(|error| error.kind());
            assert_eq!(refused, Err(io::ErrorKind::WouldBlock));
            let expected = [&frames[..], b"\x89\x00"].concat();
            let mut got = vec![0; expected.len()];
            let write = async {
                poll_fn(|cx| output.borrow().poll_ready(cx)).await?;
                output.borrow().start_send(Message::Ping(Bytes::new()))?;
                poll_fn(|cx| output.borrow().poll_flush(cx)).await
            };
            let (written, read) = tokio::join!(write, peer.read_exact(&mut got));
            written?;
            read?;
            assert_eq!(got, expected);
        }
        Ok(())
    }

    #[actix_web::test]
    async fn a_flush_writes_all_when_the_budget_of_the_task_is_used_up() -> io::Result<()> {
        let (output, mut peer) = output(64 * 1024).await?;
        let frames = texts(20);
        poll_now(|cx| output.borrow().poll_ready(cx))?;
        output.borrow().start_send(Message::Text("text    0".into()))?;
        let flushed = poll_fn(|cx| {
            while pin!(consume_budget()).poll(cx).is_ready() {}
            Poll::Ready(output.borrow().poll_flush(cx))
        });
        assert!(matches!(flushed.await, Poll::Pending) || output.borrow().written() == 11);
        let mut got = [0; 11];
        poll_fn(|cx| output.borrow().poll_flush(cx)).await?;
        peer.read_exact(&mut got).await?;
        assert_eq!(got, frames[..11]);
        Ok(())
    }

    #[actix_web::test]
    async fn a_message_does_not_wake_the_session_that_sends_it() -> io::Result<()> {
        struct Woken(AtomicBool);
        impl Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let (output, _peer) = output(1024).await?;
        let woken = Arc::new(Woken(AtomicBool::new(false)));
        let waker = Arc::clone(&woken).into();
        let mut cx = Context::from_waker(&waker);
        for text in ["first", "second"] {
            assert!(output.borrow().poll_ready(&mut cx).is_ready());
            output.borrow().start_send(Message::Text(text.into()))?;
            assert!(output.borrow().poll_flush(&mut cx).is_ready());
        }
        assert!(!woken.0.load(Ordering::Relaxed));
        Ok(())
    }

    #[actix_web::test]
    async fn another_thread_writes_nothing_and_an_output_that_is_dropped_is_forgotten() -> io::Result<()> {
        let (output, _peer) = output(64).await?;
        let (writer, frames) = (output.direct(), texts(1));
        let kind = |result: io::Result<DirectlyWritten>| result.map_err(|error| error.kind());
        let (other, text) = (Arc::clone(&writer), frames.clone());
        let elsewhere = thread::spawn(move || kind(other.try_write(&text)));
        assert_eq!(elsewhere.join().ok(), Some(Err(io::ErrorKind::WouldBlock)));
        assert_eq!(kind(writer.try_write(&frames)), Ok(DirectlyWritten::Bytes(frames.len())));
        drop(output);
        assert_eq!(kind(writer.try_write(&frames)), Err(io::ErrorKind::WouldBlock));
        assert_eq!(OUTPUTS.with_borrow(HashMap::len), 0);
        Ok(())
    }
}
