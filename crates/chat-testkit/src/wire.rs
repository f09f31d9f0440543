use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use chat_core::{CloseCode, Connection, DirectWrite, Incoming, Outgoing};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::direct::{DirectLine, add_rest};

/// The number of frames that the connection holds for a peer that does not read.
pub const HIGH_WATER: usize = 4;

/// A frame that the peer gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Bytes),
    /// A ping.
    Ping,
    /// A pong.
    Pong,
    /// A close frame, with its code if it has one.
    Close(Option<u16>),
    /// The session has dropped the connection.
    Gone,
}

/// The state between the two sides.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) incoming: VecDeque<Incoming>,
    /// Frames that the session has sent and the peer has not taken.
    pub(super) buffer: VecDeque<Frame>,
    pub(super) taken: VecDeque<Frame>,
    /// Frames that the peer takes until it blocks; `None` for all there are.
    pub(super) allowance: Option<usize>,
    pub(super) failing: bool,
    /// The code of the peer's close frame.
    pub(super) peer_closed: Option<Option<u16>>,
    /// The code with which the session closes.
    pub(super) closed_with: Option<Option<u16>>,
    /// True if the peer does not answer the session's close frame.
    pub(super) keeps_silent: bool,
    /// Flushes that had something to write.
    pub(super) flushes: usize,
    pub(super) progress: u64,
    pub(super) polled_after_the_end: bool,
    pub(super) ended: bool,
    /// The beginning of a frame that was written directly.
    pub(super) partial: Vec<u8>,
    /// True if the direct writer panics.
    pub(super) panics: bool,
    /// True if the connection buffers the frames of a direct write that the peer does not take.
    pub(super) buffers_direct: bool,
    /// The number of frames that were written directly and at once.
    pub(super) direct_frames: usize,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

impl Line {
    fn write(&mut self) -> io::Result<()> {
        if self.failing {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        while self.allowance != Some(0)
            && let Some(frame) = self.buffer.pop_front()
        {
            self.allowance = self.allowance.map(|left| left - 1);
            self.taken.push_back(frame);
            self.progress += 1;
        }
        Ok(())
    }

    fn wait_to_write<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        self.writer = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// The session's side of the connection.
#[derive(Debug)]
pub struct Wire {
    pub(super) line: Arc<Mutex<Line>>,
    pub(super) news: Arc<Notify>,
    pub(super) is_direct: bool,
}

impl Wire {
    /// Lets rooms write to the connection: see [`Connection::direct`].
    #[must_use]
    pub fn with_direct(mut self) -> Self {
        self.is_direct = true;
        self
    }

    fn write(&self, line: &mut Line) -> io::Result<()> {
        let before = line.taken.len();
        let written = line.write();
        if line.taken.len() > before {
            self.news.notify_one();
        }
        written
    }
}

impl Connection for Wire {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        let mut line = self.line.lock();
        line.polled_after_the_end |= line.ended;
        let Some(incoming) = line.incoming.pop_front() else {
            line.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        match &incoming {
            Incoming::Ping => line.buffer.push_back(Frame::Pong),
            Incoming::Close(code) => {
                line.peer_closed = Some(*code);
                line.ended = true;
            }
            Incoming::End | Incoming::Violation(_) | Incoming::Lost(_) => line.ended = true,
            _ => {}
        }
        Poll::Ready(incoming)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut line = self.line.lock();
        if line.buffer.len() >= HIGH_WATER {
            self.write(&mut line)?;
        }
        if line.buffer.len() < HIGH_WATER { Poll::Ready(Ok(())) } else { line.wait_to_write(cx) }
    }

    fn send(&mut self, frame: Outgoing) -> io::Result<()> {
        self.line.lock().buffer.push_back(match frame {
            Outgoing::Text(text) => Frame::Text(String::from_utf8(text.to_vec()).expect("text is UTF-8")),
            Outgoing::Binary(payload) => Frame::Binary(payload),
            Outgoing::Ping => Frame::Ping,
            _ => return Err(io::ErrorKind::Unsupported.into()),
        });
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut line = self.line.lock();
        line.flushes += usize::from(!line.buffer.is_empty());
        self.write(&mut line)?;
        if line.buffer.is_empty() { Poll::Ready(Ok(())) } else { line.wait_to_write(cx) }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, code: Option<CloseCode>) -> Poll<()> {
        let mut line = self.line.lock();
        if line.closed_with.is_none() {
            let code = code.map(CloseCode::code);
            line.closed_with = Some(code);
            let echo = line.peer_closed;
            line.buffer.extend(code.map(Some).or(echo).map(Frame::Close));
        }
        if self.write(&mut line).is_err() {
            return Poll::Ready(());
        }
        if line.buffer.is_empty() && !(line.keeps_silent && code.is_some()) {
            Poll::Ready(())
        } else {
            line.wait_to_write(cx)
        }
    }

    fn progress(&self) -> u64 {
        self.line.lock().progress
    }

    fn direct(&self) -> Option<Arc<dyn DirectWrite>> {
        let (line, news) = (Arc::clone(&self.line), Arc::clone(&self.news));
        self.is_direct.then(|| Arc::new(DirectLine { line, news }) as Arc<dyn DirectWrite>)
    }

    fn send_rest(&mut self, rest: Bytes) -> io::Result<()> {
        add_rest(&mut self.line.lock(), &rest);
        Ok(())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.line.lock().taken.push_back(Frame::Gone);
        self.news.notify_one();
    }
}
