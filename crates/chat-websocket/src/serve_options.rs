use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use chat_core::{Chat, HttpLimits, PlainConnection, ProxyProtocol};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_util::either::Either;

use crate::{Tls, TlsSocket};

/// The socket of an accepted connection, without or with TLS.
pub type AcceptedSocket = Either<TcpStream, TlsSocket>;

/// Options of a server that accepts connections itself.
///
/// By default, connections are plain TCP connections of clients. A connection with both options begins with the PROXY
/// header, and TLS follows.
#[derive(Clone, Debug, Default)]
pub struct ServeOptions {
    proxies: Option<ProxyProtocol>,
    tls: Option<Tls>,
}

/// An accepted connection.
#[derive(Debug)]
pub struct Accepted {
    /// The socket. The next byte that is read from it is the first of a request.
    pub socket: AcceptedSocket,
    /// The address of the client, which a PROXY header may name.
    pub client: SocketAddr,
    /// The place among the plain connections of this address.
    pub plain: PlainConnection,
}

impl ServeOptions {
    /// Takes the address of a client from the PROXY header with which each connection of a proxy begins. A connection
    /// of a proxy without a valid header is closed.
    #[must_use]
    pub fn proxy_protocol(mut self, proxies: ProxyProtocol) -> Self {
        self.proxies = Some(proxies);
        self
    }

    /// Serves TLS only. A client that sends a plain request gets an answer with status 400.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Accepts a connection: reads its PROXY header, counts it, and does its TLS handshake. Returns `None` if the
    /// connection must be closed, and logs the cause.
    ///
    /// The header and the handshake each have [`HttpLimits::head_timeout`](chat_core::HttpLimits::head_timeout).
    pub async fn accept(&self, mut stream: TcpStream, peer: SocketAddr, chat: &Chat) -> Option<Accepted> {
        let limits = &chat.limits().http;
        let client = match &self.proxies {
            None => peer,
            Some(proxies) => proxies.client(&mut stream, peer, limits).await?,
        };
        let plain = chat.accept(client).ok()?;
        let socket = match &self.tls {
            None => Either::Left(stream),
            Some(tls) => Either::Right(tls.accept(stream, client, limits).await?),
        };
        Some(Accepted { socket, client, plain })
    }
}

/// Waits for [`HttpLimits::accept_pause`], so that connections between the accept loop of a framework and its workers
/// arrive there.
pub async fn wait_for_accepted(limits: &HttpLimits) {
    sleep(limits.accept_pause).await;
}

/// Moves a socket to the runtime of the caller.
///
/// # Errors
///
/// An error of the system.
///
/// # Panics
///
/// Outside a tokio runtime.
pub fn rebind(socket: AcceptedSocket) -> io::Result<AcceptedSocket> {
    match socket {
        Either::Left(stream) => Ok(Either::Left(TcpStream::from_std(stream.into_std()?)?)),
        Either::Right(mut tls) => {
            let (stream, _) = tls.get_mut();
            // A second descriptor, because the stream cannot be taken out of the TLS stream and put back.
            let duplicate = stream.as_fd().try_clone_to_owned()?;
            *stream = TcpStream::from_std(duplicate.into())?;
            Ok(Either::Right(tls))
        }
    }
}
