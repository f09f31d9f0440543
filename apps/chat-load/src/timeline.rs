//! The latencies and the resources of a run over time.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::load::{Load, Measured};
use crate::measure::{Process, Sample};

/// The limit of points. A longer run has longer parts.
const MAX_POINTS: usize = 600;

/// The shortest and the longest time between two samples.
const TICKS: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];

/// The number of samples in a run, unless the longest time between two samples gives more.
const SAMPLES: u32 = 40;

/// A part of a run, with the deliveries that arrived in it and the resources that were used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The end of the part, in seconds from the start of the load.
    pub end: f64,
    /// The length of the part, in seconds.
    pub seconds: f64,
    /// The latencies of the deliveries, connections or round trips. `None` if there were none.
    pub latency: Option<Latency>,
    /// The number of cores that the server used.
    pub server_cores: Option<f64>,
    /// The largest resident memory of the server among the samples of the part, in KiB.
    pub server_rss_kib: Option<u64>,
    /// The number of cores that the load tool used.
    pub own_cores: Option<f64>,
}

/// Latencies in microseconds, with two significant digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// The number of latencies.
    pub count: u64,
    /// The median.
    pub p50: u64,
    /// The 99th percentile.
    pub p99: u64,
    /// The maximum.
    pub max: u64,
}

/// A thread that takes samples of a run.
#[derive(Debug)]
pub struct Sampler {
    stop: Sender<()>,
    thread: JoinHandle<Vec<Point>>,
}

impl Sampler {
    /// Starts to sample a load that begins now.
    pub(crate) fn of_load(load: &Arc<Load>, measured: Measured) -> Result<Self> {
        let tick = (load.common.duration / SAMPLES).clamp(TICKS[0], TICKS[1]);
        let server = load.common.pid.map(Process::of);
        Self::start(Source { server, tool: Process::own(), load: Some((Arc::clone(load), measured)), tick })
    }

    /// Starts to sample a server and a load tool by their process ids, once per second.
    ///
    /// # Errors
    ///
    /// Fails if no thread can be started.
    pub fn of_processes(server: u32, tool: u32) -> Result<Self> {
        let server = Some(Process::of(server));
        Self::start(Source { server, tool: Process::of(tool), load: None, tick: TICKS[1] })
    }

    fn start(source: Source) -> Result<Self> {
        let (stop, stopped) = channel();
        // Before the thread: it may start late, when messages have arrived already.
        let first = source.totals();
        let sample = move || source.run(first, &stopped);
        let thread = thread::Builder::new().name("sampler".to_owned()).spawn(sample)?;
        Ok(Self { stop, thread })
    }

    /// Stops the thread and returns at most 600 points.
    ///
    /// # Errors
    ///
    /// Fails if the thread has panicked.
    pub fn finish(self) -> Result<Vec<Point>> {
        drop(self.stop);
        self.thread.join().ok().context("the sampler failed")
    }
}

/// The processes and the load that are sampled.
struct Source {
    server: Option<Process>,
    tool: Process,
    load: Option<(Arc<Load>, Measured)>,
    /// The time between two samples.
    tick: Duration,
}

/// The sums since the start of the run.
struct Totals {
    at: u64,
    server: Option<Sample>,
    own: Option<Sample>,
    latencies: Option<Histogram<u64>>,
}

impl Source {
    /// Takes a sample at each tick after the first one, until the channel is closed.
    fn run(&self, first: Totals, stopped: &Receiver<()>) -> Vec<Point> {
        let mut timeline = Timeline::default();
        let mut last = first;
        let (start, tick) = (last.at, u64::try_from(self.tick.as_micros()).unwrap_or(u64::MAX / 2));
        loop {
            let due = last.at + tick - (last.at - start) % tick;
            let wait = Duration::from_micros(due.saturating_sub(clock::now()));
            let is_last = stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout);
            let now = self.totals();
            let part = Part::between(&last, &now);
            if is_last && now.at - last.at < tick / 2 {
                // The values of so short a part would be far from those of the others.
                timeline.merge(part);
            } else {
                timeline.push(part);
            }
            if is_last {
                return timeline.points(start);
            }
            last = now;
        }
    }

    fn totals(&self) -> Totals {
        Totals {
            at: clock::now(),
            // A process that has ended has no further samples.
            server: self.server.as_ref().and_then(|process| process.sample().ok()),
            own: self.tool.sample().ok(),
            latencies: self.load.as_ref().map(|(load, measured)| load.recorder(*measured).merged()),
        }
    }
}

/// The parts of a run so far. Their memory is bounded: parts are merged in pairs when there are too many.
#[derive(Debug)]
struct Timeline {
    parts: Vec<Part>,
    /// The number of samples in a complete part.
    width: u32,
}

/// The measurements between two samples, or in several such times.
#[derive(Clone, Debug)]
struct Part {
    samples: u32,
    /// The end and the length, in microseconds.
    end: u64,
    length: u64,
    latencies: Histogram<u64>,
    /// The maximum, which the histogram rounds.
    max: u64,
    /// CPU time in seconds.
    server_cpu: Option<f64>,
    own_cpu: Option<f64>,
    server_rss_kib: Option<u64>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { parts: Vec::new(), width: 1 }
    }
}

impl Timeline {
    fn push(&mut self, part: Part) {
        match self.parts.last_mut().filter(|last| last.samples < self.width) {
            Some(last) => last.merge(&part),
            None => self.parts.push(part),
        }
        if self.parts.len() > MAX_POINTS {
            self.width *= 2;
            let pairs = self.parts.chunks(2).map(|pair| {
                let mut merged = pair[0].clone();
                pair[1..].iter().for_each(|second| merged.merge(second));
                merged
            });
            self.parts = pairs.collect();
        }
    }

