//! The connection under a 101 on a server of the host: the payload of the request and the body of the response.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use bytes::{Buf, Bytes, BytesMut};
use chat_core::GuardedRequest;
use chat_websocket::CHUNK_BYTES;
use futures_util::Stream as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::error::ConnectionError;

/// Returns the body that must go out with the 101, and the stream under it once the 101 is on its way.
pub(crate) fn open(
    guard: GuardedRequest,
    payload: Payload,
) -> (Body, impl Future<Output = io::Result<Stream>>) {
    let payload = Rc::new(RefCell::new(payload));
    let reader = Reader { payload: Some(Rc::clone(&payload)) };
    let pipe = Rc::default();
    let writer = Writer { pipe: Rc::clone(&pipe) };
    let body = Body { pipe, guard, _payload: payload };
    let stream = async { Ok(Stream { reader, early: Bytes::new(), writer: writer.started().await? }) };
    (body, stream)
}

/// The two directions as one stream of bytes.
pub(crate) struct Stream {
    reader: Reader,
    /// Bytes that were received and have not been read.
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
            // Frees the buffer of actix.
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
                // The caller repeats the rest.
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

/// The bytes that the peer sends.
struct Reader {
    payload: Option<Rc<RefCell<Payload>>>,
}

impl Reader {
    /// Returns the next bytes, and no bytes at the end.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        while let Some(payload) = &self.payload {
            let next = ready!(Pin::new(&mut *payload.borrow_mut()).poll_next(cx));
            match next {
                Some(Ok(bytes)) if bytes.is_empty() => {}
                Some(Ok(bytes)) => return Poll::Ready(Ok(bytes)),
                // For actix, a payload that ends with the stream is always incomplete.
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

/// The bytes on the way from the session to the response body.
#[derive(Default)]
struct Pipe {
    bytes: BytesMut,
    /// True once actix has polled the body, so the head before it is in actix's buffer.
    started: bool,
    /// The session writes no more.
    ended: bool,
    /// The body has been dropped.
    dropped: bool,
    body_waker: Option<Waker>,
    writer_waker: Option<Waker>,
}

/// The session's side of the response body.
struct Writer {
    pipe: Rc<RefCell<Pipe>>,
}

impl Writer {
    /// Waits until the 101 is on its way.
    async fn started(self) -> io::Result<Self> {
        poll_fn(|cx| {
            let mut pipe = self.pipe.borrow_mut();
            if pipe.started {
                Poll::Ready(Ok(()))
            } else if pipe.dropped {
                Poll::Ready(Err(io::Error::other(ConnectionError::ResponseDropped)))
            } else {
                pipe.writer_waker = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await?;
        Ok(self)
    }

    /// Takes as many bytes as there is space for.
    fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut pipe = self.pipe.borrow_mut();
        if pipe.dropped || pipe.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let space = CHUNK_BYTES.saturating_sub(pipe.bytes.len());
        if space == 0 {
            pipe.writer_waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let taken = space.min(bytes.len());
        pipe.bytes.extend_from_slice(&bytes[..taken]);
        let waker = pipe.body_waker.take();
        drop(pipe);
        wake(waker);
        Poll::Ready(Ok(taken))
    }

    /// Ends the connection once all written bytes are on their way.
    fn end(&self) {
        let mut pipe = self.pipe.borrow_mut();
        pipe.ended = true;
        let waker = pipe.body_waker.take();
        drop(pipe);
        wake(waker);
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
    /// The guard is notified if a layer replaces this body.
    guard: GuardedRequest,
    /// Without the payload, actix would read and discard further bytes, and a peer that reads nothing could continue to
    /// send.
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
        let waker = pipe.writer_waker.take();
        let next = if !pipe.bytes.is_empty() {
            Poll::Ready(Some(Ok(std::mem::take(&mut pipe.bytes).freeze())))
        } else if pipe.ended {
            Poll::Ready(None)
        } else {
            pipe.body_waker = Some(cx.waker().clone());
            Poll::Pending
        };
        drop(pipe);
        wake(waker);
        next
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.guard.abandon();
        let mut pipe = self.pipe.borrow_mut();
        pipe.dropped = true;
        pipe.bytes = BytesMut::new();
        let waker = pipe.writer_waker.take();
        drop(pipe);
        wake(waker);
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
