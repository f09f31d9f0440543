use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// What a process holds and has used, as Linux tells it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Footprint {
    /// Open file descriptors, but for those of the store, which opens some when it is first read.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
    /// KiB in memory.
    pub kib: usize,
    /// The most KiB there ever were.
    pub peak_kib: usize,
    /// User and system time, in steps of 10 ms.
    pub cpu_seconds: f64,
}

impl Footprint {
    /// `store` is the directory of its store.
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
        // One that has been closed meanwhile has no name.
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
