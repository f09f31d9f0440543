mod accept;

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::panic::resume_unwind;

use chat_core::Chat;
use chat_websocket::ServeOptions;
use http::{Extensions, Request, Response};
use hyper::body::{Body, Incoming};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower_service::Service;

use accept::Acceptor;

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
/// `stop` ends accepting, not the sessions: [`Chat::drain`] does that. If the future is dropped instead, the address is
/// released a little later.
///
/// On Linux, the options of the connections are set on the listener, and connections get them from there. So another
/// owner of the same listening socket gets them too: servers that share one must have equal limits.
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
    serve_with(listener, ServeOptions::default(), service, chat, stop).await
}

/// Serves as [`serve`] does, with options for TLS and the PROXY protocol.
///
/// # Errors
///
/// As [`serve`].
pub async fn serve_with<S, B>(
    listener: TcpListener,
    options: ServeOptions,
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
    serve_extended(listener, options, service, chat, stop, |_, _| {}).await
}

/// Serves as [`serve_with`] does, and has `extend` add to the extensions of each request.
///
/// # Errors
///
/// As [`serve`].
pub async fn serve_extended<S, B>(
    listener: TcpListener,
    options: ServeOptions,
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
    let (stopping, stopped) = watch::channel(false);
    let acceptor = Acceptor::new(listener, options, service, chat.clone(), extend, stopped);
    // A task, because the caller may not run on a worker of the runtime: then each connection would change threads.
    let mut accepting = JoinSet::new();
    accepting.spawn(acceptor.run());
    tokio::select! {
        ended = accepting.join_next() => match ended {
            Some(Ok(error)) => return Err(error),
            Some(Err(error)) if error.is_panic() => resume_unwind(error.into_panic()),
            // The runtime ends.
            _ => {}
        },
        () = stop => {}
    }
    accepting.shutdown().await;
    // The connections that are left are plain requests. A slow client must not hold up the end.
    stopping.send_replace(true);
    let _unfinished = timeout(chat.limits().connection.close_timeout, stopping.closed()).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::net::Shutdown;

    use bytes::Bytes;
    use chat_core::Limits;
    use http_body_util::Empty;
    use socket2::SockRef;

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
