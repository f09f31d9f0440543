use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::pin::pin;

use chat_core::Limits;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tower_service::Service;
use tracing::{debug, warn};

/// Serves HTTP/1.1 on `listener` until `stop` is ready.
///
/// A request head has [`HttpLimits::head_timeout`] to arrive and [`Limits::head_buffer`] bytes at most. On Linux, a
/// peer that takes nothing for [`Limits::abandon_timeout`] loses the connection. Running out of descriptors pauses accepting and ends nothing.
pub async fn serve<S, B>(listener: TcpListener, service: S, limits: &Limits, stop: impl Future<Output = ()>)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.http.head_timeout)
        .max_buf_size(limits.http.head_buffer_bytes());
    let (stopping, _) = watch::channel(());
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                pause_after(&error, limits).await;
                continue;
            }
        };
        configure(&stream, limits);
        let connection = http
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service.clone()))
            .with_upgrades();
        let mut stopped = stopping.subscribe();
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            let served = tokio::select! {
                served = connection.as_mut() => served,
                _ = stopped.changed() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = served {
                debug!(%error, "connection ended before an upgrade");
            }
        });
    }
    // What is left are plain requests; a client that lingers over one does not hold up the end.
    stopping.send_replace(());
    let _unfinished = timeout(limits.connection.close_timeout, stopping.closed()).await;
}

/// Sends without delay and, where the system can, ends a connection whose peer takes nothing: a session sees to
/// that itself, plain answers do not.
fn configure(stream: &TcpStream, limits: &Limits) {
    let configured = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let configured = configured
        .and_then(|()| SockRef::from(stream).set_tcp_user_timeout(Some(limits.connection.abandon_timeout())));
    // Fails only on a socket that is gone already, which the next read finds out.
    if let Err(error) = configured {
        debug!(%error, "configuring a connection");
    }
}

async fn pause_after(error: &io::Error, limits: &Limits) {
    // A peer that went away again is no reason to pause.
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return;
    }
    warn!(%error, "cannot accept connections");
    sleep(limits.http.accept_pause).await;
}
