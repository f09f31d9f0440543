use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A taken-over byte stream: the bytes that were read with the request come first, so they cannot be lost.
///
/// It counts what it wrote, and lets only so much be read without a message coming of it.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    stream: S,
    early: Bytes,
    written: u64,
    allowance: usize,
}

impl<S> Wire<S> {
    pub(crate) fn new(stream: S, early: &Bytes) -> Self {
        // Copied, since even no bytes at all would hold on to the buffer that the request was read into.
        Self { stream, early: Bytes::copy_from_slice(early), written: 0, allowance: 0 }
    }

    /// Bytes that the transport has taken.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Lets so many bytes more be read before the next call.
    pub(crate) fn allow(&mut self, bytes: usize) {
        self.allowance = bytes;
    }
}

/// More bytes came than any message needs.
#[derive(Debug)]
pub(crate) struct Endless;

impl std::fmt::Display for Endless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the fragments of a message do not end")
    }
}

impl std::error::Error for Endless {}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.allowance == 0 {
            return Poll::Ready(Err(io::Error::other(Endless)));
        }
        let before = buf.filled().len();
        if self.early.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        } else {
            let take = self.early.len().min(buf.remaining());
            buf.put_slice(&self.early[..take]);
            self.early.advance(take);
            if self.early.is_empty() {
                self.early = Bytes::new();
            }
        }
        let read = buf.filled().len() - before;
        if read == 0 && buf.remaining() > 0 {
            // As an error: at a plain end tungstenite would stop writing, too.
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.allowance = self.allowance.saturating_sub(read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.written += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
