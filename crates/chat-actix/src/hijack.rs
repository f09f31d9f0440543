use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use actix_web::dev::Payload;
use actix_web::{HttpResponse, rt};
use bytes::{Buf, Bytes};
use chat_core::Upgrade;
use chat_websocket::WebSocket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::convert::{answer, switching_protocols};
use crate::pipe::{Reader, Writer, split};

/// Carries out an upgrade: a task waits until the 101 is on its way and runs the session on the request's payload and
/// the response's body. A request without a payload is refused, because actix has seen no upgrade in it.
pub(crate) fn open(upgrade: Upgrade, payload: Payload) -> HttpResponse {
    let Some((reader, writer, body)) = split(upgrade.guard(), payload) else {
        return answer(upgrade.refuse());
    };
    let (answer, ticket) = upgrade.accept();
    let limits = Arc::clone(ticket.limits());
    rt::spawn(ticket.start(async move {
        let stream = Stream { reader, early: Bytes::new(), writer: writer.started().await? };
        let websocket = WebSocket::accept(stream, Bytes::new(), &limits).await;
        Ok::<_, io::Error>(websocket.without_half_close())
    }));
    switching_protocols(&answer, body)
}

/// The two directions as one stream of bytes.
struct Stream {
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
