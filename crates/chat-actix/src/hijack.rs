use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::{HttpResponse, rt};
use bytes::{Buf, Bytes, BytesMut};
use chat_core::{Message, Upgrade, Watch};
use chat_websocket::{CHUNK, WebSocket};
use futures_util::Stream as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::convert::{answer, switching_protocols};

/// Carries an upgrade out: a task waits for the 101 to be on its way and runs the session on the payload and
/// the body. A request without a payload is refused: actix has seen no upgrade in it.
pub(crate) fn hijack<M: Message>(upgrade: Upgrade<M>, payload: Payload) -> HttpResponse {
    let Some((reader, writer, body)) = take_over(upgrade.watch(), payload) else {
        return answer(upgrade.refuse());
    };
    let (answer, ticket) = upgrade.accept();
    let limits = Arc::clone(ticket.limits());
    rt::spawn(ticket.start(async move {
        let stream = Stream { reader, early: Bytes::new(), writer: writer.started().await? };
        let websocket = WebSocket::accept(stream, Bytes::new(), &limits).await;
        Ok::<_, io::Error>(websocket.without_half_close())
    }));
    switching_protocols(&answer, body)
}

/// Makes a connection of a request's payload and the body that is to go out with the 101; none if actix did
/// not take the request for an upgrade.
pub(crate) fn take_over(watch: &Watch, payload: Payload) -> Option<(Reader, Writer, Body)> {
    if matches!(payload, Payload::None) {
        return None;
    }
    let payload = Rc::new(RefCell::new(payload));
    let reader = Reader { payload: Some(Rc::clone(&payload)) };
    let pipe = Rc::default();
    let writer = Writer { pipe: Rc::clone(&pipe) };
    let body = Body { pipe, watch: watch.clone(), _payload: payload };
    Some((reader, writer, body))
}

/// What the peer sends.
pub(crate) struct Reader {
    payload: Option<Rc<RefCell<Payload>>>,
}

impl Reader {
    /// The next bytes; none at the end.
    pub(crate) fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        while let Some(payload) = &self.payload {
            let next = ready!(Pin::new(&mut *payload.borrow_mut()).poll_next(cx));
            match next {
                Some(Ok(bytes)) if bytes.is_empty() => {}
                Some(Ok(bytes)) => return Poll::Ready(Ok(bytes)),
                // A payload that ends with the stream is always incomplete to actix.
                None | Some(Err(PayloadError::Incomplete(_))) => self.payload = None,
                Some(Err(error)) => {
                    self.payload = None;
                    return Poll::Ready(Err(io::Error::other(error)));
                }
            }
        }
        Poll::Ready(Ok(Bytes::new()))
    }
}

/// What goes from the session to the response body.
#[derive(Default)]
struct Pipe {
    bytes: BytesMut,
    /// The body has been asked for bytes: the head before it is in actix's buffer.
    started: bool,
    /// The session writes no more.
    ended: bool,
    /// The body has been dropped.
    gone: bool,
    taker: Option<Waker>,
    giver: Option<Waker>,
}

/// Where the session writes.
pub(crate) struct Writer {
    pipe: Rc<RefCell<Pipe>>,
}

impl Writer {
    /// Waits until the 101 is on its way.
    pub(crate) async fn started(self) -> io::Result<Self> {
        poll_fn(|cx| {
            let mut pipe = self.pipe.borrow_mut();
            if pipe.started {
                Poll::Ready(Ok(()))
            } else if pipe.gone {
                Poll::Ready(Err(io::Error::other("the 101 was dropped")))
            } else {
                pipe.giver = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await?;
        Ok(self)
    }

    /// Takes as many bytes as there is room for.
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut pipe = self.pipe.borrow_mut();
        if pipe.gone || pipe.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = CHUNK.saturating_sub(pipe.bytes.len());
        if room == 0 {
            pipe.giver = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let taken = room.min(bytes.len());
        pipe.bytes.extend_from_slice(&bytes[..taken]);
        let taker = pipe.taker.take();
        drop(pipe);
        wake(taker);
        Poll::Ready(Ok(taken))
    }

    /// Ends the connection once all that was written is on its way.
    pub(crate) fn end(&self) {
        let mut pipe = self.pipe.borrow_mut();
        pipe.ended = true;
        let taker = pipe.taker.take();
        drop(pipe);
        wake(taker);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut pipe = self.pipe.borrow_mut();
        if !pipe.ended {
            pipe.bytes = BytesMut::new();
        }
        drop(pipe);
        self.end();
    }
}

/// The body of the 101.
pub(crate) struct Body {
    pipe: Rc<RefCell<Pipe>>,
    /// It is told if a layer between puts another body in this one's place.
    watch: Watch,
    /// Without it, actix would read on for nobody, and a peer that takes nothing could go on sending.
    _payload: Rc<RefCell<Payload>>,
}

impl MessageBody for Body {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let mut pipe = self.pipe.borrow_mut();
        pipe.started = true;
        let giver = pipe.giver.take();
        let next = if !pipe.bytes.is_empty() {
            Poll::Ready(Some(Ok(std::mem::take(&mut pipe.bytes).freeze())))
        } else if pipe.ended {
            Poll::Ready(None)
        } else {
            pipe.taker = Some(cx.waker().clone());
            Poll::Pending
        };
        drop(pipe);
        wake(giver);
        next
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.watch.abandon();
        let mut pipe = self.pipe.borrow_mut();
        pipe.gone = true;
        pipe.bytes = BytesMut::new();
        let giver = pipe.giver.take();
        drop(pipe);
        wake(giver);
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The two as one stream of bytes.
struct Stream {
    reader: Reader,
    /// What was received and has not been read.
    early: Bytes,
    writer: Writer,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            self.early = ready!(self.reader.poll_bytes(cx))?;
        }
        let read = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early[..read]);
        self.early.advance(read);
        if self.early.is_empty() {
            // Frees what actix read it into.
            self.early = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writer.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut taken = 0;
        for bytes in slices {
            match self.writer.poll_write(cx, bytes) {
                Poll::Ready(Ok(some)) => taken += some,
                // What has been taken is said first; the rest is asked for again.
                _ if taken > 0 => break,
                refused => return refused,
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.end();
        Poll::Ready(Ok(()))
    }
}
