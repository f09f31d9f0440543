use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The resources of a process, read from `/proc`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Footprint {
    /// Open file descriptors, without those of the store, which opens some at its first read.
    pub descriptors: usize,
    /// The number of threads.
    pub threads: usize,
    /// Resident memory, in KiB.
    pub kib: usize,
    /// The peak of the resident memory, in KiB.
    pub peak_kib: usize,
    /// User and system time, in seconds. The resolution is 10 ms.
    pub cpu_seconds: f64,
}

impl Footprint {
    /// Reads the resources of a process whose store is in the directory `store`.
    pub(crate) fn of(process: u32, store: &Path) -> Result<Self> {
        let folder = format!("/proc/{process}");
        let status = fs::read_to_string(format!("{folder}/status"))?;
        let number = |name: &str| -> Result<usize> {
            let line = status.lines().find(|line| line.starts_with(name)).context("no such line")?;
            Ok(line.split_whitespace().nth(1).context("no number")?.parse()?)
        };
        let stat = fs::read_to_string(format!("{folder}/stat"))?;
        // The name of the program, in parentheses, may hold spaces.
        let (_, fields) = stat.rsplit_once(')').context("no fields")?;
        let ticks: Vec<f64> =
            fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
        // A descriptor that was closed in the meantime has no name.
        let names =
            fs::read_dir(format!("{folder}/fd"))?.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        Ok(Self {
            descriptors: names.filter(|name| !name.starts_with(store)).count(),
            threads: number("Threads:")?,
            kib: number("VmRSS:")?,
            peak_kib: number("VmHWM:")?,
            cpu_seconds: ticks.iter().sum::<f64>() / 100.0,
        })
    }
}
