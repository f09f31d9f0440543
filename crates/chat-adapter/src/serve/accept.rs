//! The accept loop, and the task of one connection.

use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use chat_core::{Chat, Limits, LogThrottle};
use chat_websocket::{Accepted, ServeOptions, set_options};
use http::{Extensions, Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;
use tower_service::Service;
use tracing::{debug, info, warn};

use crate::connection::served;
use crate::hijack::Hijacked;

/// Bytes of a connection's read buffer below which hyper panics.
const HYPER_MIN_BUFFER_BYTES: usize = 8 * 1024;

/// The accept loop of a server.
pub(super) struct Acceptor<S, E> {
    listener: TcpListener,
    service: S,
    extend: E,
    common: Arc<Common>,
    stopped: watch::Receiver<bool>,
    accept_failures: LogThrottle,
    /// True once an accepted connection had the options of the listener.
    inherits_options: bool,
}

/// The parts that all connections of a server share.
struct Common {
    chat: Chat,
    http: http1::Builder,
    options: ServeOptions,
    refusals: LogThrottle,
}

impl<S, E, B> Acceptor<S, E>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    E: Fn(&mut Extensions, SocketAddr) + Clone + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    pub(super) fn new(
        listener: TcpListener,
        options: ServeOptions,
        service: S,
        chat: Chat,
        extend: E,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        let limits = &chat.limits().http;
        let mut http = http1::Builder::new();
        http.header_read_timeout(limits.head_timeout)
            .max_buf_size(limits.head_buffer_bytes().max(HYPER_MIN_BUFFER_BYTES));
        let common = Arc::new(Common { chat, http, options, refusals: LogThrottle::default() });
        let accept_failures = LogThrottle::default();
        Self { listener, service, extend, common, stopped, accept_failures, inherits_options: false }
    }

    /// Accepts connections until the listener fails. Returns its error.
    pub(super) async fn run(mut self) -> io::Error {
        configure(&self.listener, self.common.limits());
        loop {
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => match pause_after(error, &self.common, &self.accept_failures).await {
                    Ok(()) => continue,
                    Err(error) => return error,
                },
            };
            self.configure(&stream);
            let (service, extend) = (self.service.clone(), self.extend.clone());
            let (common, stopped) = (Arc::clone(&self.common), self.stopped.clone());
            tokio::spawn(Self::serve(stream, peer, service, extend, common, stopped));
        }
    }

    /// Serves the requests of one connection, until it ends or is upgraded.
    async fn serve(
        stream: TcpStream,
        peer: SocketAddr,
        service: S,
        extend: E,
        common: Arc<Common>,
        mut stopped: watch::Receiver<bool>,
    ) {
        // A stop does not end it: the client may have connected before the next server accepts.
        let accepted = common.options.accept(stream, peer, &common.chat).await;
        // It counts as a plain connection until it ends or becomes a session.
        let Some(Accepted { socket, client: peer, plain: _plain }) = accepted else { return };
        let limits = &common.limits().http;
        let (stream, timer, activity) = served(socket, limits);
        let service = TowerToHyperService::new(service);
        let requests = activity.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            extend(request.extensions_mut(), peer);
            let (response, activity) = (service.call(request), requests.clone());
            async move {
                let response = response.await?;
                if response.extensions().get::<Hijacked>().is_some() {
                    activity.hijack();
                }
                Ok::<_, Infallible>(response)
            }
        });
        let connection = common.http.clone().timer(timer).serve_connection(stream, service).with_upgrades();
        let mut connection = pin!(connection);
        let served = tokio::select! {
            served = connection.as_mut() => served,
            _ = stopped.changed() => {
                // hyper would close a connection whose first bytes have not been read. If the chat goes on, its client
                // may have connected before the next server accepts, and gets its answer.
                let mut is_told = false;
                poll_fn(|cx| {
                    let served = connection.as_mut().poll(cx);
                    if served.is_ready() || is_told || !(activity.has_read() || common.chat.is_draining()) {
                        return served;
                    }
                    is_told = true;
                    connection.as_mut().graceful_shutdown();
                    connection.as_mut().poll(cx)
                })
                .await
            }
        };
        match served {
            Err(error) if error.is_parse() => {
                if let Some(suppressed) = common.refusals.permit(limits.log_interval) {
                    info!(%peer, cause = %error, suppressed, "malformed request refused");
                }
            }
            Err(error) => debug!(%error, "http connection failed"),
            Ok(()) => {}
        }
    }
}

impl<S, E> Acceptor<S, E> {
    /// Sets the options of a connection, unless it has those of the listener.
    fn configure(&mut self, stream: &TcpStream) {
        // A connection that came before the listener was configured is accepted before all that came later.
        self.inherits_options = self.inherits_options || has_options(stream, self.common.limits());
        if !self.inherits_options {
            configure(stream, self.common.limits());
        }
    }
}

impl Common {
    fn limits(&self) -> &Limits {
        self.chat.limits()
    }
}

/// Pauses before the next attempt to accept. Returns the error if no attempt can succeed.
async fn pause_after(error: io::Error, common: &Common, failures: &LogThrottle) -> io::Result<()> {
    let limits = &common.limits().http;
    match error.kind() {
        // The peer has gone away, and the listener still works.
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset => {}
        // The listener does not listen any more.
        io::ErrorKind::InvalidInput => return Err(error),
        _ => {
            if let Some(suppressed) = failures.permit(limits.log_interval) {
                warn!(%error, suppressed, "accept failed");
            }
            sleep(limits.accept_pause).await;
        }
    }
    Ok(())
}

/// Sets the options of a listener or of a connection. A connection whose options cannot be set is already closed, and
/// the next read returns its error.
fn configure<S>(socket: &S, limits: &Limits)
where
    for<'a> SockRef<'a>: From<&'a S>,
{
    if let Err(error) = set_options(socket, &limits.connection) {
        debug!(%error, "socket options not set");
    }
}

/// Returns true if a connection has the options of a listener with options. On Linux a connection inherits them.
#[cfg(target_os = "linux")]
fn has_options(stream: &TcpStream, limits: &Limits) -> bool {
    let timeout = SockRef::from(stream).tcp_user_timeout();
    timeout.is_ok_and(|timeout| timeout == Some(limits.connection.abandon_timeout()))
}

#[cfg(not(target_os = "linux"))]
fn has_options(_: &TcpStream, _: &Limits) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_connection_that_comes_later_has_the_options_of_its_listener() -> io::Result<()> {
        let (listener, limits) = (TcpListener::bind("127.0.0.1:0").await?, Limits::default());
        let _early = TcpStream::connect(listener.local_addr()?).await?;
        configure(&listener, &limits);
        let _late = TcpStream::connect(listener.local_addr()?).await?;
        let (early, _) = listener.accept().await?;
        assert!(!has_options(&early, &limits));
        let (late, _) = listener.accept().await?;
        assert!(has_options(&late, &limits) && late.nodelay()?);
        configure(&early, &limits);
        let [early, late] = [&early, &late].map(SockRef::from);
        assert_eq!(late.send_buffer_size()?, early.send_buffer_size()?);
        Ok(())
    }
}
