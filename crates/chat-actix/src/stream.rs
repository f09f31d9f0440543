//! The socket of a connection, and its state while it serves plain requests.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_http::Extensions;
use actix_web::HttpRequest;
use actix_web::rt::net::TcpStream;
use chat_core::PlainConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The socket of a connection.
pub(crate) struct ServedStream {
    stream: TcpStream,
    requests: Rc<Requests>,
}

/// The state of a connection that its requests change.
pub(crate) struct Requests {
    /// `None` once the connection is no plain one any more.
    plain: Cell<Option<PlainConnection>>,
}

impl ServedStream {
    pub(crate) fn new(stream: TcpStream, plain: PlainConnection) -> Self {
        Self { stream, requests: Rc::new(Requests { plain: Cell::new(Some(plain)) }) }
    }

    /// Makes the state known to the requests of this connection.
    pub(crate) fn share(&self, data: &mut Extensions) {
        data.insert(Rc::clone(&self.requests));
    }
}

impl Requests {
    /// Returns the state of the connection of a request. `None` if a server of the host accepted the connection.
    pub(crate) fn of(request: &HttpRequest) -> Option<Rc<Self>> {
        request.conn_data::<Rc<Self>>().cloned()
    }

    /// Notes that the connection was upgraded: it serves no more requests.
    pub(crate) fn end_plain(&self) {
        self.plain.take();
    }
}

impl AsyncRead for ServedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for ServedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