    /// Adds a part to the last point.
    fn merge(&mut self, part: Part) {
        match self.parts.last_mut() {
            Some(last) => last.merge(&part),
            None => self.parts.push(part),
        }
    }

    fn points(&self, start: u64) -> Vec<Point> {
        self.parts.iter().map(|part| part.point(start)).collect()
    }
}

impl Part {
    fn between(from: &Totals, to: &Totals) -> Self {
        let mut latencies = new_histogram();
        let mut max = 0;
        for value in to.latencies.iter().flat_map(Histogram::iter_recorded) {
            let before = from.latencies.as_ref().map_or(0, |from| from.count_at(value.value_iterated_to()));
            let count = value.count_at_value().saturating_sub(before);
            if count > 0 {
                // The histogram grows as needed.
                let _recorded = latencies.record_n(value.value_iterated_to(), count).is_ok();
                max = value.value_iterated_to();
            }
        }
        let cpu = |from: Option<Sample>, to: Option<Sample>| {
            from.zip(to).map(|(from, to)| (to.cpu_seconds - from.cpu_seconds).max(0.0))
        };
        Self {
            samples: 1,
            end: to.at,
            length: to.at - from.at,
            latencies,
            max,
            server_cpu: cpu(from.server, to.server),
            own_cpu: cpu(from.own, to.own),
            server_rss_kib: to.server.map(|server| server.rss_kib),
        }
    }

    /// Adds the part that follows.
    fn merge(&mut self, next: &Self) {
        let sum = |one: Option<f64>, other: Option<f64>| one.zip(other).map(|(one, other)| one + other);
        self.samples += next.samples;
        self.end = next.end;
        self.length += next.length;
        // Both histograms grow as needed.
        let _fits = self.latencies.add(&next.latencies).is_ok();
        self.max = self.max.max(next.max);
        self.server_cpu = sum(self.server_cpu, next.server_cpu);
        self.own_cpu = sum(self.own_cpu, next.own_cpu);
        self.server_rss_kib = self.server_rss_kib.max(next.server_rss_kib);
    }

    fn point(&self, start: u64) -> Point {
        let seconds = (self.length as f64 / 1e6).max(1e-6);
        let at = |quantile| self.latencies.value_at_quantile(quantile).min(self.max);
        let latency = Latency { count: self.latencies.len(), p50: at(0.5), p99: at(0.99), max: self.max };
        Point {
            end: self.end.saturating_sub(start) as f64 / 1e6,
            seconds,
            latency: (latency.count > 0).then_some(latency),
            server_cores: self.server_cpu.map(|cpu| cpu / seconds),
            server_rss_kib: self.server_rss_kib,
            own_cores: self.own_cpu.map(|cpu| cpu / seconds),
        }
    }
}

/// Returns a histogram that grows with its values. It has less than 25 KiB for latencies of up to 10 minutes.
fn new_histogram() -> Histogram<u64> {
    Histogram::new(2).expect("two digits are valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A part of one second in which one message had this latency.
    fn second(end: u64, latency: u64) -> Part {
        let mut latencies = new_histogram();
        latencies.record(latency).unwrap();
        Part {
            samples: 1,
            end: end * 1_000_000,
            length: 1_000_000,
            latencies,
            max: latency,
            server_cpu: Some(0.5),
            own_cpu: Some(0.25),
            server_rss_kib: Some(end),
        }
    }

    #[test]
    fn a_part_has_the_latencies_and_the_cpu_time_between_two_samples() {
        let totals = |at, cpu_seconds, latencies: &[u64]| {
            let mut histogram = Histogram::new(3).unwrap();
            latencies.iter().for_each(|latency| histogram.record(*latency).unwrap());
            let sample = Sample { cpu_seconds, rss_kib: 70, peak_kib: 90 };
            Totals { at, server: Some(sample), own: None, latencies: Some(histogram) }
        };
        let earlier = [5, 300_000];
        let later = [5, 300_000, 1_000, 2_000, 2_000, 250_000];
        let part = Part::between(&totals(1_000_000, 1.0, &earlier), &totals(3_000_000, 1.5, &later));
        let point = part.point(500_000);
        let Latency { count, p50, p99, max } = point.latency.unwrap();
        assert_eq!((count, point.end, point.seconds), (4, 2.5, 2.0));
        assert_eq!((point.server_cores, point.own_cores, point.server_rss_kib), (Some(0.25), None, Some(70)));
        assert!(
            (2_000..2_020).contains(&p50) && (250_000..250_500).contains(&max) && p99 == max,
            "{point:?}"
        );
    }

    #[test]
    fn a_long_run_has_a_bounded_number_of_points_and_loses_no_latency() {
        let mut timeline = Timeline::default();
        for end in 1..=5_000 {
            timeline.push(second(end, if end == 3_000 { 70_000 } else { 100 }));
        }
        let points = timeline.points(0);
        assert!((MAX_POINTS / 2..=MAX_POINTS).contains(&points.len()), "{}", points.len());
        assert_eq!(points.iter().map(|point| point.latency.unwrap().count).sum::<u64>(), 5_000);
        assert_eq!(points.iter().map(|point| point.seconds).sum::<f64>(), 5_000.0);
        let slow: Vec<_> = points.iter().filter(|point| point.latency.unwrap().max == 70_000).collect();
        assert!(matches!(slow[..], [point] if (3_000.0..=3_016.0).contains(&point.end)), "{slow:?}");
        assert!(points.iter().all(|point| point.server_cores == Some(0.5) && point.own_cores == Some(0.25)));
        assert_eq!(points.last().unwrap().server_rss_kib, Some(5_000));
    }
}
