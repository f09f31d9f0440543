//! The metrics of the process, in the text format of Prometheus.

use std::fmt;
use std::fs;
use std::time::{Duration, SystemTime};

use metrics::{describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper bounds of the times of commits and appends, in seconds. A commit on a disk takes 0.1 ms to some 10 ms.
const SECONDS: [f64; 15] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Upper bounds of the entries that a reader is behind.
const ENTRIES: [f64; 7] = [10.0, 50.0, 100.0, 500.0, 1_000.0, 10_000.0, 100_000.0];

/// Time between two collections of the values of histograms, which bounds their memory if nothing scrapes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Code that publishes values to the recorder before each scrape.
type Source = Box<dyn Fn() + Send + Sync>;

/// The recorder of the process, and the sources that publish to it.
pub(crate) struct Metrics {
    handle: PrometheusHandle,
    sources: Vec<Source>,
}

impl Metrics {
    /// Installs the recorder of the process, which only the binary does, and once. `server` is the name of the binary.
    pub(crate) fn install(server: &'static str) -> Result<Self, String> {
        let mut builder = PrometheusBuilder::new();
        for (name, bounds) in [
            ("chat_append_seconds", &SECONDS[..]),
            ("chat_store_commit_seconds", &SECONDS[..]),
            ("chat_reader_lag_entries", &ENTRIES[..]),
        ] {
            builder = builder
                .set_buckets_for_metric(Matcher::Full(name.to_owned()), bounds)
                .map_err(|error| error.to_string())?;
        }
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|error| error.to_string())?;
        chat_core::describe_metrics();
        chat_auth::describe_metrics();
        describe_process(server);
        let mut metrics = Self { handle, sources: Vec::new() };
        metrics.source(publish_process);
        Ok(metrics)
    }

    /// Adds code that publishes values before each scrape.
    pub(crate) fn source(&mut self, publish: impl Fn() + Send + Sync + 'static) {
        self.sources.push(Box::new(publish));
    }

    /// Returns the present values in the text format of Prometheus.
    pub(crate) fn render(&self) -> String {
        self.sources.iter().for_each(|publish| publish());
        self.handle.render()
    }

    /// Collects the values of histograms from time to time, without end.
    pub(crate) fn upkeep(&self) -> impl Future<Output = ()> + Send + use<> {
        let handle = self.handle.clone();
        async move {
            loop {
                tokio::time::sleep(UPKEEP_INTERVAL).await;
                handle.run_upkeep();
            }
        }
    }
}

fn describe_process(server: &'static str) {
    describe_gauge!("chat_build_info", "Always 1. The labels have the name and version of the server.");
    describe_gauge!("process_start_time_seconds", "Start of the process, in seconds since the Unix epoch.");
    describe_gauge!("process_resident_memory_bytes", "Memory of the process that is in RAM. Linux only.");
    gauge!("chat_build_info", "server" => server, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    gauge!("process_start_time_seconds").set(since_epoch.as_secs_f64());
}

fn publish_process() {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(bytes) = resident_bytes(&status) {
        gauge!("process_resident_memory_bytes").set(bytes as f64);
    }
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1_024)
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("sources", &self.sources.len()).finish_non_exhaustive()
    }
}
