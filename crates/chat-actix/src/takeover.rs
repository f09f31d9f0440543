//! The way of a socket from actix to a session.
//!
//! A session gets the socket after the 101, and actix then ends its part of the connection: its task and its buffers.
//! The bytes that actix has read after the head go to the session too. actix keeps them in its own buffer and in the
//! payload of the request. From the first poll of the body on, actix reads no more. When it polls the body again, it
//! has moved all bytes of its buffer to the payload before.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::Payload;
use bytes::{Bytes, BytesMut};
use chat_core::GuardedRequest;
use chat_websocket::{AcceptedSocket, rebind};
use futures_util::Stream as _;
use tokio::sync::oneshot;

use crate::error::ConnectionError;
use crate::stream::{ServedConnection, Takeover};

/// Returns the body that must go out with the 101. In addition, returns the socket once actix has given it up, with the
/// bytes that were read from it after the head. The socket then belongs to the runtime that awaits it.
pub(crate) fn open(
    connection: Rc<ServedConnection>,
    guard: GuardedRequest,
    payload: Payload,
) -> (TakeoverBody, impl Future<Output = io::Result<Taken>> + Send) {
    let (session, taken) = oneshot::channel();
    let body = TakeoverBody { connection, guard, payload, early: BytesMut::new(), session: Some(session) };
    let socket = async {
        let taken = taken.await.map_err(|_| io::Error::other(ConnectionError::ResponseDropped));
        let (socket, early): Taken = taken?;
        Ok((rebind(socket)?, early))
    };
    (body, socket)
}

/// A socket, and the bytes that were read from it after the head.
pub(crate) type Taken = (AcceptedSocket, Bytes);

/// The body of a 101. Its end gives the socket to the session.
pub(crate) struct TakeoverBody {
    connection: Rc<ServedConnection>,
    /// The guard is notified if a layer replaces this body.
    guard: GuardedRequest,
    payload: Payload,
    early: BytesMut,
    session: Option<oneshot::Sender<Taken>>,
}

impl TakeoverBody {
    /// Reads what actix has moved to the payload.
    fn drain_payload(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(Ok(bytes))) = Pin::new(&mut self.payload).poll_next(cx) {
            self.early.extend_from_slice(&bytes);
        }
    }

    /// Gives the socket to the session. A session that has ended meanwhile drops it.
    fn hand_over(&mut self) {
        if let (Some(socket), Some(session)) = (self.connection.take_socket(), self.session.take()) {
            let _taken = session.send((socket, self.early.split().freeze())).is_ok();
        }
    }
}

impl MessageBody for TakeoverBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        self.drain_payload(cx);
        match self.connection.takeover() {
            Takeover::None => self.connection.begin_takeover(),
            Takeover::Answering => {}
            Takeover::Answered => {
                self.hand_over();
                return Poll::Ready(None);
            }
        }
        Poll::Pending
    }
}

impl Drop for TakeoverBody {
    fn drop(&mut self) {
        self.guard.abandon();
    }
}
