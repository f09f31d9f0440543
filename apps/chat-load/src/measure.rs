//! Latencies, and the resources of processes.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::clock;

/// The longest recorded latency in microseconds: 10 minutes.
const MAX_LATENCY_US: u64 = 600_000_000;

/// The number of histograms. Several reduce the waiting of threads for each other.
const SHARDS: usize = 8;

/// Recorded latencies in microseconds, with three significant digits.
#[derive(Debug)]
pub(crate) struct Recorder {
    shards: Vec<Mutex<Histogram<u64>>>,
}

/// Percentiles of latencies, in microseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Percentiles {
    /// The number of latencies.
    pub count: u64,
    /// The median.
    pub p50: u64,
    /// The 90th percentile.
    pub p90: u64,
    /// The 99th percentile.
    pub p99: u64,
    /// The 99.9th percentile.
    pub p99_9: u64,
    /// The maximum.
    pub max: u64,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        let histogram =
            || Histogram::new_with_bounds(1, MAX_LATENCY_US, 3).expect("these bounds are in order");
        Self { shards: (0..SHARDS).map(|_| Mutex::new(histogram())).collect() }
    }

    /// Records the latency of an event that was due at `due` and happens now. `shard` spreads the callers.
    pub(crate) fn record(&self, shard: usize, due: u64) {
        let latency = clock::now().saturating_sub(due).clamp(1, MAX_LATENCY_US);
        self.shards[shard % SHARDS].lock().saturating_record(latency);
    }

    /// Returns all latencies so far.
    pub(crate) fn merged(&self) -> Histogram<u64> {
        let mut all = self.shards[0].lock().clone();
        for shard in &self.shards[1..] {
            // All histograms have the same bounds.
            let _fits = all.add(&*shard.lock()).is_ok();
        }
        all
    }

    pub(crate) fn percentiles(&self) -> Option<Percentiles> {
        let all = self.merged();
        (!all.is_empty()).then(|| Percentiles {
            count: all.len(),
            p50: all.value_at_quantile(0.5),
            p90: all.value_at_quantile(0.9),
            p99: all.value_at_quantile(0.99),
            p99_9: all.value_at_quantile(0.999),
            max: all.max(),
        })
    }
}

/// A process, read from `/proc`.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    folder: PathBuf,
}

/// The resources of a process.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Usage {
    /// CPU time of all threads, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory, in KiB.
    pub rss_kib: u64,
    /// The peak of the resident memory, in KiB.
    pub peak_kib: u64,
    /// The number of open file descriptors.
    pub descriptors: u64,
}

/// The CPU time and the memory of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// CPU time of all threads, in seconds.
    pub(crate) cpu_seconds: f64,
    /// Resident memory, in KiB.
    pub(crate) rss_kib: u64,
    /// The peak of the resident memory, in KiB.
    pub(crate) peak_kib: u64,
}

impl Process {
    pub(crate) fn of(pid: u32) -> Self {
        Self { folder: PathBuf::from(format!("/proc/{pid}")) }
    }

    pub(crate) fn own() -> Self {
        Self { folder: PathBuf::from("/proc/self") }
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        let Sample { cpu_seconds, rss_kib, peak_kib } = self.sample()?;
        let descriptors = fs::read_dir(self.folder.join("fd"))?.count() as u64;
        Ok(Usage { cpu_seconds, rss_kib, peak_kib, descriptors })
    }

    /// Returns the CPU time and the memory. It does not count the descriptors, which takes long if there are many.
    pub(crate) fn sample(&self) -> Result<Sample> {
        let stat = fs::read_to_string(self.folder.join("stat")).context("no such process")?;
        let (_, fields) = stat.rsplit_once(')').context("no fields")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
        let status = fs::read_to_string(self.folder.join("status"))?;
        let kib = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).context(name.to_owned())?;
            Ok(line.split_whitespace().next().context("no number")?.parse()?)
        };
        Ok(Sample {
            cpu_seconds: precise(ticks.sum::<Result<f64, _>>()? / 100.0, self.scheduled()),
            rss_kib: kib("VmRSS:")?,
            peak_kib: kib("VmHWM:")?,
        })
    }

    /// Returns the CPU time of the present threads in seconds, or `None` if the kernel does not count it.
    fn scheduled(&self) -> Option<f64> {
        let mut seconds = 0.0;
        for thread in fs::read_dir(self.folder.join("task")).ok()? {
            // A thread may have ended in the meantime.
            let Ok(schedstat) = fs::read_to_string(thread.ok()?.path().join("schedstat")) else { continue };
            seconds += schedstat.split_whitespace().next()?.parse::<f64>().ok()? / 1e9;
        }
        Some(seconds)
    }
}

/// Returns the CPU time of a process. `ticks` counts all its threads, in steps of 10 ms. `scheduled` has nanoseconds,
/// but does not count the threads that have ended.
fn precise(ticks: f64, scheduled: Option<f64>) -> f64 {
    scheduled.filter(|scheduled| (ticks - scheduled).abs() < 0.02).unwrap_or(ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_time_is_precise_unless_a_thread_has_ended() {
        assert_eq!(precise(1.23, Some(1.2345)), 1.2345);
        assert_eq!(precise(1.23, Some(0.7)), 1.23);
        assert_eq!(precise(1.23, None), 1.23);
    }
}
