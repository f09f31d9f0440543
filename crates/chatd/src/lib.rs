//! What the chat binaries share, so that they differ in nothing but their adapter.
//!
//! A binary calls [`run`] with the function that serves its adapter; `apps/chatd-tungstenite` shows it.

pub mod echo;

mod config;
mod keeping;
mod logs;
mod retain;
mod signals;
mod tasks;

use std::future::Future;
use std::io::{self, Write};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use chat_core::{Chat, Endpoint, Limits, Mechanism, Text};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{error, info, warn};

use config::Config;
use keeping::Keeping;
use signals::Signals;

/// How long tasks that are still running at the end have to notice it.
const LAST_MOMENT: Duration = Duration::from_millis(500);

/// Bytes of one message that an echo sends back: more than those that examiners and load generators send.
const MAX_ECHO: usize = 1024 * 1024;

/// What a binary's adapter is to serve.
#[derive(Debug)]
pub struct Service {
    /// The chat, with its pages.
    pub endpoint: Endpoint<Text>,
    /// Which of the adapter's ways to a connection to take.
    pub mechanism: Mechanism,
    /// Where connections come in.
    pub listener: TcpListener,
    /// The limits of the chat.
    pub limits: Arc<Limits>,
    stop: watch::Receiver<bool>,
}

impl Service {
    /// Ready when the adapter is to stop; the sessions have ended by then.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stop = self.stop.clone();
        async move {
            // An error means that nobody is left who could say stop: that is one.
            let _stopped = stop.wait_for(|stop| *stop).await.is_ok();
        }
    }
}

/// Runs a binary: reads the configuration, serves until a signal comes, drains, closes the store. Or carries out the
/// task that it was given instead.
///
/// Exits with 0 after a drain that cut nobody off; with 1 if it did, if a second signal ended it, if the adapter
/// failed, or the store was not closed in time and in order; with 2 and one line on standard error if the configuration is
/// bad, the address taken, or the store not to be opened.
pub fn run<F>(name: &'static str, mechanisms: &[Mechanism], serve: impl FnOnce(Service) -> F) -> ExitCode
where
    F: Future<Output = io::Result<()>>,
{
    let config = match Config::read(name, mechanisms) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let (Some(task), Some(dir)) = (&config.task, config.data()) {
        return tasks::run(task, dir);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(problem) => return refuse(&format!("cannot start: {problem}")),
    };
    let code = runtime.block_on(supervise(name, config, serve));
    runtime.shutdown_timeout(LAST_MOMENT);
    code
}

async fn supervise<F>(name: &'static str, config: Config, serve: impl FnOnce(Service) -> F) -> ExitCode
where
    F: Future<Output = io::Result<()>>,
{
    let listener = match config.bind().await {
        Ok(listener) => listener,
        Err(problem) => return refuse(&format!("cannot listen on {}: {problem}", config.listen)),
    };
    let _logs = match logs::start(config.log_format) {
        Ok(logs) => logs,
        Err(problem) => return refuse(&format!("RUST_LOG: {problem}")),
    };
    // Blocks, while there is nothing else to do. A signal ends it at once, as a crash would.
    let keeping = match Keeping::begin(&config) {
        Ok(keeping) => keeping,
        Err(problem) => return refuse(&problem.to_string()),
    };
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(problem) => return refuse(&format!("cannot listen for signals: {problem}")),
    };
    announce(name, &listener);

    let mechanism = config.mechanism();
    let drain_timeout = config.drain_timeout();
    let mut limits = Limits::default().with(|limits| {
        limits.connection.max_connections = config.max_connections();
    });
    if config.echo {
        limits.wire.max_frame_bytes = MAX_ECHO;
    }
    let chat = keeping.rooms(Chat::builder().limits(limits)).build();
    let limits = Arc::clone(chat.limits());
    let reported = keeping.clone();
    let mut endpoint = Endpoint::new(chat.clone())
        .allow_origins(config.allow_origin)
        .with_site()
        .with_report(move || reported.report());
    if config.echo {
        endpoint = endpoint.echo();
    }
    let (stopping, stop) = watch::channel(false);
    let mut serving = pin!(serve(Service { endpoint, mechanism, listener, limits, stop }));

    let signal = tokio::select! {
        result = &mut serving => {
            keeping.end(drain_timeout).await;
            return failed(result);
        }
        signal = signals.next() => signal,
    };
    info!(signal, limit = ?drain_timeout, "draining");
    let deadline = Instant::now() + drain_timeout;
    let drained = tokio::select! {
        result = &mut serving => {
            keeping.end(drain_timeout).await;
            return failed(result);
        }
        drained = chat.drain(drain_timeout - keeping.share(drain_timeout)) => drained,
        signal = signals.next() => {
            warn!(signal, "ended without waiting");
            return ExitCode::from(1);
        }
    };
    info!(connections = drained.connections, abandoned = drained.abandoned, "drained");
    stopping.send_replace(true);
    let kept = keeping.end(deadline.saturating_duration_since(Instant::now()));
    let (stopped, in_order) = tokio::select! {
        ended = async { tokio::join!(serving, kept) } => ended,
        _ = signals.next() => return ExitCode::from(1),
    };
    match stopped {
        Ok(()) if drained.abandoned == 0 && in_order => ExitCode::SUCCESS,
        Ok(()) => ExitCode::from(1),
        Err(problem) => failed(Err(problem)),
    }
}

fn failed(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => error!("the server ended by itself"),
        Err(problem) => error!(%problem, "the server failed"),
    }
    ExitCode::from(1)
}

/// Says where the server is: in the log and, for whoever asked for port 0, as one line on standard output.
fn announce(name: &str, listener: &TcpListener) {
    let Ok(address) = listener.local_addr() else { return };
    info!(%address, "listening");
    // Nobody may be reading.
    let _unread = writeln!(io::stdout(), "{name} listens on ws://{address}/ws, page http://{address}/");
}

/// One line on standard error, and the exit code of a server that does not start.
fn refuse(problem: &str) -> ExitCode {
    // Nobody may be reading.
    let _unread = writeln!(io::stderr(), "error: {}", problem.replace(['\n', '\r'], " "));
    ExitCode::from(2)
}
