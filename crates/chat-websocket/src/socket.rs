//! The socket of a hijacked connection, which its session and its rooms share.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use chat_core::{ConnectionLimits, DirectWrite, DirectlyWritten};
#[cfg(target_os = "linux")]
use rustix::net::{SendFlags, send};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Sends without delay, limits the output that the kernel holds and, on Linux, the time for which a peer may read
/// nothing. A session has its own limit for this time, a plain response has none.
///
/// On Linux, the connections of a listener inherit its options.
///
/// # Errors
///
/// An error of the system, usually because the peer is gone.
pub fn set_options<S>(socket: &S, limits: &ConnectionLimits) -> io::Result<()>
where
    for<'a> SockRef<'a>: From<&'a S>,
{
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    if limits.send_buffer_bytes > 0 {
        socket.set_send_buffer_size(limits.send_buffer_bytes)?;
    }
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(limits.abandon_timeout()))?;
    Ok(())
}

/// A TCP socket with two kinds of users: the one connection that reads and writes it as a stream, and rooms that write
/// to it [directly](DirectWrite). They never write at the same time.
#[derive(Debug)]
pub struct SharedSocket {
    read: OwnedReadHalf,
    write: Arc<Writer>,
}

#[derive(Debug)]
struct Writer(OwnedWriteHalf);

impl SharedSocket {
    /// Shares a socket.
    pub fn new(stream: TcpStream) -> Self {
        let (read, write) = stream.into_split();
        Self { read, write: Arc::new(Writer(write)) }
    }

    /// Returns the writer for rooms.
    pub fn direct(&self) -> Arc<dyn DirectWrite> {
        Arc::<Writer>::clone(&self.write)
    }

    fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let stream = self.write.0.as_ref();
        loop {
            ready!(stream.poll_write_ready(cx))?;
            match write(stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }
}

impl Writer {
    // Without a look at the readiness that tokio knows, which is one more place in memory for each member of a room. The
    // socket is rarely full, and then the session finds that out in the same way and waits.
    #[cfg(target_os = "linux")]
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let socket: &TcpStream = self.0.as_ref();
        Ok(send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }
}

impl DirectWrite for Writer {
    fn try_write(&self, frames: &Bytes) -> io::Result<DirectlyWritten> {
        self.write(frames).map(DirectlyWritten::Bytes)
    }
}

impl AsyncRead for SharedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, buf)
    }
}

impl AsyncWrite for SharedSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.write.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.poll_write_with(cx, |stream| stream.try_write(bytes))
            }
            written => Poll::Ready(written),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream: &TcpStream = self.write.0.as_ref();
        Poll::Ready(SockRef::from(stream).shutdown(Shutdown::Write))
    }
}
