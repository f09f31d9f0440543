//! The socket of a connection, and its state while it serves plain requests.

use std::cell::Cell;
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_http::Extensions;
use actix_web::HttpRequest;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::rt::net::TcpStream;
use bytes::Bytes;
use chat_core::{HttpLimits, PlainConnection, RequestWait};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The socket of a connection. It limits the time for each request head after the first one, because actix limits only
/// the time for the first.
pub(crate) struct ServedStream {
    stream: TcpStream,
    requests: Rc<Requests>,
    wait: RequestWait,
}

/// The requests of a connection.
pub(crate) struct Requests {
    /// `None` once the connection is no plain one any more.
    plain: Cell<Option<PlainConnection>>,
    begun: Cell<u64>,
    ended: Cell<u64>,
}

/// A request that has not been answered completely.
pub(crate) struct OpenRequest(Rc<Requests>);

/// The body of a response. Dropping it ends the request.
struct LastPart {
    body: BoxBody,
    _request: OpenRequest,
}

impl ServedStream {
    pub(crate) fn new(stream: TcpStream, plain: PlainConnection, limits: &HttpLimits) -> Self {
        let plain = Cell::new(Some(plain));
        Self {
            stream,
            requests: Rc::new(Requests { plain, begun: Cell::default(), ended: Cell::default() }),
            wait: RequestWait::new(limits),
        }
    }

    /// Makes the requests of this connection known to each of them.
    pub(crate) fn share(&self, data: &mut Extensions) {
        data.insert(Rc::clone(&self.requests));
    }
}

impl Requests {
    /// Returns the number of requests. `None` before the first one and while one is open.
    fn answered(&self) -> Option<u64> {
        let begun = self.begun.get();
        (begun > 0 && begun == self.ended.get()).then_some(begun)
    }
}

impl OpenRequest {
    /// Begins a request. `None` if a server of the host accepted its connection.
    pub(crate) fn begin(request: &HttpRequest) -> Option<Self> {
        let requests = Rc::clone(request.conn_data::<Rc<Requests>>()?);
        requests.begun.update(|begun| begun + 1);
        Some(Self(requests))
    }

    /// Returns the body of the response, which ends this request. A connection that is upgraded serves no more
    /// requests.
    pub(crate) fn answer(self, body: BoxBody, is_upgraded: bool) -> BoxBody {
        if !is_upgraded {
            return BoxBody::new(LastPart { body, _request: self });
        }
        self.0.plain.take();
        self.0.begun.update(|begun| begun + 1);
        body
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.ended.update(|ended| ended + 1);
    }
}

impl MessageBody for LastPart {
    type Error = Box<dyn Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

impl AsyncRead for ServedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        match self.requests.answered() {
            None => self.wait.end(),
            Some(requests) if read.is_ready() => self.wait.note_bytes(requests),
            Some(requests) => {
                ready!(self.wait.poll_late(cx, requests));
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl AsyncWrite for ServedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // A peer that reads the last response is not idle.
        self.wait.end();
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
