//! Parts of a run, alternately without and with history reads.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::load::Snapshot;
use crate::measure::{Percentiles, Recorder};

/// The parts of a run. Parts without and with history reads alternate, and the first part is without.
#[derive(Debug)]
pub(crate) struct Phases {
    start: u64,
    /// The length of a part, in microseconds.
    length: u64,
    count: u64,
    recorders: [Recorder; 2],
}

/// A part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) with_reads: bool,
    /// The end of the part, in microseconds.
    pub(crate) end: u64,
}

/// The effect of history reads on the deliveries of the same run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct PagingReport {
    /// The number of pages read.
    pub pages: u64,
    /// Pages per second, in the parts with history reads.
    pub per_second: f64,
    /// The number of readings that reached the first message of the room.
    pub walks: u64,
    /// The number of messages in the longest reading.
    pub longest: u64,
    /// The parts without history reads.
    pub without: Phase,
    /// The parts with history reads.
    pub with: Phase,
    /// The median latency with history reads, divided by the one without.
    pub p50_ratio: f64,
    /// The 99th percentile with history reads, divided by the one without.
    pub p99_ratio: f64,
}

/// The sum of all parts of one kind.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Phase {
    /// The duration, in seconds.
    pub seconds: f64,
    /// Latencies of the messages that were due in the parts, without the first tenth of each.
    pub delivery: Option<Percentiles>,
    /// The number of cores that the server used.
    pub server_cores: Option<f64>,
    /// The number of cores that this tool used.
    pub own_cores: f64,
}

impl Phases {
    /// Divides the duration into turns of two parts each.
    pub(crate) fn new(start: u64, duration: Duration, turns: u32) -> Self {
        let count = 2 * u64::from(turns);
        let length = (u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 2) / count).max(1);
        Self { start, length, count, recorders: [Recorder::new(), Recorder::new()] }
    }

    /// Returns all parts, in order.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Part> {
        (0..self.count).map(|n| Part { with_reads: n % 2 == 1, end: self.start + (n + 1) * self.length })
    }

    /// Returns the recorder for a message that was due at `due`. The first tenth of a part has none: the part before it
    /// may still cause delays.
    pub(crate) fn recorder(&self, due: u64) -> Option<&Recorder> {
        let since = due.checked_sub(self.start)?;
        let part = (since / self.length).min(self.count - 1);
        let is_settled = since - part * self.length >= self.length / 10;
        is_settled.then(|| &self.recorders[usize::from(part % 2 == 1)])
    }

    /// Adds the latencies to the sums of both kinds of parts.
    pub(crate) fn sum(&self, mut phases: [Phase; 2]) -> [Phase; 2] {
        for (phase, recorder) in phases.iter_mut().zip(&self.recorders) {
            phase.delivery = recorder.percentiles();
        }
        phases
    }
}

impl Phase {
    /// Adds a part.
    pub(crate) fn add(&mut self, from: &Snapshot, to: &Snapshot) {
        let seconds = to.at.saturating_sub(from.at) as f64 / 1e6;
        let total = self.seconds + seconds;
        let mean = |cores: f64, spent: f64| (cores * self.seconds + spent) / total.max(1e-6);
        self.own_cores = mean(self.own_cores, to.own.cpu_seconds - from.own.cpu_seconds);
        self.server_cores = from
            .server
            .zip(to.server)
            .map(|(from, to)| mean(self.server_cores.unwrap_or_default(), to.cpu_seconds - from.cpu_seconds));
        self.seconds = total;
    }
}

impl PagingReport {
    pub(crate) fn new(pages: u64, walks: u64, longest: u64, [without, with]: [Phase; 2]) -> Self {
        let ratio = |of: fn(&Percentiles) -> u64| {
            let latencies = with.delivery.as_ref().zip(without.delivery.as_ref());
            latencies.map_or(0.0, |(with, without)| of(with) as f64 / of(without) as f64)
        };
        Self {
            pages,
            per_second: if with.seconds > 0.0 { pages as f64 / with.seconds } else { 0.0 },
            walks,
            longest,
            without,
            with,
            p50_ratio: ratio(|latencies| latencies.p50),
            p99_ratio: ratio(|latencies| latencies.p99),
        }
    }

    /// Returns the rows of the table: name, value and meaning.
    pub(crate) fn rows(&self) -> Vec<(&'static str, String, String)> {
        let phase = |name, phase: &Phase| {
            let ms = |us: u64| format!("{:.2} ms", us as f64 / 1e3);
            let (p50, p99, count) = phase.delivery.map_or((0, 0, 0), |all| (all.p50, all.p99, all.count));
            let server =
                phase.server_cores.map_or(String::new(), |cores| format!("server {cores:.2} cores, "));
            let meaning = format!(
                "delivery p50; p99 {}, {count} deliveries; {server}this tool {:.2}",
                ms(p99),
                phase.own_cores
            );
            (name, ms(p50), meaning)
        };
        let walks = format!(
            "{:.0} per second; {} complete readings, up to {} messages",
            self.per_second, self.walks, self.longest
        );
        let ratio = format!("p50 with pages divided by p50 without; p99 {:.2}", self.p99_ratio);
        vec![
            ("pages", self.pages.to_string(), walks),
            phase("without pages", &self.without),
            phase("with pages", &self.with),
            ("ratio", format!("{:.2}", self.p50_ratio), ratio),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_counts_for_the_part_in_which_it_was_due() {
        let phases = Phases::new(1_000, Duration::from_millis(4), 2);
        let part = |due| {
            let recorder = phases.recorder(due)?;
            phases.recorders.iter().position(|one| std::ptr::eq(one, recorder))
        };
        let parts = [999, 1_000, 1_099, 1_100, 1_999, 2_050, 2_100, 3_500, 4_999, 5_000].map(part);
        let (without, with) = (Some(0), Some(1));
        assert_eq!(
            parts,
            [None, None, None, without, without, None, with, without, with, with],
            "the first tenth of each part has no recorder"
        );
        let parts: Vec<_> = phases.parts().collect();
        let part = |with_reads, end| Part { with_reads, end };
        assert_eq!(parts, [part(false, 2_000), part(true, 3_000), part(false, 4_000), part(true, 5_000)]);
    }
}
