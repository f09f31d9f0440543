//! The common part of the chat binaries: options, logs, the store, signals, drain. The binaries differ only in
//! their adapter.
//!
//! A binary calls [`run`] with the function that serves its adapter: see `apps/chatd-tungstenite`.

pub mod echo;

mod batches;
mod config;
mod descriptors;
mod directives;
mod limit_options;
mod links;
mod logs;
mod lost_lines;
mod restart;
mod retain;
mod signals;
mod size;
mod status_line;
mod storage;
mod tasks;
mod tls;

use std::future::Future;
use std::io::{self, Write};
use std::net;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use chat_core::{Chat, Drained, Endpoint, HostPolicy, Limits, ProxyProtocol, UpgradeMode};
use chat_websocket::{ServeOptions, Tls};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{error, info, warn};

use config::Config;
use descriptors::Descriptors;
use restart::{Origin, State, notify};
use signals::Signals;
use storage::Storage;

/// Time for tasks that are still running at the end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);

/// Bytes of one message that an echo sends back: more than test tools and load generators send.
const MAX_ECHO_BYTES: usize = 1024 * 1024;

/// Time for the requests of connections that were accepted before the next server accepts.
const LAST_REQUESTS_TIMEOUT: Duration = Duration::from_secs(1);

/// The parts that the adapter of a binary serves.
#[derive(Debug)]
#[non_exhaustive]
pub struct Service {
    /// The chat, with its status pages.
    pub endpoint: Endpoint,
    /// The socket on which connections arrive.
    pub listener: TcpListener,
    /// The options of the adapter's server: TLS and the PROXY protocol.
    pub options: ServeOptions,
    /// The hosts for which the server answers, for the layer of the adapter.
    pub hosts: HostPolicy,
    stop: watch::Receiver<bool>,
}

impl Service {
    /// Returns a future that is ready when the adapter must stop. The sessions have ended by then.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stop = self.stop.clone();
        async move {
            // An error means that the sender is gone, which is a stop too.
            let _stopped = stop.wait_for(|stop| *stop).await.is_ok();
        }
    }
}

/// Runs a binary: reads the options, serves until a signal, drains, closes the store. Or runs a task instead.
///
/// The exit code is 0 after a drain that abandoned no connection. It is 1 if a connection was abandoned, a second
/// signal came, the adapter failed, or the store was not closed in time and in order. It is 2, with one line on
/// standard error, if an option is wrong, the address is in use, or the store cannot be opened.
pub fn run<F>(name: &'static str, modes: &[UpgradeMode], serve: impl FnOnce(Service) -> F) -> ExitCode
where
    F: Future<Output = io::Result<()>>,
{
    let config = match Config::read(name, modes) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let (Some(task), Some(dir)) = (&config.task, config.data()) {
        return tasks::run(task, dir);
    }
    let inherited = match restart::inherited() {
        Ok(inherited) => inherited,
        Err(error) => return refuse(&format!("cannot use the socket of systemd: {error}")),
    };
    descriptors::raise_limit();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&format!("cannot start threads: {error}")),
    };
    let code = runtime.block_on(supervise(name, config, inherited, serve));
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    code
}

