use std::any::Any;
use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::rt::net::TcpStream;
use actix_web::{App, Error, HttpServer};
use chat_core::Limits;
use socket2::SockRef;
use tracing::debug;

/// Serves HTTP/1.1 on `listener` until `stop` is ready. Each of actix's workers makes itself an app with `app`.
///
/// A request head has [`HttpLimits::head_timeout`] to arrive; one that waited while the process did not run for so long may be
/// answered 408, as actix's clock is a task that has yet to run. A peer for which something waits and that takes
/// nothing for so long that its session has ended over it loses the connection, which actix would keep.
///
/// # Errors
///
/// Those of the listener.
///
/// # Panics
///
/// Outside a tokio runtime.
pub async fn serve<T, B>(
    listener: TcpListener,
    app: impl Fn() -> App<T> + Clone + Send + 'static,
    limits: &Limits,
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
    let patience = limits.connection.abandon_timeout();
    let mut server = HttpServer::new(app)
        .client_request_timeout(limits.http.head_timeout)
        .keep_alive(limits.http.head_timeout)
        // The chat itself waits for the peer at the end.
        .client_disconnect_timeout(Duration::ZERO)
        .tcp_nodelay(true)
        // The chat counts, and says so to those whom it refuses.
        .max_connections(usize::MAX)
        .shutdown_timeout(limits.connection.close_timeout.as_secs())
        .disable_signals()
        .on_connect(move |stream, _| give_up_after(patience, stream))
        .listen(listener)?
        .run();
    let handle = server.handle();
    let mut stop = pin!(stop);
    tokio::select! {
        ended = &mut server => return ended,
        () = &mut stop => {}
    }
    let stopped = handle.stop(true);
    let (ended, ()) = tokio::join!(server, stopped);
    ended
}

/// Lets the kernel end a connection whose peer takes nothing for so long: actix waits for ever.
fn give_up_after(patience: Duration, stream: &dyn Any) {
    #[cfg(target_os = "linux")]
    if let Some(stream) = stream.downcast_ref::<TcpStream>()
        && let Err(error) = SockRef::from(stream).set_tcp_user_timeout(Some(patience))
    {
        debug!(%error, "TCP_USER_TIMEOUT");
    }
}
