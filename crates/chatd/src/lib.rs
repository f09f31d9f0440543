//! The common part of the chat binaries: options, logs, the store, signals, drain. The binaries differ only in
//! their adapter.
//!
//! A binary calls [`run`] with the function that serves its adapter: see `apps/chatd-tungstenite`.

pub mod echo;

mod admin;
mod batches;
mod cluster;
mod config;
mod config_file;
mod descriptors;
mod directives;
mod health;
mod limit_options;
mod line_queue;
mod links;
mod load;
mod log_filter;
mod logs;
mod lost_lines;
mod metrics_recorder;
mod otlp;
#[path = "../../../apps/web/page/dist/files.rs"]
mod page;
mod reload;
mod restart;
mod retain;
mod signals;
mod size;
mod status_line;
mod storage;
mod tasks;
mod tls;
mod token;
mod users;
mod values;

use std::future::Future;
use std::io::{self, Write};
use std::net;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use chat_core::{Chat, Drained, Endpoint, HostPolicy, Limits, ProxyProtocol, UpgradeMode};
use chat_websocket::{ServeOptions, Tls};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tracing::{error, info, warn};

use admin::Controls;
use config::{Config, ConfigTask, Task};
use descriptors::Descriptors;
use load::{Loaded, Sources};
use log_filter::LogFilter;
use metrics_recorder::Metrics;
use otlp::Traces;
use reload::Reload;
use restart::{Origin, State, notify};
use signals::{Request, Signals};
use storage::{OpenError, Storage};
use tasks::Place;
use users::CurrentUsers;

/// The memory allocator of the binaries. The one of glibc needs more CPU time for small messages.
pub use mimalloc::MiMalloc as Allocator;

pub use load::print_config;

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