async fn supervise<F>(
    name: &'static str,
    config: Config,
    inherited: Option<net::TcpListener>,
    serve: impl FnOnce(Service) -> F,
) -> ExitCode
where
    F: Future<Output = io::Result<()>>,
{
    let tls = match config.tls.open() {
        Ok(tls) => tls,
        Err(error) => return refuse(&error.to_string()),
    };
    let _logs = match logs::start(config.log_format) {
        Ok(logs) => logs,
        Err(error) => return refuse(&format!("RUST_LOG: {error}")),
    };
    // A previous server drains from now on, so all that can be refused has been checked before.
    let (listener, origin) = match config.restart.listen(inherited, config.bind()).await {
        Ok(listening) => listening,
        Err(error) => return refuse(&format!("cannot listen on {}: {error}", config.listen)),
    };
    // This blocks, while there is nothing else to do. A signal ends the process at once, as a crash would.
    let storage = match open_storage(&config, origin).await {
        Ok(storage) => storage,
        Err(error) => return refuse(&error.to_string()),
    };
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return refuse(&format!("cannot listen for signals: {error}")),
    };
    let max_connections = Descriptors::count().max_connections(config.max_connections());
    let handover = match config.restart.offer(&listener) {
        Ok(handover) => handover,
        Err(error) => return refuse(&format!("cannot offer the listening socket: {error}")),
    };
    announce(name, &listener, tls.as_ref());

    let drain_timeout = config.drain_timeout();
    let chat = storage.attach(Chat::builder().limits(limits(&config, max_connections))).build();
    let (stopping, stop) = watch::channel(false);
    let hosts = config.hosts(&listener);
    let options = serve_options(&config, tls);
    let service = Service { endpoint: endpoint(&chat, config, storage), listener, options, hosts, stop };
    let mut serving = pin!(serve(service));
    notify(State::Ready);
    tokio::spawn(restart::watchdog());

    let signal = tokio::select! {
        result = &mut serving => {
            log_failure(result);
            chat.drain(drain_timeout).await;
            return ExitCode::from(1);
        }
        signal = signals.next() => signal,
        () = handover.taken() => "handover",
    };
    // The next server accepts, or systemd starts it.
    let is_replaced = signal == "handover" || origin == Origin::Systemd;
    drop(handover);
    notify(State::Stopping);
    info!(signal, timeout = ?drain_timeout, "drain started");
    if signal == "SIGHUP" {
        warn!(signal, "configuration not reloaded: the signal drains the server; start it again");
    }
    let mut stopped = None;
    if is_replaced {
        stopping.send_replace(true);
        stopped = timeout(LAST_REQUESTS_TIMEOUT, &mut serving).await.ok();
    }
    let drained = tokio::select! {
        drained = chat.drain(drain_timeout) => drained,
        // Requests are answered during the drain.
        result = &mut serving, if !is_replaced => {
            log_failure(result);
            chat.drain(drain_timeout).await;
            return ExitCode::from(1);
        }
        signal = signals.next_urgent() => {
            warn!(signal, "drain aborted");
            return ExitCode::from(1);
        }
    };
    let Drained { connections, abandoned, ref store, .. } = drained;
    info!(connections, abandoned, "drain finished");
    if let Err(error) = store {
        warn!(cause = error.cause(), "store not closed cleanly; the next start repairs it");
    }
    stopping.send_replace(true);
    let stopped = match stopped {
        Some(stopped) => stopped,
        None => tokio::select! {
            stopped = &mut serving => stopped,
            _ = signals.next_urgent() => return ExitCode::from(1),
        },
    };
    match stopped {
        Ok(()) if abandoned == 0 && store.is_ok() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::from(1),
        failed => {
            log_failure(failed);
            ExitCode::from(1)
        }
    }
}

/// Opens the store. A server that follows another one waits until that one has closed it.
async fn open_storage(config: &Config, origin: Origin) -> Result<Storage, chat_sqlite::OpenError> {
    match origin {
        Origin::Own => Storage::open(config),
        Origin::Systemd | Origin::Handover => restart::wait_for_store(config).await,
    }
}

fn serve_options(config: &Config, tls: Option<Tls>) -> ServeOptions {
    let mut options = ServeOptions::default();
    if config.proxy_protocol {
        options = options.proxy_protocol(ProxyProtocol::new(config.trusted_proxies()));
    }
    match tls {
        Some(tls) => options.tls(tls),
        None => options,
    }
}

fn limits(config: &Config, max_connections: usize) -> Limits {
    Limits::default().with(|limits| {
        limits.connection.max_connections = max_connections;
        config.limits.apply(limits);
        if config.echo {
            limits.wire.max_frame_bytes = MAX_ECHO_BYTES;
        }
    })
}

fn endpoint(chat: &Chat, config: Config, storage: Storage) -> Endpoint {
    let endpoint = Endpoint::new(chat.clone())
        .mode(config.upgrade_mode())
        .trust_proxies(config.trusted_proxies())
        .allow_origins(config.allow_origin)
        .with_status_pages()
        .with_readiness(move || storage.readiness());
    if config.echo { endpoint.handler(echo::handler) } else { endpoint }
}

fn log_failure(result: io::Result<()>) {
    match result {
        Ok(()) => error!("server ended without a signal"),
        Err(error) => error!(%error, "server failed"),
    }
}

/// Reports the address of the server in the log and, for callers that asked for port 0, as one line on standard output.
fn announce(name: &str, listener: &TcpListener, tls: Option<&Tls>) {
    let Ok(address) = listener.local_addr() else { return };
    let s = if tls.is_some() { "s" } else { "" };
    info!(%address, tls = tls.is_some(), "listening");
    // The reader may be gone.
    let _ignored =
        writeln!(io::stdout(), "{name} listens on ws{s}://{address}/ws, page http{s}://{address}/");
}

/// Writes one line to standard error. Returns the exit code of a server that does not start.
fn refuse(problem: &str) -> ExitCode {
    // The reader may be gone.
    let _ignored = writeln!(io::stderr(), "error: {}", problem.replace(['\n', '\r'], " "));
    ExitCode::from(2)
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
