use std::sync::Arc;

use bytes::Bytes;
use chat_core::{Limits, Upgrade};
use chat_websocket::{TlsSocket, WebSocket};
use http::Response;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
#[cfg(feature = "auto")]
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio_util::either::Either;

use crate::connection::ServedStream;
use crate::{SharedSocket, answer, switching_protocols};

/// A WebSocket on a connection that was hijacked from hyper: on the socket itself, on its TLS stream, or on hyper's
/// view of it where a server of the host has wrapped the socket.
pub type HyperWebSocket = WebSocket<Either<SharedSocket, Either<TlsSocket, TokioIo<Upgraded>>>>;

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
    Ok(match upgraded.downcast::<ServedStream>() {
        Ok(parts) => {
            let (socket, held) = parts.io.into_parts();
            let websocket = match socket {
                Either::Left(stream) => on_socket(stream, parts.read_buf, limits).await,
                // Rooms cannot write to it, because each byte has to pass the state of TLS.
                Either::Right(tls) => {
                    WebSocket::accept(Either::Right(Either::Left(tls)), parts.read_buf, limits).await
                }
            };
            websocket.with_unsent(held)
        }
        Err(upgraded) => match from_own_server(upgraded) {
            (Ok(stream), early) => on_socket(stream, early, limits).await,
            (Err(wrapped), early) => {
                WebSocket::accept(Either::Right(Either::Right(wrapped)), early, limits).await
            }
        },
    })
}

/// Returns the WebSocket on a socket that rooms can write to.
async fn on_socket(stream: TcpStream, early: Bytes, limits: &Limits) -> HyperWebSocket {
    let socket = SharedSocket::new(stream);
    let writer = socket.direct();
    WebSocket::accept(Either::Left(socket), early, limits).await.with_direct(writer)
}

/// Returns the socket of a server that is the host's own, and the bytes that were read from it.
fn from_own_server(upgraded: Upgraded) -> (Result<TcpStream, TokioIo<Upgraded>>, Bytes) {
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => return (Ok(parts.io.into_inner()), parts.read_buf),
        Err(upgraded) => upgraded,
    };
    // Servers that detect HTTP/2 first wrap the socket in a type of their own.
    #[cfg(feature = "auto")]
    let upgraded = match auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
        Ok(parts) => return (Ok(parts.io.into_inner()), parts.read_buf),
        Err(upgraded) => upgraded,
    };
    (Err(TokioIo::new(upgraded)), Bytes::new())
}