/// Runs a binary: reads the options, serves until a signal, drains, closes the store. Or runs a task instead. SIGHUP
/// reads the options again.
///
/// The exit code is 0 after a drain that abandoned no connection. It is 1 if a connection was abandoned, a second
/// signal came, the adapter failed, or the store was not closed in time and in order. It is 2, with one line on
/// standard error for each mistake, if an option is wrong, the address is in use, or the store cannot be opened.
pub fn run<F>(name: &'static str, modes: &[UpgradeMode], serve: impl FnOnce(Service) -> F) -> ExitCode
where
    F: Future<Output = io::Result<()>>,
{
    let sources = Sources::new(name, modes);
    let loaded = match sources.read() {
        Ok(loaded) => loaded,
        Err(not_loaded) => return not_loaded.show(),
    };
    if let Some(task) = &loaded.config.task {
        return run_task(task, &loaded);
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
    let code = runtime.block_on(async {
        let traces = loaded.config.otlp.start(name);
        let config = &loaded.config;
        let (_logs, log) = match logs::start(config.log_format, &config.log_level(), traces.as_ref()) {
            Ok(started) => started,
            Err(error) => return refuse(&format!("cannot start the thread of the log: {error}")),
        };
        let code = supervise(name, sources, loaded, inherited, (log, traces.as_ref()), serve).await;
        if let Some(traces) = traces {
            traces.shutdown().await;
        }
        code
    });
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    code
}

fn run_task(task: &Task, Loaded { config, values }: &Loaded) -> ExitCode {
    match (task, config.data()) {
        (Task::Token(options), _) => options.run(),
        (Task::Health, _) => health::run(config),
        (Task::Config { task: ConfigTask::Print }, _) => show(&values.to_toml()),
        // A mistake would have been reported with those of the options.
        (Task::Config { task: ConfigTask::Check }, _) => show("the configuration is valid\n"),
        (Task::Store(task), Some(dir)) => tasks::run(task, &Place::Directory(dir)),
        (Task::Store(task), None) => match config.cluster.tasks() {
            Ok(Some(cluster)) => tasks::run(task, &Place::Cluster(Box::new(cluster))),
            Ok(None) => refuse("--data: a task needs a directory, not :memory:"),
            Err(problem) => refuse(&problem),
        },
    }
}

async fn supervise<F>(
    name: &'static str,
    sources: Sources,
    Loaded { config, values }: Loaded,
    inherited: Option<net::TcpListener>,
    (log, traces): (LogFilter, Option<&Traces>),
    serve: impl FnOnce(Service) -> F,
) -> ExitCode
where
    F: Future<Output = io::Result<()>>,
{
    let tls = match config.tls.open() {
        Ok(tls) => tls,
        Err(error) => return refuse(&error.to_string()),
    };
    let tickets = config.users.tickets();
    let users = match config.users.open(tickets.clone()).await {
        Ok(users) => users,
        Err(problem) => return refuse(&problem),
    };
    let admin = match config.admin.open(config.restart.overlaps()).await {
        Ok(admin) => admin,
        Err(problem) => return refuse(&problem),
    };
    let metrics = match admin.as_ref().map(|_| Metrics::install(name)).transpose() {
        Ok(metrics) => metrics,
        Err(problem) => return refuse(&format!("cannot record metrics: {problem}")),
    };
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return refuse(&format!("cannot listen for signals: {error}")),
    };
    let received = match config.restart.receive(inherited, config.bind()).await {
        Ok(received) => received,
        Err(problem) => return refuse(&format!("cannot listen on {}: {problem}", config.listen)),
    };
    let address = received.listener.local_addr().ok();
    if let Some(problem) = address.and_then(|address| config.exposure(address)) {
        return refuse(&problem);
    }
    // A previous server drains from now on. Only the store can still be refused, because the previous server has it.
    let (listener, origin, mut handover) = match received.confirm() {
        Ok(confirmed) => confirmed,
        Err(error) => return refuse(&format!("cannot take the listening socket over: {error}")),
    };
    let storage = tokio::select! {
        opened = open_storage(&config, origin) => match opened {
            Ok(storage) => storage,
            Err(error) => return refuse(&error.to_string()),
        },
        signal = signals.next_urgent() => {
            warn!(signal, "stopped while the server waits for the store");
            return ExitCode::from(1);
        }
    };
    handover.publish();
    let of_admin = admin.as_ref().map_or(0, |_| admin::MAX_CONNECTIONS);
    let descriptors = Descriptors::count().reserving(of_admin);
    let max_connections = descriptors.max_connections(config.max_connections());
    announce(name, &listener, tls.as_ref());

    let drain_timeout = config.drain_timeout();
    let chat = storage.attach(Chat::builder().limits(limits(&config, max_connections))).build();
    let (stopping, stop) = watch::channel(false);
    let hosts = config.hosts(&listener);
    let options = serve_options(&config, tls.clone());
    let endpoint = endpoint(&chat, config, storage.clone());
    let current = CurrentUsers::default();
    current.set(&endpoint, users);
    let wanted_drain = Arc::new(Notify::new());
    if let (Some(admin), Some(mut metrics)) = (admin, metrics) {
        add_sources(&mut metrics, &chat, &storage, &current);
        if let Some(traces) = traces {
            metrics.source(traces.publisher());
        }
        let controls =
            Controls { filter: log.clone(), drain: Arc::clone(&wanted_drain), tickets: tickets.clone() };
        admin.start(endpoint.clone(), metrics, controls);
    }
    let reload = start_reloads(Reload {
        sources,
        values,
        endpoint: endpoint.clone(),
        address,
        descriptors,
        log,
        tls,
        users: current,
        tickets,
    });
    let service = Service { endpoint, listener, options, hosts, stop };
    let mut serving = pin!(serve(service));
    notify(State::Ready);
    tokio::spawn(restart::watchdog());

    let mut taken = Box::pin(handover.taken());
    let signal = loop {
        let request = tokio::select! {
            result = &mut serving => {
                log_failure(result);
                chat.drain(drain_timeout).await;
                return ExitCode::from(1);
            }
            request = signals.next() => request,
            () = wanted_drain.notified() => Request::End("admin call"),
            () = &mut taken => Request::End("handover"),
        };
        match request {
            Request::Reload => reload.notify_one(),
            Request::End(signal) => break signal,
        }
    };
    // The next server accepts, or systemd starts it.
    let is_replaced = signal == "handover" || origin == Origin::Systemd;
    drop(taken);
    drop(handover);
    notify(State::Stopping);
    info!(signal, timeout = ?drain_timeout, "drain started");
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

/// Starts the task that reloads the configuration, one reload at a time. It begins one after each notification.
fn start_reloads(mut reload: Reload) -> Arc<Notify> {
    let requested = Arc::new(Notify::new());
    let requests = Arc::clone(&requested);
    drop(tokio::spawn(async move {
        loop {
            requests.notified().await;
            reload.run().await;
        }
    }));
    requested
}

/// Opens the store. A server that follows another one waits until that one has closed it.
async fn open_storage(config: &Config, origin: Origin) -> Result<Storage, OpenError> {
    match origin {
        Origin::Own => Storage::open(config).await,
        Origin::Systemd | Origin::Handover => restart::wait_for_store(config, origin).await,
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
        .with_files(page::FILES)
        .with_readiness(move || storage.readiness());
    if config.echo { endpoint.handler(echo::handler) } else { endpoint }
}

/// Installs the recorder of metrics. Everything that has metrics is a source of it.
fn add_sources(metrics: &mut Metrics, chat: &Chat, storage: &Storage, users: &CurrentUsers) {
    let (chat, users) = (chat.clone(), users.clone());
    metrics.source(move || chat.publish_metrics());
    metrics.source(move || users.publish_metrics());
    storage.publish(metrics);
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

/// Writes a text to standard output.
fn show(text: &str) -> ExitCode {
    // The reader may be gone.
    let _ignored = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// Writes one line to standard error. Returns the exit code of a server that does not start.
fn refuse(problem: &str) -> ExitCode {
    complain(problem);
    ExitCode::from(2)
}

/// Writes one line to standard error.
fn complain(problem: &str) {
    // The reader may be gone.
    let _ignored = writeln!(io::stderr(), "error: {}", problem.replace(['\n', '\r'], " "));
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
