use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Slices that are written at once.
const MAX_SLICES: usize = 64;

/// A hijacked byte stream. The bytes that were read with the request come first, so that they are not lost.
///
/// Frames wait, shared and not copied, until they are flushed, and no memory is kept after that. The stream counts the
/// bytes that the transport has taken, and limits the bytes that are read for one message.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    stream: S,
    early: Bytes,
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    written: u64,
    allowance: usize,
}

impl<S> Wire<S> {
    pub(crate) fn new(stream: S, early: &Bytes) -> Self {
        // Copied, because even an empty slice would keep the buffer of the request alive.
        Self {
            stream,
            early: Bytes::copy_from_slice(early),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            written: 0,
            allowance: 0,
        }
    }

    /// Adds bytes to the next flush.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.waiting_bytes += bytes.len();
        self.waiting.push_back(bytes);
    }

    /// Returns the bytes that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting_bytes
    }

    /// Records that the transport has taken this many bytes.
    fn took(&mut self, mut taken: usize) {
        self.written += taken as u64;
        self.waiting_bytes -= taken;
        while let Some(first) = self.waiting.front_mut() {
            if taken < first.len() {
                first.advance(taken);
                return;
            }
            taken -= first.len();
            self.waiting.pop_front();
        }
        // Frees the memory that a burst needed.
        self.waiting = VecDeque::new();
    }

    /// Returns the bytes that the transport has taken.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Allows this many bytes to be read before the next call.
    pub(crate) fn allow(&mut self, bytes: usize) {
        self.allowance = bytes;
    }
}

/// The fragments of a message do not end within the bytes that a message may cost.
#[derive(Debug, thiserror::Error)]
#[error("the fragments of a message do not end")]
pub(crate) struct UnfinishedMessage;

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.allowance == 0 {
            return Poll::Ready(Err(io::Error::other(UnfinishedMessage)));
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
            // An error, because without bytes the caller would read again.
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.allowance = self.allowance.saturating_sub(read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// Writes the bytes that wait.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let pieces = self.waiting.len().min(MAX_SLICES);
            for (slice, bytes) in slices.iter_mut().zip(&self.waiting) {
                *slice = IoSlice::new(bytes);
            }
            let taken = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..pieces]))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.took(taken);
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Ends the stream, after the bytes that wait.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn waiting_bytes_are_written_in_order_and_free_their_memory() {
        let (server, mut peer) = duplex(7);
        let mut wire = Wire::new(server, &Bytes::new());
        let mut expected: Vec<u8> = Vec::new();
        for n in 0..300_usize {
            let bytes = vec![u8::try_from(n % 251).unwrap(); n % 13 + 1];
            expected.extend(&bytes);
            wire.push(bytes.into());
        }
        assert_eq!(wire.waiting(), expected.len());
        let mut read = vec![0; expected.len()];
        let flush = poll_fn(|cx| wire.poll_flush(cx));
        let (flushed, received) = tokio::join!(flush, peer.read_exact(&mut read));
        assert!(flushed.is_ok() && received.is_ok());
        assert_eq!(read, expected);
        assert_eq!((wire.waiting(), wire.written()), (0, expected.len() as u64));
        assert_eq!(wire.waiting.capacity(), 0);
    }

    #[tokio::test]
    async fn early_bytes_are_read_first_and_count_towards_the_read_limit() {
        let (server, mut peer) = duplex(64);
        let mut wire = Wire::new(server, &Bytes::from_static(b"early "));
        wire.allow(11);
        peer.write_all(b"late and more").await.unwrap();
        let mut read = [0; 11];
        wire.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"early late ");
        let refused = wire.read_u8().await.unwrap_err();
        assert!(refused.get_ref().unwrap().is::<UnfinishedMessage>());
    }
}
