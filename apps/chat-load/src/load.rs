use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use chat_client::socket::{Socket, Target};
use chat_client::{Builder, Client, ErrorCode, Lost, RoomName, Roots};
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use crate::clock;
use crate::measure::{Process, Recorder, Usage};
use crate::options::Common;
use crate::phases::Phases;
use crate::timeline::{Point, Sampler};

/// The limit of concurrent connection attempts.
const CONCURRENT_CONNECTS: usize = 64;

/// The time limit of a connection attempt.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// The shared state of one run.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) common: Common,
    /// The name of the run, unique on its server.
    pub(crate) run: String,
    /// The root certificates of `--ca`.
    roots: Option<Roots>,
    pub(crate) acknowledge: Recorder,
    pub(crate) delivery: Recorder,
    pub(crate) connect: Recorder,
    pub(crate) round_trip: Recorder,
    pub(crate) sent: AtomicU64,
    pub(crate) acknowledged: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) reconnects: AtomicU64,
    /// The number of each kind of connection end and refusal.
    pub(crate) endings: Mutex<BTreeMap<String, u64>>,
    pub(crate) usages: Mutex<Usages>,
    /// The parts of the run, if the scenario measures parts.
    pub(crate) phases: OnceLock<Phases>,
    sampler: Mutex<Option<Sampler>>,
    stopped: AtomicBool,
    bar: ProgressBar,
}

/// The latencies that are reported over time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Measured {
    Deliveries,
    Connections,
    RoundTrips,
}

/// The resources in use at the phases of a run.
#[derive(Debug, Default)]
pub(crate) struct Usages {
    pub(crate) before: Option<Usage>,
    pub(crate) connected: Option<Usage>,
    pub(crate) began: Option<Snapshot>,
    pub(crate) ended: Option<Snapshot>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Snapshot {
    pub(crate) at: u64,
    pub(crate) server: Option<Usage>,
    pub(crate) own: Usage,
    pub(crate) delivered: u64,
}

impl Load {
    pub(crate) fn new(common: &Common) -> Result<Arc<Self>> {
        let bar = ProgressBar::with_draw_target(
            Some(common.duration.as_millis().try_into()?),
            ProgressDrawTarget::stderr_with_hz(5),
        );
        bar.set_style(ProgressStyle::with_template("{elapsed:>4} [{bar:30}] {msg}")?);
        let load = Self {
            common: common.clone(),
            run: format!("load-{:08x}", getrandom::u32()?),
            roots: common.roots()?,
            acknowledge: Recorder::new(),
            delivery: Recorder::new(),
            connect: Recorder::new(),
            round_trip: Recorder::new(),
            sent: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            reconnects: AtomicU64::new(0),
            endings: Mutex::default(),
            usages: Mutex::default(),
            phases: OnceLock::new(),
            sampler: Mutex::default(),
            stopped: AtomicBool::new(false),
            bar,
        };
        load.usages.lock().before = load.server()?;
        Ok(Arc::new(load))
    }

    /// Ends the load now.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Counts messages as sent and returns the number of the first one.
    pub(crate) fn next_messages(&self, count: u64) -> u64 {
        self.sent.fetch_add(count, Ordering::Relaxed)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn server(&self) -> Result<Option<Usage>> {
        self.common
            .pid
            .map(|pid| Process::of(pid).usage().with_context(|| format!("--pid {pid}")))
            .transpose()
    }

    /// Returns the resources in use and the number of deliveries.
    pub(crate) fn snapshot(&self) -> Result<Snapshot> {
        // If the server has crashed, its connections report it.
        self.snapshot_with(self.server().unwrap_or_default())
    }

    fn snapshot_with(&self, server: Option<Usage>) -> Result<Snapshot> {
        let delivered = self.delivered.load(Ordering::Relaxed);
        Ok(Snapshot { at: clock::now(), server, own: Process::own().usage()?, delivered })
    }

    /// Starts the load after all connections are open. Returns the start time in microseconds.
    pub(crate) fn begin(self: &Arc<Self>, measured: Measured) -> Result<u64> {
        if self.common.json.is_some() || self.common.html.is_some() {
            *self.sampler.lock() = Some(Sampler::of_load(self, measured)?);
        }
        let snapshot = self.snapshot_with(self.server()?)?;
        let mut usages = self.usages.lock();
        usages.connected = snapshot.server;
        usages.began = Some(snapshot);
        drop(usages);
        self.bar.reset_elapsed();
        Ok(snapshot.at)
    }

    /// Records the end of the load.
    pub(crate) fn end(&self) -> Result<()> {
        self.usages.lock().ended = Some(self.snapshot()?);
        Ok(())
    }

    pub(crate) fn recorder(&self, measured: Measured) -> &Recorder {
        match measured {
            Measured::Deliveries => &self.delivery,
            Measured::Connections => &self.connect,
            Measured::RoundTrips => &self.round_trip,
        }
    }

    /// Stops the samples of the run and returns them.
    pub(crate) fn finish_samples(&self) -> Result<Vec<Point>> {
        let sampler = self.sampler.lock().take();
        sampler.map_or_else(|| Ok(Vec::new()), Sampler::finish)
    }

    /// Shows the progress.
    pub(crate) fn show_progress(&self, phase: &str) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let elapsed = self.usages.lock().began.map_or(0, |began| (clock::now() - began.at) / 1_000);
        self.bar.set_position(elapsed);
        self.bar.set_message(format!(
            "{phase}: {} sent, {} acknowledged, {} delivered",
            count(&self.sent),
            count(&self.acknowledged),
            count(&self.delivered)
        ));
    }

