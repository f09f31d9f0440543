//! The socket of a plain HTTP connection, and its time limits.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use chat_core::HttpLimits;
use hyper::rt::{Read, ReadBufCursor, Sleep, Timer, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A socket that counts the reads that returned bytes.
#[derive(Debug)]
pub(crate) struct ServedStream {
    io: TokioIo<TcpStream>,
    reads: Arc<AtomicUsize>,
}

/// The timer of one connection. hyper has one limit for the wait for a request head. This timer makes two of it: a
/// connection may be idle for longer than a head may take.
#[derive(Debug)]
pub(crate) struct HeadTimer {
    reads: Arc<AtomicUsize>,
    was_used: AtomicBool,
    head_timeout: Duration,
    idle_timeout: Duration,
}

/// The wait for one request head.
struct HeadWait {
    sleep: Pin<Box<tokio::time::Sleep>>,
    reads: Arc<AtomicUsize>,
    /// The reads before this wait, until the head begins.
    reads_before: Option<usize>,
    head_timeout: Duration,
}

/// Returns the socket and the timer of a connection.
pub(crate) fn served(stream: TcpStream, limits: &HttpLimits) -> (ServedStream, HeadTimer) {
    let reads = Arc::new(AtomicUsize::new(0));
    let timer = HeadTimer {
        reads: Arc::clone(&reads),
        was_used: AtomicBool::new(false),
        head_timeout: limits.head_timeout,
        idle_timeout: limits.idle_timeout,
    };
    (ServedStream { io: TokioIo::new(stream), reads }, timer)
}

impl ServedStream {
    pub(crate) fn into_inner(self) -> TcpStream {
        self.io.into_inner()
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        // The first head must arrive at once. After a request, the connection may be idle.
        let is_first = !self.was_used.swap(true, Ordering::Relaxed);
        let deadline = if is_first { deadline } else { Instant::now() + self.idle_timeout };
        Box::pin(HeadWait {
            sleep: Box::pin(tokio::time::sleep_until(deadline.into())),
            reads: Arc::clone(&self.reads),
            reads_before: (!is_first).then(|| self.reads.load(Ordering::Relaxed)),
            head_timeout: self.head_timeout,
        })
    }
}

impl Sleep for HeadWait {}

impl Future for HeadWait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.reads_before.is_some_and(|before| before != self.reads.load(Ordering::Relaxed)) {
            self.reads_before = None;
            let deadline = tokio::time::Instant::now() + self.head_timeout;
            self.sleep.as_mut().reset(deadline);
        }
        self.sleep.as_mut().poll(cx)
    }
}

impl Read for ServedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if read.is_ready() {
            self.reads.fetch_add(1, Ordering::Relaxed);
        }
        read
    }
}

impl Write for ServedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }
}
