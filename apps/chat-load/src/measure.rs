//! Latencies, and what processes use.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde::Serialize;

use crate::clock;

/// The longest latency told apart: 10 minutes.
const LONGEST: u64 = 600_000_000;

/// So many histograms share the work, so that threads do not wait for each other.
const SHARDS: usize = 8;

/// Latencies in microseconds, to three digits.
#[derive(Debug)]
pub(crate) struct Recorder {
    shards: Vec<Mutex<Histogram<u64>>>,
}

/// What is told of latencies, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Percentiles {
    /// How many there are.
    pub count: u64,
    /// Half are no longer than this.
    pub p50: u64,
    /// Nine in ten.
    pub p90: u64,
    /// All but one in a hundred.
    pub p99: u64,
    /// All but one in a thousand.
    pub p99_9: u64,
    /// The longest.
    pub max: u64,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        let histogram = || Histogram::new_with_bounds(1, LONGEST, 3).expect("these bounds are in order");
        Self { shards: (0..SHARDS).map(|_| Mutex::new(histogram())).collect() }
    }

    /// Takes note of what was due at `intended` and is done now. `shard` spreads the callers.
    pub(crate) fn record(&self, shard: usize, intended: u64) {
        let latency = clock::now().saturating_sub(intended).clamp(1, LONGEST);
        self.shards[shard % SHARDS].lock().saturating_record(latency);
    }

    pub(crate) fn percentiles(&self) -> Option<Percentiles> {
        let mut all = self.shards[0].lock().clone();
        for shard in &self.shards[1..] {
            // All have the same bounds.
            let _fits = all.add(&*shard.lock()).is_ok();
        }
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

/// A process, as Linux tells of it.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    folder: PathBuf,
}

/// What a process used up to now.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Usage {
    /// Seconds of CPU of all its threads, in steps of 10 ms.
    pub cpu_seconds: f64,
    /// KiB in memory.
    pub rss_kib: u64,
    /// Open descriptors.
    pub descriptors: u64,
}

impl Process {
    pub(crate) fn of(pid: u32) -> Self {
        Self { folder: PathBuf::from(format!("/proc/{pid}")) }
    }

    pub(crate) fn own() -> Self {
        Self { folder: PathBuf::from("/proc/self") }
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        let stat = fs::read_to_string(self.folder.join("stat")).context("no such process")?;
        let (_, fields) = stat.rsplit_once(')').context("no fields")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
        let status = fs::read_to_string(self.folder.join("status"))?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(Usage {
            cpu_seconds: ticks.sum::<Result<f64, _>>()? / 100.0,
            rss_kib: rss.split_whitespace().next().context("no number")?.parse()?,
            descriptors: fs::read_dir(self.folder.join("fd"))?.count() as u64,
        })
    }
}
