use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_web::error::PayloadError;
use bytes::Bytes;
use chat_core::ProtocolViolation;
use chat_websocket::FrameLimiter;
use futures_util::Stream;

use crate::pipe::Reader;

/// The bytes of the peer as the payload that actix-ws sees: frame by frame, and no frame over the limit.
///
/// A clone is another handle to the same payload.
#[derive(Clone)]
pub(crate) struct Inbound(Rc<RefCell<State>>);

struct State {
    reader: Reader,
    limiter: FrameLimiter,
    /// Bytes that were received and have not been passed on.
    bytes: Bytes,
    /// A frame has been passed on. actix-ws has a message to return, and must return it before it sees more.
    paused: bool,
    violation: Option<ProtocolViolation>,
}

impl Inbound {
    pub(crate) fn new(reader: Reader, max_frame: usize) -> Self {
        Self(Rc::new(RefCell::new(State {
            reader,
            limiter: FrameLimiter::new(max_frame),
            bytes: Bytes::new(),
            paused: false,
            violation: None,
        })))
    }

    /// Returns the reason why no more bytes are passed on. It wakes no task, so the caller calls this when it has no
    /// other work.
    pub(crate) fn violation(&self) -> Option<ProtocolViolation> {
        self.0.borrow_mut().violation.take()
    }

    /// Reads further bytes without actix-ws. Returns no bytes at the end.
    pub(crate) fn poll_rest(&self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        self.0.borrow_mut().reader.poll_bytes(cx)
    }
}

impl Stream for Inbound {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let state = &mut *self.0.borrow_mut();
        if std::mem::take(&mut state.paused) {
            return Poll::Pending;
        }
        if state.bytes.is_empty() {
            state.bytes = ready!(state.reader.poll_bytes(cx)).map_err(PayloadError::Io)?;
        }
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