    pub(crate) fn clear_progress(&self) {
        self.bar.finish_and_clear();
    }

    /// Waits until `done` returns true, the load is stopped, or the time limit is over.
    pub(crate) async fn wait(&self, phase: &str, limit: Duration, mut done: impl FnMut() -> bool) {
        let until = clock::now() + u64::try_from(limit.as_micros()).unwrap_or(u64::MAX / 2);
        while !done() && !self.is_stopped() && clock::now() < until {
            self.show_progress(phase);
            sleep(Duration::from_millis(50).min(limit)).await;
        }
    }

    /// Returns the name of a room of this run.
    pub(crate) fn room(&self, n: usize) -> Result<RoomName> {
        format!("{}-{n}", self.run).parse().map_err(|code| anyhow!("{code}"))
    }

    /// Returns the target of connection `n`. All connections are the same user, so that presence adds no load.
    pub(crate) fn target(&self, n: usize) -> Target {
        Target {
            name: Some(self.run.clone()),
            local_address: self.common.source(n),
            roots: self.roots.clone(),
            ..Target::new(self.common.url.clone())
        }
    }

    /// Returns the builder of a client that is the same user.
    pub(crate) fn client(&self) -> Builder {
        let builder = Client::builder(&self.common.url).name(self.run.clone());
        match &self.roots {
            Some(roots) => builder.roots(roots.clone()),
            None => builder,
        }
    }

    /// Connects and receives the welcome.
    pub(crate) async fn connect(&self, n: usize) -> Result<Socket> {
        self.connect_to(&self.target(n)).await
    }

    /// Connects to a target and receives the welcome.
    pub(crate) async fn connect_to(&self, target: &Target) -> Result<Socket> {
        let connected = async {
            let mut socket = Socket::connect(target).await?;
            socket.welcome().await?;
            anyhow::Ok(socket)
        };
        timeout(CONNECT_TIMEOUT, connected)
            .await
            .context("no welcome in time")?
            .context("connecting (see ulimit -n)")
    }

    /// Makes `count` connections, many of them at the same time.
    pub(crate) async fn connect_all<T, F>(&self, count: usize, make: impl Fn(usize) -> F) -> Result<Vec<T>>
    where
        F: Future<Output = Result<T>>,
    {
        let made = AtomicU64::new(0);
        let one = |n: usize| {
            let making = make(n);
            let made = &made;
            async move {
                anyhow::ensure!(!self.is_stopped(), "stopped while connecting");
                let one = making.await?;
                let made = made.fetch_add(1, Ordering::Relaxed) + 1;
                if made.is_multiple_of(64) {
                    self.show_progress(&format!("{made} of {count} connected"));
                }
                anyhow::Ok(one)
            }
        };
        stream::iter((0..count).map(one)).buffer_unordered(CONCURRENT_CONNECTS).try_collect().await
    }

    /// Records the latency of a delivery whose message was due at `due`. `shard` spreads the callers.
    pub(crate) fn record_delivery(&self, shard: usize, due: u64) {
        self.delivery.record(shard, due);
        if let Some(recorder) = self.phases.get().and_then(|phases| phases.recorder(due)) {
            recorder.record(shard, due);
        }
    }

    /// Records the unexpected end of a connection.
    pub(crate) fn record_lost(&self, lost: &Lost) {
        let how = match lost {
            Lost::Violation(violation) => format!("{lost}: {violation}"),
            other => other.to_string(),
        };
        self.record_ending(how);
    }

    /// Records an error reply.
    pub(crate) fn record_refusal(&self, code: &ErrorCode) {
        self.record_ending(format!("refused: {}", code.as_str()));
    }

    /// Counts an ending by its description.
    pub(crate) fn record_ending(&self, what: String) {
        *self.endings.lock().entry(what).or_default() += 1;
    }
}
