use std::sync::Arc;

use bytes::Bytes;
use chat_core::{Limits, Message, Upgrade};
use chat_websocket::WebSocket;
use http::Response;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio_util::either::Either;

use crate::{answer, switching_protocols};

/// A connection taken over from hyper: the socket itself or, where that is wrapped (in TLS, say), hyper's
/// own view of it.
pub type Hijacked = WebSocket<Either<TcpStream, TokioIo<Upgraded>>>;

/// Carries an upgrade out: a task waits for the connection and runs the session on it; the response is to be
/// returned to hyper as it is. Without hyper's promise of the connection, the upgrade is refused.
///
/// # Panics
///
/// Outside a tokio runtime.
pub fn hijack<M: Message, B: From<Bytes>>(upgrade: Upgrade<M>, on_upgrade: Option<OnUpgrade>) -> Response<B> {
    let Some(on_upgrade) = on_upgrade else {
        return answer(upgrade.refuse());
    };
    let (answer, ticket) = upgrade.accept();
    let limits = Arc::clone(ticket.limits());
    tokio::spawn(ticket.start(async move { take_over(on_upgrade, &limits).await }));
    switching_protocols(&answer)
}

/// Takes the connection over from hyper once it has written the 101.
///
/// # Errors
///
/// hyper's, if the connection is gone before that.
pub async fn take_over(on_upgrade: OnUpgrade, limits: &Limits) -> hyper::Result<Hijacked> {
    let upgraded = on_upgrade.await?;
    let (stream, early) = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => (Either::Left(parts.io.into_inner()), parts.read_buf),
        // Servers that detect HTTP/2 first wrap the socket in a type of their own.
        Err(upgraded) => match auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
            Ok(parts) => (Either::Left(parts.io.into_inner()), parts.read_buf),
            Err(upgraded) => (Either::Right(TokioIo::new(upgraded)), Bytes::new()),
        },
    };
    Ok(WebSocket::accept(stream, early, limits).await)
}
