use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::{Admin, MAX_CONNECTIONS, router};

/// Time for the head of a request, and between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(3);

/// Bytes of the head of a request.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Time after which a connection gets no further request.
const LIFETIME: Duration = Duration::from_secs(60);

/// Time for the last response of a connection. It is longer than a call may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(80);

/// The pause after a failure to accept, for example without a free file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Serves connections, without end.
pub(super) async fn serve(listener: TcpListener, admin: Arc<Admin>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let admin = Arc::clone(&admin);
                drop(tokio::spawn(async move {
                    serve_connection(stream, peer, admin).await;
                    drop(place);
                }));
            }
            Err(error) => {
                warn!(%error, "admin listener cannot accept");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, peer: SocketAddr, admin: Arc<Admin>) {
    let service = service_fn(move |request| {
        let admin = Arc::clone(&admin);
        async move { Ok::<_, Infallible>(router::handle(request, peer, &admin).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let served = match timeout(LIFETIME, connection.as_mut()).await {
        Ok(served) => served,
        Err(_) => {
            connection.as_mut().graceful_shutdown();
            // A peer that does not read its response loses the connection.
            timeout(CLOSE_TIMEOUT, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = served {
        debug!(%peer, %error, "admin connection failed");
    }
}
