//! The metrics of the process, in the text format of Prometheus.

mod registry;

use std::fmt;
use std::fs;
use std::sync::Arc;
use std::time::SystemTime;

use metrics::{describe_gauge, gauge};

use registry::Registry;

/// Upper bounds of the times of commits and appends, in seconds. A commit on a disk takes 0.1 ms to some 10 ms.
const SECONDS: [f64; 15] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Upper bounds of the entries that a reader is behind.
const ENTRIES: [f64; 7] = [10.0, 50.0, 100.0, 500.0, 1_000.0, 10_000.0, 100_000.0];

/// Code that publishes values to the recorder before each scrape.
type Source = Box<dyn Fn() + Send + Sync>;

/// The recorder of the process, and the sources that publish to it.
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    sources: Vec<Source>,
}

impl Metrics {
    /// Installs the recorder of the process, which only the binary does, and once. `server` is the name of the binary.
    pub(crate) fn install(server: &'static str) -> Result<Self, String> {
        let registry = Arc::new(Registry::new(bounds));
        metrics::set_global_recorder(Arc::clone(&registry)).map_err(|error| error.to_string())?;
        chat_core::describe_metrics();
        chat_auth::describe_metrics();
        describe_process(server);
        let mut metrics = Self { registry, sources: Vec::new() };
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
        self.registry.render()
    }
}

/// Returns the upper bounds of the buckets of a histogram.
fn bounds(name: &str) -> &'static [f64] {
    if name.ends_with("_entries") { &ENTRIES } else { &SECONDS }
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
