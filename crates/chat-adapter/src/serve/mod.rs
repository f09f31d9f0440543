use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use chat_core::{Chat, Limits, LogThrottle, ProxyProtocol};
use http::{Extensions, Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tower_service::Service;
use tracing::{debug, info, warn};

use crate::connection::served;

/// Bytes of a connection's read buffer below which hyper panics.
const HYPER_MIN_BUFFER_BYTES: usize = 8 * 1024;

/// Serves HTTP/1.1 on `listener` until `stop` is ready.
///
/// The peer's [`SocketAddr`] is in the extensions of each request. A request head has
/// [`HttpLimits::head_timeout`](chat_core::HttpLimits::head_timeout) to arrive and
/// [`HttpLimits::head_buffer_bytes`](chat_core::HttpLimits::head_buffer_bytes) at most. Between two requests, a
/// connection may be idle for [`HttpLimits::idle_timeout`](chat_core::HttpLimits::idle_timeout). The kernel holds
/// [`ConnectionLimits::send_buffer_bytes`](chat_core::ConnectionLimits::send_buffer_bytes) of output. On Linux, a peer
/// that reads nothing for [`ConnectionLimits::abandon_timeout`](chat_core::ConnectionLimits::abandon_timeout) loses the
/// connection. A connection of an address that has
/// [`ConnectionLimits::max_plain_per_address`](chat_core::ConnectionLimits::max_plain_per_address) plain ones is closed
/// at once. When the process has no file descriptor left, accepting pauses.
///
/// `stop` ends accepting, not the sessions: [`Chat::drain`] does that.
///
/// # Errors
///
/// The error of a listener that can accept no more connections.
pub async fn serve<S, B>(
    listener: TcpListener,
    service: S,
    chat: &Chat,
    stop: impl Future<Output = ()>,
) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    serve_proxied(listener, None, service, chat, stop).await
}

/// Serves as [`serve`] does. With `proxies`, the peer of a connection is the client that its PROXY header names, and a
/// connection of a proxy without a valid header is closed.
///
/// # Errors
///
/// As [`serve`].
pub async fn serve_proxied<S, B>(
    listener: TcpListener,
    proxies: Option<ProxyProtocol>,
    service: S,
    chat: &Chat,
    stop: impl Future<Output = ()>,
) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    serve_with(listener, proxies, service, chat, stop, |_, _| {}).await
}

/// Serves as [`serve_proxied`] does, and has `extend` add to the extensions of each request.
///
/// # Errors
///
/// As [`serve`].
pub async fn serve_with<S, B>(
    listener: TcpListener,
    proxies: Option<ProxyProtocol>,
    service: S,
    chat: &Chat,
    stop: impl Future<Output = ()>,
    extend: impl Fn(&mut Extensions, SocketAddr) + Clone + Send + 'static,
) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let limits = chat.limits();
    let mut http = http1::Builder::new();
    http.header_read_timeout(limits.http.head_timeout)
        .max_buf_size(limits.http.head_buffer_bytes().max(HYPER_MIN_BUFFER_BYTES));
    let (stopping, _) = watch::channel(false);
    let (accept_failures, refusals) = (LogThrottle::default(), Arc::new(LogThrottle::default()));
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let (mut stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                pause_after(error, limits, &accept_failures).await?;
                continue;
            }
        };
        configure(&stream, limits);
        let (service, extend) = (TowerToHyperService::new(service.clone()), extend.clone());
        let (mut http, proxies, limits) = (http.clone(), proxies.clone(), limits.http.clone());
        let (mut stopped, refusals, chat) = (stopping.subscribe(), Arc::clone(&refusals), chat.clone());
        tokio::spawn(async move {
            let client = match proxies {
                None => Some(peer),
                Some(proxies) => tokio::select! {
                    client = proxies.client(&mut stream, peer, &limits) => client,
                    _ = stopped.changed() => None,
                },
            };
            let Some(peer) = client else { return };
            // It counts until it ends or becomes a session.
            let Ok(_plain) = chat.accept(peer) else { return };
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(peer);
                extend(request.extensions_mut(), peer);
                service.call(request)
            });
            let (stream, timer) = served(stream, &limits);
            let connection = http.timer(timer).serve_connection(stream, service).with_upgrades();
            let mut connection = pin!(connection);
            let served = tokio::select! {
                served = connection.as_mut() => served,
                _ = stopped.changed() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            match served {
                Err(error) if error.is_parse() => {
                    if let Some(suppressed) = refusals.permit(limits.log_interval) {
                        info!(%peer, cause = %error, suppressed, "malformed request refused");
                    }
                }
                Err(error) => debug!(%error, "http connection failed"),
                Ok(()) => {}
            }
        });
    }
    // The connections that are left are plain requests. A slow client must not hold up the end.
    stopping.send_replace(true);
    let _unfinished = timeout(limits.connection.close_timeout, stopping.closed()).await;
    Ok(())
}

/// Sends without delay, limits the output that the kernel holds and, on Linux, the time for which a peer may read
/// nothing. A session has its own limit for this time, a plain response has none.
fn configure(stream: &TcpStream, limits: &Limits) {
    let (socket, limits) = (SockRef::from(stream), &limits.connection);
    let configured = stream.set_nodelay(true).and_then(|()| match limits.send_buffer_bytes {
        0 => Ok(()),
        bytes => socket.set_send_buffer_size(bytes),
    });
    #[cfg(target_os = "linux")]
    let configured = configured.and_then(|()| socket.set_tcp_user_timeout(Some(limits.abandon_timeout())));
    // It fails only on a socket that is already closed, and the next read returns that error.
    if let Err(error) = configured {
        debug!(%error, "socket option failed");
    }
}

/// Pauses before the next attempt to accept, if another attempt can succeed.
async fn pause_after(error: io::Error, limits: &Limits, failures: &LogThrottle) -> io::Result<()> {
    match error.kind() {
        // The peer has gone away, and the listener still works.
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset => Ok(()),
        // The listener does not listen any more.
        io::ErrorKind::InvalidInput => Err(error),
        _ => {
            if let Some(suppressed) = failures.permit(limits.http.log_interval) {
                warn!(%error, suppressed, "accept failed");
            }
            sleep(limits.http.accept_pause).await;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::net::Shutdown;

    use bytes::Bytes;
    use http_body_util::Empty;

    use super::*;

    #[derive(Clone)]
    struct NoContent;

    impl Service<Request<Incoming>> for NoContent {
        type Response = Response<Empty<Bytes>>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
            std::task::Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Incoming>) -> Self::Future {
            std::future::ready(Ok(Response::default()))
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_listener_that_was_shut_down_ends_the_server_with_its_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        SockRef::from(&listener).shutdown(Shutdown::Both).expect("an open listener");
        let ended = serve(listener, NoContent, &Chat::default(), pending()).await;
        assert_eq!(ended.map_err(|error| error.kind()), Err(io::ErrorKind::InvalidInput));
    }

    #[tokio::test]
    async fn a_small_limit_on_request_heads_does_not_panic() {
        let limits = Limits::default().with(|limits| limits.http.max_head_bytes = 1);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let chat = Chat::builder().limits(limits).build();
        serve(listener, NoContent, &chat, async {}).await.expect("a server that stops");
    }
}
