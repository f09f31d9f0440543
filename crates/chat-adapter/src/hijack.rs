use std::sync::Arc;

use bytes::Bytes;
use chat_core::{Limits, Upgrade};
use chat_websocket::WebSocket;
use http::Response;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio_util::either::Either;

use crate::connection::ServedStream;
use crate::{SharedSocket, answer, switching_protocols};

/// A WebSocket on a connection that was hijacked from hyper: on the socket itself, or on hyper's view of it where the
/// socket is wrapped, for example in TLS.
pub type HyperWebSocket = WebSocket<Either<SharedSocket, TokioIo<Upgraded>>>;

/// The mark of a 101 after which the session takes the socket. It is in the extensions of the response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hijacked;

/// Carries out an upgrade: a task waits for the connection and runs the session on it. The response must reach hyper
/// unchanged. Without hyper's `OnUpgrade`, the upgrade is refused.
///
/// # Panics
///
/// Outside a tokio runtime.
pub fn hijack<B: From<Bytes>>(upgrade: Upgrade, on_upgrade: Option<OnUpgrade>) -> Response<B> {
    let Some(on_upgrade) = on_upgrade else {
        return answer(upgrade.refuse());
    };
    let (answer, ticket) = upgrade.accept();
    let limits = Arc::clone(ticket.limits());
    tokio::spawn(ticket.start(async move { websocket(on_upgrade, &limits).await }));
    let mut response = switching_protocols(&answer);
    response.extensions_mut().insert(Hijacked);
    response
}

/// Takes the connection from hyper once hyper has written the 101.
///
/// # Errors
///
/// hyper's error, if the connection is gone before that.
pub async fn websocket(on_upgrade: OnUpgrade, limits: &Limits) -> hyper::Result<HyperWebSocket> {
    let upgraded = on_upgrade.await?;
    let (stream, held, early) = match upgraded.downcast::<ServedStream>() {
        Ok(parts) => {
            let (stream, held) = parts.io.into_parts();
            (Ok(stream), held, parts.read_buf)
        }
        Err(upgraded) => {
            let (stream, early) = from_own_server(upgraded);
            (stream, Bytes::new(), early)
        }
    };
    let socket = match stream {
        Ok(stream) => SharedSocket::new(stream),
        Err(upgraded) => return Ok(WebSocket::accept(Either::Right(upgraded), early, limits).await),
    };
    let writer = socket.direct();
    Ok(WebSocket::accept(Either::Left(socket), early, limits).await.with_direct(writer).with_unsent(held))
}

/// Returns the socket of a server that is the host's own, and the bytes that were read from it.
fn from_own_server(upgraded: Upgraded) -> (Result<TcpStream, TokioIo<Upgraded>>, Bytes) {
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => return (Ok(parts.io.into_inner()), parts.read_buf),
        Err(upgraded) => upgraded,
    };
    // Servers that detect HTTP/2 first wrap the socket in a type of their own.
    match auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
        Ok(parts) => (Ok(parts.io.into_inner()), parts.read_buf),
        Err(upgraded) => (Err(TokioIo::new(upgraded)), Bytes::new()),
    }
}
