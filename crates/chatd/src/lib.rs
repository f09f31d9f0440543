//! The common part of the chat binaries: options, logs, the store, signals, drain. The binaries differ only in
//! their adapter.
//!
//! A binary calls [`run`] with the function that serves its adapter: see `apps/chatd-tungstenite`.

pub mod echo;

mod admin;
mod batches;
mod config;
mod descriptors;
mod directives;
mod limit_options;
mod links;
mod logs;
mod lost_lines;
mod metrics_recorder;
mod retain;
mod signals;
mod size;
mod status_line;
mod storage;
mod tasks;

use std::future::Future;
use std::io::{self, Write};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use chat_core::{Chat, Drained, Endpoint, HostPolicy, Limits, ProxyProtocol, UpgradeMode};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tracing::{error, info, warn};

use config::Config;
use descriptors::Descriptors;
use metrics_recorder::Metrics;
use signals::Signals;
use storage::Storage;

/// Time for tasks that are still running at the end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);

/// Bytes of one message that an echo sends back: more than test tools and load generators send.
const MAX_ECHO_BYTES: usize = 1024 * 1024;

/// The parts that the adapter of a binary serves.
#[derive(Debug)]
#[non_exhaustive]
pub struct Service {
    /// The chat, with its status pages.
    pub endpoint: Endpoint,
    /// The socket on which connections arrive.
    pub listener: TcpListener,
    /// The proxies that begin a connection with a PROXY header, if any.
    pub proxies: Option<ProxyProtocol>,
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
    descriptors::raise_limit();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&format!("cannot start threads: {error}")),
    };
    let code = runtime.block_on(supervise(name, config, serve));
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    code
}

async fn supervise<F>(name: &'static str, config: Config, serve: impl FnOnce(Service) -> F) -> ExitCode
where
    F: Future<Output = io::Result<()>>,
{
    let listener = match config.bind().await {
        Ok(listener) => listener,
        Err(error) => return refuse(&format!("cannot listen on {}: {error}", config.listen)),
    };
    let admin = match config.admin.open().await {
        Ok(admin) => admin,
        Err(problem) => return refuse(&problem),
    };
    let (_logs, filter) = match logs::start(config.log_format) {
        Ok(logs) => logs,
        Err(error) => return refuse(&format!("RUST_LOG: {error}")),
    };
    // This blocks, while there is nothing else to do. A signal ends the process at once, as a crash would.
    let storage = match Storage::open(&config) {
        Ok(storage) => storage,
        Err(error) => return refuse(&error.to_string()),
    };
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return refuse(&format!("cannot listen for signals: {error}")),
    };
    let of_admin = admin.as_ref().map_or(0, |_| admin::MAX_CONNECTIONS);
    let max_connections = Descriptors::count().reserving(of_admin).max_connections(config.max_connections());
    announce(name, &listener);

    let drain_timeout = config.drain_timeout();
    let chat = storage.attach(Chat::builder().limits(limits(&config, max_connections))).build();
    let (stopping, stop) = watch::channel(false);
    let hosts = config.hosts(&listener);
    let proxies = config.proxy_protocol.then(|| ProxyProtocol::new(config.trusted_proxies()));
    let endpoint = endpoint(&chat, config, storage.clone());
    let wanted_drain = Arc::new(Notify::new());
    if let Some(admin) = admin {
        let metrics = match metrics(name, &chat, &storage) {
            Ok(metrics) => metrics,
            Err(problem) => return refuse(&format!("cannot record metrics: {problem}")),
        };
        admin.start(endpoint.clone(), metrics, filter, Arc::clone(&wanted_drain));
    }
    let service = Service { endpoint, listener, proxies, hosts, stop };
    let mut serving = pin!(serve(service));

    let signal = tokio::select! {
        result = &mut serving => {
            log_failure(result);
            chat.drain(drain_timeout).await;
            return ExitCode::from(1);
        }
        signal = signals.next() => signal,
        () = wanted_drain.notified() => "admin call",
    };
    info!(signal, timeout = ?drain_timeout, "drain started");
    if signal == "SIGHUP" {
        warn!(signal, "configuration not reloaded: the signal drains the server; start it again");
    }
    let drained = tokio::select! {
        drained = chat.drain(drain_timeout) => drained,
        // Requests are answered during the drain.
        result = &mut serving => {
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
    let stopped = tokio::select! {
        stopped = &mut serving => stopped,
        _ = signals.next_urgent() => return ExitCode::from(1),
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

/// Installs the recorder of metrics. Everything that has metrics is a source of it.
fn metrics(name: &'static str, chat: &Chat, storage: &Storage) -> Result<Metrics, String> {
    let mut metrics = Metrics::install(name)?;
    let chat = chat.clone();
    metrics.source(move || chat.publish_metrics());
    storage.publish(&mut metrics);
    Ok(metrics)
}

fn log_failure(result: io::Result<()>) {
    match result {
        Ok(()) => error!("server ended without a signal"),
        Err(error) => error!(%error, "server failed"),
    }
}

/// Reports the address of the server in the log and, for callers that asked for port 0, as one line on standard output.
fn announce(name: &str, listener: &TcpListener) {
    let Ok(address) = listener.local_addr() else { return };
    info!(%address, "listening");
    // The reader may be gone.
    let _ignored = writeln!(io::stdout(), "{name} listens on ws://{address}/ws, page http://{address}/");
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
