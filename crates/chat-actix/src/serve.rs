use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, Server, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::rt::net::TcpStream;
use actix_web::{App, Error};
use chat_core::Chat;
use chat_websocket::{ServeOptions, set_options, wait_for_accepted};
use tokio::net::TcpListener;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::stream::ServedStream;

/// Serves HTTP/1.1 on `listener` until `stop` is ready, with the limits of the chat on requests. Each of actix's
/// workers makes an app with `app`.
///
/// Each request head has [`HttpLimits::head_timeout`](chat_core::HttpLimits::head_timeout) to arrive. Between two
/// requests, a connection may be idle for [`HttpLimits::idle_timeout`](chat_core::HttpLimits::idle_timeout), also if a
/// part of the next head came together with the first request. A head that waited while the process was stopped for
/// that time may be answered with 408. The kernel holds
/// [`ConnectionLimits::send_buffer_bytes`](chat_core::ConnectionLimits::send_buffer_bytes) of output. On Linux, a peer
/// that reads nothing for [`ConnectionLimits::abandon_timeout`](chat_core::ConnectionLimits::abandon_timeout) loses the
/// connection, which actix would keep. A connection of an address that has
/// [`ConnectionLimits::max_plain_per_address`](chat_core::ConnectionLimits::max_plain_per_address) plain ones is closed
/// at once. `stop` ends accepting; [`Chat::drain`] ends the sessions, so a host awaits it first. The app has the
/// default [`AppConfig`].
///
/// Hijacked sessions run on the runtime that calls this function. If that has only one thread, as that of
/// `#[actix_web::main]`, they run on actix's workers instead, and end with them.
///
/// # Errors
///
/// The error of the listener or of actix.
///
/// # Panics
///
/// Outside a tokio runtime.
pub async fn serve<T, B>(
    listener: TcpListener,
    app: impl Fn() -> App<T> + Clone + Send + 'static,
    chat: &Chat,
    stop: impl Future<Output = ()>,
) -> io::Result<()>
where
    T: ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse<B>,
            Error = Error,
            InitError = (),
        > + 'static,
    B: MessageBody + 'static,
{
    serve_with(listener, ServeOptions::default(), app, chat, stop).await
}

/// Serves as [`serve`] does, with options for TLS and the PROXY protocol.
///
/// # Errors
///
/// The error of the listener or of actix.
///
/// # Panics
///
/// Outside a tokio runtime.
pub async fn serve_with<T, B>(
    listener: TcpListener,
    options: ServeOptions,
    app: impl Fn() -> App<T> + Clone + Send + 'static,
    chat: &Chat,
    stop: impl Future<Output = ()>,
) -> io::Result<()>
where
    T: ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse<B>,
            Error = Error,
            InitError = (),
        > + 'static,
    B: MessageBody + 'static,
{
    let (listener, limits) = (listener.into_std()?, Arc::clone(chat.limits()));
    let runtime = Handle::current();
    let runtime = (runtime.runtime_flavor() != RuntimeFlavor::CurrentThread).then_some(runtime);
    let accept_limits = limits.http.clone();
    let (local, close_timeout, chat) =
        (listener.local_addr()?, limits.connection.close_timeout, chat.clone());
    // `HttpServer` cannot refuse a connection, and has no place for a PROXY header, so its parts are used.
    let services = move || {
        let app = app().into_factory().map_err(|error: Error| error.error_response());
        let http = HttpService::build()
            .client_request_timeout(limits.http.head_timeout)
            .keep_alive(limits.http.idle_timeout)
            // The chat's session waits for the peer at the end.
            .client_disconnect_timeout(Duration::ZERO)
            .local_addr(local)
            .on_connect_ext(ServedStream::share)
            .finish(map_config(app, |_| AppConfig::default()));
        let (chat, options, runtime) = (chat.clone(), options.clone(), runtime.clone());
        let accept = move |stream| accept(stream, options.clone(), chat.clone(), runtime.clone());
        fn_service(accept).and_then(http)
    };
    let mut server = Server::build()
        // The chat limits the connections, and tells the clients that it refuses.
        .max_concurrent_connections(usize::MAX)
        .shutdown_timeout(whole_seconds(close_timeout))
        .disable_signals()
        .listen("chat", listener, services)?
        .run();
    let handle = server.handle();
    let mut stop = pin!(stop);
    tokio::select! {
        ended = &mut server => return ended,
        () = &mut stop => {}
    }
    let stopping = async {
        // A worker that stops drops the connections that it has not taken up.
        handle.pause().await;
        wait_for_accepted(&accept_limits).await;
        handle.stop(true).await;
    };
    let (ended, ()) = tokio::join!(server, stopping);
    ended
}

/// Returns an accepted connection and the address of its client. An error closes the connection. actix does not report
/// it, and the chat has logged the cause.
async fn accept(
    stream: TcpStream,
    options: ServeOptions,
    chat: Chat,
    runtime: Option<Handle>,
) -> Result<(ServedStream, Protocol, Option<SocketAddr>), DispatchError> {
    set_options(&stream, &chat.limits().connection)?;
    let peer = stream.peer_addr()?;
    let accepted = options.accept(stream, peer, &chat).await.ok_or(DispatchError::SlowRequestTimeout)?;
    let client = Some(accepted.client);
    Ok((ServedStream::new(accepted, &chat.limits().http, runtime), Protocol::Http1, client))
}

/// Rounds up to seconds. actix takes no other unit, and 0 would end the connections at once.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_second_is_rounded_up() {
        let rounded = [0, 1, 500, 1_000, 1_001].map(|millis| whole_seconds(Duration::from_millis(millis)));
        assert_eq!(rounded, [0, 1, 1, 1, 2]);
    }
}
