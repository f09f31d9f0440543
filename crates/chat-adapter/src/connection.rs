//! The socket of a plain HTTP connection, and its time limits.

use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use chat_core::HttpLimits;
use chat_websocket::AcceptedSocket;
use hyper::rt::{Read, ReadBufCursor, Sleep, Timer, Write};
use hyper_util::rt::TokioIo;

/// The beginning of the head of a 101.
const SWITCHING_PROTOCOLS: &[u8] = b"HTTP/1.1 101 ";

/// A socket that counts the reads that returned bytes, and holds the head of the chat's 101 back.
///
/// The first frames of the session leave together with that head: one write instead of two, and one packet. A read, or
/// another write, sends the head first.
#[derive(Debug)]
pub(crate) struct ServedStream {
    io: TokioIo<AcceptedSocket>,
    activity: Activity,
    /// The head of a 101, or what is left of it.
    held: Bytes,
}

/// The events of a connection that more than one part of its server needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Activity(Arc<Events>);

#[derive(Debug, Default)]
struct Events {
    /// The number of reads that returned bytes.
    reads: AtomicUsize,
    /// True once the next response is a 101 after which a session takes the socket.
    is_hijacked: AtomicBool,
}

/// The timer of one connection. hyper has one limit for the wait for a request head. This timer makes two of it: a
/// connection may be idle for longer than a head may take.
#[derive(Debug)]
pub(crate) struct HeadTimer {
    activity: Activity,
    was_used: AtomicBool,
    head_timeout: Duration,
    idle_timeout: Duration,
}

/// The wait for one request head.
struct HeadWait {
    sleep: Pin<Box<tokio::time::Sleep>>,
    activity: Activity,
    /// The reads before this wait, until the head begins.
    reads_before: Option<usize>,
    head_timeout: Duration,
}

/// Returns the socket and the timer of a connection, and their events.
pub(crate) fn served(socket: AcceptedSocket, limits: &HttpLimits) -> (ServedStream, HeadTimer, Activity) {
    let activity = Activity::default();
    let timer = HeadTimer {
        activity: activity.clone(),
        was_used: AtomicBool::new(false),
        head_timeout: limits.head_timeout,
        idle_timeout: limits.idle_timeout,
    };
    let stream = ServedStream { io: TokioIo::new(socket), activity: activity.clone(), held: Bytes::new() };
    (stream, timer, activity)
}

impl Activity {
    /// Records that the next response is a 101 after which a session takes the socket.
    pub(crate) fn hijack(&self) {
        self.0.is_hijacked.store(true, Ordering::Relaxed);
    }

    /// Returns true if bytes were read.
    pub(crate) fn has_read(&self) -> bool {
        self.reads() > 0
    }

    fn reads(&self) -> usize {
        self.0.reads.load(Ordering::Relaxed)
    }
}

impl ServedStream {
    /// Returns the socket, and the bytes that must be sent before all others.
    pub(crate) fn into_parts(mut self) -> (AcceptedSocket, Bytes) {
        let held = mem::take(&mut self.held);
        (self.io.into_inner(), held)
    }

    /// Takes the head of a 101, if these bytes are one.
    fn hold(&mut self, bytes: &[u8]) -> bool {
        let holds =
            self.activity.0.is_hijacked.load(Ordering::Relaxed) && bytes.starts_with(SWITCHING_PROTOCOLS);
        if holds {
            self.held = Bytes::copy_from_slice(bytes);
        }
        holds
    }

    /// Sends the head that was held back.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.held))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.advance(written);
        }
        Poll::Ready(Ok(()))
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
            activity: self.activity.clone(),
            reads_before: (!is_first).then(|| self.activity.reads()),
            head_timeout: self.head_timeout,
        })
    }
}

impl Sleep for HeadWait {}

impl Future for HeadWait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.reads_before.is_some_and(|before| before != self.activity.reads()) {
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
        // The peer sends nothing before it has the head. A read works while the peer does not read.
        if let Poll::Ready(Err(error)) = self.poll_held(cx) {
            return Poll::Ready(Err(error));
        }
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if read.is_ready() {
            self.activity.0.reads.fetch_add(1, Ordering::Relaxed);
        }
        read
    }
}

impl Write for ServedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_held(cx))?;
        if self.hold(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        // Not as one slice of a vectored write, whose system call costs more.
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    /// Does not send the head of a 101.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx))?;
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
        ready!(self.poll_held(cx))?;
        if let [head] | [head, ..] = slices
            && self.hold(head)
        {
            return Poll::Ready(Ok(head.len()));
        }
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use hyper::rt::ReadBuf;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::either::Either;

    use super::*;

    const HEAD: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";

    /// Returns a connection that has written the head of a 101, and its peer.
    async fn upgraded(is_hijacked: bool, is_vectored: bool) -> io::Result<(ServedStream, TcpStream)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let peer = TcpStream::connect(listener.local_addr()?).await?;
        let socket = Either::Left(listener.accept().await?.0);
        let (mut stream, _, activity) = served(socket, &HttpLimits::default());
        if is_hijacked {
            activity.hijack();
        }
        let slices = [io::IoSlice::new(HEAD), io::IoSlice::new(b"")];
        let write = |cx: &mut Context<'_>| match is_vectored {
            true => Pin::new(&mut stream).poll_write_vectored(cx, &slices),
            false => Pin::new(&mut stream).poll_write(cx, HEAD),
        };
        let written = poll_fn(write).await?;
        assert_eq!(written, HEAD.len());
        poll_fn(|cx| Pin::new(&mut stream).poll_flush(cx)).await?;
        Ok((stream, peer))
    }

    #[tokio::test]
    async fn the_head_of_the_101_of_a_hijack_goes_to_the_session() -> io::Result<()> {
        for is_vectored in [true, false] {
            let (stream, mut peer) = upgraded(true, is_vectored).await?;
            let (socket, held) = stream.into_parts();
            assert_eq!(held, HEAD);
            drop(socket);
            assert_eq!(peer.read(&mut [0; 64]).await?, 0, "nothing was sent");
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_read_sends_a_head_that_was_held() -> io::Result<()> {
        let (mut stream, mut peer) = upgraded(true, true).await?;
        let mut space = [0; 64];
        let mut buf = ReadBuf::new(&mut space);
        let read = poll_fn(|cx| Poll::Ready(Pin::new(&mut stream).poll_read(cx, buf.unfilled()))).await;
        assert!(read.is_pending());
        let mut head = [0; HEAD.len()];
        peer.read_exact(&mut head).await?;
        assert_eq!(head, HEAD);
        Ok(())
    }

    #[tokio::test]
    async fn the_101_of_another_route_is_sent_at_once() -> io::Result<()> {
        for is_vectored in [true, false] {
            let (stream, mut peer) = upgraded(false, is_vectored).await?;
            let mut head = [0; HEAD.len()];
            peer.read_exact(&mut head).await?;
            assert_eq!(head, HEAD);
            assert!(stream.into_parts().1.is_empty());
        }
        Ok(())
    }
}
