//! Parts of a run, by turns without and with something beside it.

use std::time::Duration;

use serde::Serialize;

use crate::load::Moment;
use crate::measure::{Percentiles, Recorder};

/// The parts of a run: without, with, without, with, ...
#[derive(Debug)]
pub(crate) struct Phases {
    start: u64,
    /// Microseconds of one part.
    length: u64,
    count: u64,
    recorders: [Recorder; 2],
}

/// What reading the history did to the deliveries of the same run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Paged {
    /// Pages read.
    pub pages: u64,
    /// Pages a second, while they were read.
    pub per_second: f64,
    /// Readings that came to the room's first message.
    pub walks: u64,
    /// Messages in the longest of them.
    pub longest: u64,
    /// The parts of the run in which no pages were read.
    pub without: Phase,
    /// The parts in which they were.
    pub with: Phase,
    /// The median latency with pages, over that without.
    pub p50_ratio: f64,
    /// The same of the 99th percentile.
    pub p99_ratio: f64,
}

/// One kind of part.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Phase {
    /// How long these parts took together.
    pub seconds: f64,
    /// Latencies of what was due in them, but for the first tenth of each.
    pub delivery: Option<Percentiles>,
    /// Cores that the server used.
    pub server_cores: Option<f64>,
    /// Cores that this tool used.
    pub own_cores: f64,
}

impl Phases {
    /// So many turns of two parts each.
    pub(crate) fn new(start: u64, duration: Duration, turns: u32) -> Self {
        let count = 2 * u64::from(turns);
        let length = (u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 2) / count).max(1);
        Self { start, length, count, recorders: [Recorder::new(), Recorder::new()] }
    }

    /// Each part: whether it is one with, and when it ends.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (bool, u64)> {
        (0..self.count).map(|n| (n % 2 == 1, self.start + (n + 1) * self.length))
    }

    /// Where the latency of a message that was due then belongs. What the part before has left may delay the first.
    pub(crate) fn recorder(&self, due: u64) -> Option<&Recorder> {
        let since = due.checked_sub(self.start)?;
        let part = (since / self.length).min(self.count - 1);
        let is_settled = since - part * self.length >= self.length / 10;
        is_settled.then(|| &self.recorders[usize::from(part % 2 == 1)])
    }

    /// What the parts without and those with came to.
    pub(crate) fn sum(&self, mut phases: [Phase; 2]) -> [Phase; 2] {
        for (phase, recorder) in phases.iter_mut().zip(&self.recorders) {
            phase.delivery = recorder.percentiles();
        }
        phases
    }
}

impl Phase {
    /// Another part of this kind.
    pub(crate) fn add(&mut self, from: &Moment, to: &Moment) {
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

impl Paged {
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

    /// The report for people: names, values and what they mean.
    pub(crate) fn rows(&self) -> Vec<(&'static str, String, String)> {
        let phase = |name, phase: &Phase| {
            let ms = |us: u64| format!("{:.2} ms", us as f64 / 1e3);
            let (p50, p99, count) = phase.delivery.map_or((0, 0, 0), |all| (all.p50, all.p99, all.count));
            let server =
                phase.server_cores.map_or(String::new(), |cores| format!("server {cores:.2} cores, "));
            let meaning = format!(
                "delivery p50; p99 {}, {count} of them; {server}this tool {:.2}",
                ms(p99),
                phase.own_cores
            );
            (name, ms(p50), meaning)
        };
        let walks = format!(
            "{:.0} a second; {} times to the first message, {} messages at most",
            self.per_second, self.walks, self.longest
        );
        let ratio = format!("of the p50 with pages to that without; p99 {:.2}", self.p99_ratio);
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
    fn what_is_due_belongs_to_the_part_that_it_was_due_in() {
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
            "the first tenth of each counts for neither"
        );
        let ends: Vec<_> = phases.parts().collect();
        assert_eq!(ends, [(false, 2_000), (true, 3_000), (false, 4_000), (true, 5_000)]);
    }
}
