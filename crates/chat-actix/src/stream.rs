//! The socket of a connection while actix serves it, and its requests.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_http::Extensions;
use actix_web::HttpRequest;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use bytes::Bytes;
use chat_core::{HttpLimits, PlainConnection, RequestWait};
use chat_websocket::{Accepted, AcceptedSocket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;

/// The socket of a connection as actix sees it. It limits the time for each request head after the first one, because
/// actix limits only the time for the first. A session can take the socket out of it.
pub(crate) struct ServedStream {
    connection: Rc<ServedConnection>,
    wait: RequestWait,
}

/// A connection that [`serve`](crate::serve) has accepted.
pub(crate) struct ServedConnection {
    /// `None` once a session has it.
    socket: RefCell<Option<AcceptedSocket>>,
    takeover: Cell<Takeover>,
    /// `None` if sessions run on the runtime of actix's worker.
    runtime: Option<Handle>,
    /// `None` once the connection is no plain one any more.
    plain: Cell<Option<PlainConnection>>,
    begun: Cell<u64>,
    ended: Cell<u64>,
}

/// The progress of a session that takes the socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Takeover {
    /// No session takes the socket.
    #[default]
    None,
    /// The 101 is in the buffer of actix. No more bytes are read, so that the session reads them.
    Answering,
    /// The 101 has been written.
    Answered,
}

/// A request that has not been answered completely.
pub(crate) struct OpenRequest(Rc<ServedConnection>);

/// The body of a response. Dropping it ends the request.
struct LastPart {
    body: BoxBody,
    _request: OpenRequest,
}

impl ServedStream {
    pub(crate) fn new(accepted: Accepted, limits: &HttpLimits, runtime: Option<Handle>) -> Self {
        let Accepted { socket, plain, client: _ } = accepted;
        let connection = Rc::new(ServedConnection {
            socket: RefCell::new(Some(socket)),
            takeover: Cell::default(),
            runtime,
            plain: Cell::new(Some(plain)),
            begun: Cell::default(),
            ended: Cell::default(),
        });
        Self { connection, wait: RequestWait::new(limits) }
    }

    /// Makes this connection known to each of its requests.
    pub(crate) fn share(&self, data: &mut Extensions) {
        data.insert(Rc::clone(&self.connection));
    }

    /// Polls the socket. Returns `taken` if a session has it.
    fn poll_socket<T>(
        &self,
        taken: io::Result<T>,
        poll: impl FnOnce(Pin<&mut AcceptedSocket>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut *self.connection.socket.borrow_mut() {
            Some(socket) => poll(Pin::new(socket)),
            None => Poll::Ready(taken),
        }
    }
}

impl Drop for ServedStream {
    // A request that the host keeps must not keep the socket.
    fn drop(&mut self) {
        drop(self.connection.socket.take());
        drop(self.connection.plain.take());
    }
}

impl ServedConnection {
    /// Returns the connection of a request. `None` if a server of the host accepted it.
    pub(crate) fn of(request: &HttpRequest) -> Option<Rc<Self>> {
        request.conn_data::<Rc<Self>>().cloned()
    }

    /// Returns the runtime for the session of this connection.
    pub(crate) fn runtime(&self) -> Handle {
        self.runtime.clone().unwrap_or_else(Handle::current)
    }

    pub(crate) fn takeover(&self) -> Takeover {
        self.takeover.get()
    }

    /// Begins a takeover, once the 101 is in the buffer of actix.
    pub(crate) fn begin_takeover(&self) {
        self.takeover.set(Takeover::Answering);
    }

    /// Takes the socket out of actix, which then ends its part of the connection.
    pub(crate) fn take_socket(&self) -> Option<AcceptedSocket> {
        self.socket.take()
    }

    /// Returns the number of requests. `None` before the first one and while one is open.
    fn answered(&self) -> Option<u64> {
        let begun = self.begun.get();
        (begun > 0 && begun == self.ended.get()).then_some(begun)
    }
}

impl OpenRequest {
    /// Begins a request. `None` if a server of the host accepted its connection.
    pub(crate) fn begin(request: &HttpRequest) -> Option<Self> {
        let connection = ServedConnection::of(request)?;
        connection.begun.update(|begun| begun + 1);
        Some(Self(connection))
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
        if self.connection.takeover() != Takeover::None {
            // Writing the 101 wakes the task.
            return Poll::Pending;
        }
        let read = self.poll_socket(Ok(()), |socket| socket.poll_read(cx, buf));
        match self.connection.answered() {
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
        let taken = Err(io::ErrorKind::BrokenPipe.into());
        self.poll_socket(taken, |socket| socket.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // actix flushes once its whole buffer has been written.
        if self.connection.takeover() == Takeover::Answering {
            self.connection.takeover.set(Takeover::Answered);
            cx.waker().wake_by_ref();
        }
        self.poll_socket(Ok(()), |socket| socket.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_socket(Ok(()), |socket| socket.poll_shutdown(cx))
    }
}
