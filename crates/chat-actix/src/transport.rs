use std::cell::RefCell;
use std::io;
use std::mem::{self, MaybeUninit};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_web::error::PayloadError;
use bytes::Bytes;
use chat_core::ProtocolViolation;
use chat_websocket::{FrameLimiter, READ_BYTES};
use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The byte stream under actix-ws. It is the payload that actix-ws reads: frame by frame, and no frame over the limit.
///
/// A clone is another handle to the same stream.
pub(crate) struct Transport<S>(Rc<RefCell<State<S>>>);

struct State<S> {
    /// `None` until the 101 has been sent.
    stream: Option<S>,
    limiter: FrameLimiter,
    /// Bytes that were received and have not been passed on.
    bytes: Bytes,
    /// A frame has been passed on. actix-ws has a message to return, and must return it before it sees more.
    paused: bool,
    violation: Option<ProtocolViolation>,
}

impl<S> Transport<S> {
    pub(crate) fn new(max_frame: usize) -> Self {
        Self(Rc::new(RefCell::new(State {
            stream: None,
            limiter: FrameLimiter::new(max_frame),
            bytes: Bytes::new(),
            paused: false,
            violation: None,
        })))
    }

    /// Attaches the stream, and the bytes that were received before.
    pub(crate) fn attach(&self, stream: S, early: Bytes) {
        let state = &mut *self.0.borrow_mut();
        (state.stream, state.bytes) = (Some(stream), early);
    }

    /// Returns the reason why no more bytes are passed on. It wakes no task, so the caller calls this when it has no
    /// other work.
    pub(crate) fn violation(&self) -> Option<ProtocolViolation> {
        self.0.borrow_mut().violation.take()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Transport<S> {
    /// Reads further bytes without actix-ws. Returns no bytes at the end.
    pub(crate) fn poll_rest(&self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        self.0.borrow_mut().poll_bytes(cx)
    }

    /// Writes as many bytes as the stream takes.
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_stream(|stream| stream.poll_write(cx, bytes))
    }

    /// Sends the bytes that the stream still holds, as TLS does.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_stream(|stream| stream.poll_flush(cx))
    }

    /// Ends the stream, after the bytes that were written.
    pub(crate) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_stream(|stream| stream.poll_shutdown(cx))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> State<S> {
    fn poll_stream<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut S>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut self.stream {
            Some(stream) => poll(Pin::new(stream)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Returns the next bytes, and no bytes at the end.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if !self.bytes.is_empty() {
            return Poll::Ready(Ok(mem::take(&mut self.bytes)));
        }
        let mut space = [MaybeUninit::uninit(); READ_BYTES];
        let mut buf = ReadBuf::uninit(&mut space);
        ready!(self.poll_stream(|stream| stream.poll_read(cx, &mut buf)))?;
        Poll::Ready(Ok(Bytes::copy_from_slice(buf.filled())))
    }
}

impl<S> Clone for Transport<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for Transport<S> {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let state = &mut *self.0.borrow_mut();
        if mem::take(&mut state.paused) {
            return Poll::Pending;
        }
        state.bytes = ready!(state.poll_bytes(cx)).map_err(PayloadError::Io)?;
        if state.bytes.is_empty() {
            return Poll::Ready(None);
        }
        match state.limiter.pass(&state.bytes) {
            Ok(passed) => {
                state.paused = state.limiter.is_between_frames();
                Poll::Ready(Some(Ok(state.bytes.split_to(passed))))
            }
            Err(code) => {
                // An end would make actix-ws ignore the frames before it.
                state.violation = Some(code);
                Poll::Pending
            }
        }
    }
}
