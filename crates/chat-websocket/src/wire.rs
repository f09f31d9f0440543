use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use chat_core::frames::put_header;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Slices that are written at once.
const MAX_SLICES: usize = 64;

/// The limit of the bytes that are copied for one flush.
const MAX_COPIED: usize = 4096;

/// The first space for copies: a reply and a short message.
const COPIED_BYTES: usize = 512;

/// The longest header of a frame that a server sends (RFC 6455, section 5.2).
const HEADER_BYTES: usize = 10;

/// A hijacked byte stream.
///
/// Frames wait until they are flushed, and no memory is kept after that. Short frames are copied, because one slice is
/// cheaper to write than several. The other ones are shared. The stream counts the bytes that the transport has taken,
/// and limits the bytes that are read for one message.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    stream: S,
    /// The first bytes that wait.
    copied: BytesMut,
    /// The bytes that wait after those.
    shared: VecDeque<Bytes>,
    waiting_bytes: usize,
    written: u64,
    allowance: usize,
}

impl<S> Wire<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            copied: BytesMut::new(),
            shared: VecDeque::new(),
            waiting_bytes: 0,
            written: 0,
            allowance: 0,
        }
    }

    /// Adds a whole frame to the next flush.
    pub(crate) fn push_frame(&mut self, first: u8, payload: Bytes) {
        let before = self.copied.len();
        if !self.shared.is_empty() || before + payload.len() > MAX_COPIED {
            return self.push_shared(first, payload);
        }
        if before == 0 {
            self.copied = BytesMut::with_capacity(COPIED_BYTES.max(payload.len() + HEADER_BYTES));
        }
        put_header(&mut self.copied, first, payload.len());
        self.copied.extend_from_slice(&payload);
        self.waiting_bytes += self.copied.len() - before;
    }

    /// Adds a frame whose payload is not copied.
    #[cold]
    fn push_shared(&mut self, first: u8, payload: Bytes) {
        let mut header = BytesMut::new();
        put_header(&mut header, first, payload.len());
        self.push(header.freeze());
        self.push(payload);
    }

    /// Adds bytes to the next flush.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.waiting_bytes += bytes.len();
        self.shared.push_back(bytes);
    }

    /// Returns the bytes that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting_bytes
    }

    /// Records that the transport has taken this many bytes.
    fn took(&mut self, taken: usize) {
        self.written += taken as u64;
        self.waiting_bytes -= taken;
        if self.waiting_bytes > 0 {
            return self.skip(taken);
        }
        // Frees the memory that a burst needed.
        self.copied = BytesMut::new();
        self.shared = VecDeque::new();
    }

    /// Takes this many of the bytes that wait, of which some are left.
    #[cold]
    fn skip(&mut self, mut taken: usize) {
        let copied = taken.min(self.copied.len());
        self.copied.advance(copied);
        taken -= copied;
        while let Some(first) = self.shared.front_mut() {
            if taken < first.len() {
                first.advance(taken);
                return;
            }
            taken -= first.len();
            self.shared.pop_front();
        }
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
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
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
        while self.waiting_bytes > 0 {
            let taken = if self.shared.is_empty() {
                ready!(Pin::new(&mut self.stream).poll_write(cx, &self.copied))?
            } else {
                ready!(self.poll_write_slices(cx))?
            };
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.took(taken);
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_write_slices(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let mut count = 0;
        let copied = (!self.copied.is_empty()).then_some(&self.copied[..]);
        let pieces = copied.into_iter().chain(self.shared.iter().map(|bytes| &bytes[..]));
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..count])
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
        let mut wire = Wire::new(server);
        let mut expected: Vec<u8> = Vec::new();
        for n in 0..300_usize {
            let bytes = vec![u8::try_from(n % 251).unwrap(); n % 113];
            let mut frame = BytesMut::new();
            put_header(&mut frame, 0x81, bytes.len());
            expected.extend(frame.iter().chain(&bytes));
            wire.push_frame(0x81, bytes.into());
        }
        assert!(!wire.copied.is_empty() && !wire.shared.is_empty());
        wire.push(Bytes::from_static(b"rest"));
        expected.extend(b"rest");
        assert_eq!(wire.waiting(), expected.len());
        let mut read = vec![0; expected.len()];
        let flush = poll_fn(|cx| wire.poll_flush(cx));
        let (flushed, received) = tokio::join!(flush, peer.read_exact(&mut read));
        assert!(flushed.is_ok() && received.is_ok());
        assert_eq!(read, expected);
        assert_eq!((wire.waiting(), wire.written()), (0, expected.len() as u64));
        assert_eq!((wire.copied.capacity(), wire.shared.capacity()), (0, 0));
    }

    #[tokio::test]
    async fn no_more_bytes_are_read_than_allowed() {
        let (server, mut peer) = duplex(64);
        let mut wire = Wire::new(server);
        wire.allow(5);
        peer.write_all(b"late and more").await.unwrap();
        let mut read = [0; 5];
        wire.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"late ");
        let refused = wire.read_u8().await.unwrap_err();
        assert!(refused.get_ref().unwrap().is::<UnfinishedMessage>());
    }
}
