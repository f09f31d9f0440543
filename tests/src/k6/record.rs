//! The latencies over time, from the events that the dashboard of k6 records.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use chat_load::page::LatencyPoint;
use serde_json::Value;

/// The limit of points of a page.
const MAX_POINTS: usize = 600;

/// The metric of the latencies of deliveries.
const METRIC: &str = "chat_delivery";

/// The figures of a point.
const FIGURES: [&str; 3] = ["med", "p(99)", "max"];

/// Reads the latencies of each second. In a long run, a point has several seconds, and each of its figures is the
/// highest one of them.
pub(super) fn latencies(path: &Path, start: SystemTime) -> Result<Vec<LatencyPoint>> {
    let start = start.duration_since(UNIX_EPOCH)?.as_secs_f64();
    let mut record = Record::default();
    let mut points = Points::default();
    for line in BufReader::new(File::open(path)?).lines() {
        if let Some((time, milliseconds)) = record.event(&serde_json::from_str(&line?)?)? {
            points.push(LatencyPoint { at: (time - start).max(0.0), per_second: None, milliseconds });
        }
    }
    Ok(points.all)
}

/// The names that the snapshots refer to.
#[derive(Debug, Default)]
struct Record {
    /// The metrics so far. A snapshot has one array for each, in this order.
    metrics: BTreeSet<String>,
    /// The positions of the figures in the array of a latency.
    figures: [usize; 3],
}

impl Record {
    /// Returns the time and the latencies of a snapshot, or `None` for another event. The time is in seconds.
    fn event(&mut self, event: &Value) -> Result<Option<(f64, Option<[f64; 3]>)>> {
        let data = &event["data"];
        match event["event"].as_str() {
            Some("param") => {
                let names = data["aggregates"]["trend"].as_array().context("no figures of a latency")?;
                for (at, figure) in self.figures.iter_mut().zip(FIGURES) {
                    *at = names.iter().position(|name| name == figure).context(figure)?;
                }
            }
            Some("metric") => {
                self.metrics.extend(data.as_object().into_iter().flat_map(|metrics| metrics.keys().cloned()));
            }
            Some("snapshot") => {
                let values = |name: &str| Some(&data[self.metrics.iter().position(|metric| metric == name)?]);
                let time = values("time").and_then(|values| values[0].as_f64()).context("no time")?;
                let latency = values(METRIC).and_then(|values| {
                    let [p50, p99, max] = self.figures.map(|at| values[at].as_f64());
                    Some([p50?, p99?, max?])
                });
                return Ok(Some((time / 1e3, latency)));
            }
            _ => {}
        }
        Ok(None)
    }
}

/// A bounded number of points.
#[derive(Debug)]
struct Points {
    all: Vec<LatencyPoint>,
    /// The number of seconds of a complete point.
    width: usize,
    /// The number of seconds of the last point.
    last: usize,
}

impl Default for Points {
    fn default() -> Self {
        Self { all: Vec::new(), width: 1, last: 1 }
    }
}

impl Points {
    fn push(&mut self, point: LatencyPoint) {
        match self.all.last_mut().filter(|_| self.last < self.width) {
            Some(last) => {
                *last = highest(*last, point);
                self.last += 1;
            }
            None => {
                self.all.push(point);
                self.last = 1;
            }
        }
        if self.all.len() > MAX_POINTS {
            self.all = self
                .all
                .chunks(2)
                .map(|pair| pair.iter().copied().reduce(highest).unwrap_or(pair[0]))
                .collect();
            self.width *= 2;
        }
    }
}

/// Merges two neighbours.
fn highest(one: LatencyPoint, next: LatencyPoint) -> LatencyPoint {
    let milliseconds = match (one.milliseconds, next.milliseconds) {
        (Some(one), Some(next)) => Some([0, 1, 2].map(|n| f64::max(one[n], next[n]))),
        (one, next) => one.or(next),
    };
    LatencyPoint { milliseconds, ..next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_read_by_the_metrics_before_it() -> Result<()> {
        let mut record = Record::default();
        let mut event = |text: &str| record.event(&serde_json::from_str(text)?);
        let aggregates = r#"{"event":"param","data":{"aggregates":{"trend":["avg","max","med","p(99)"]}}}"#;
        assert_eq!(event(aggregates)?, None);
        assert_eq!(event(r#"{"event":"metric","data":{"time":{}}}"#)?, None);
        assert_eq!(event(r#"{"event":"snapshot","data":[[2000]]}"#)?, Some((2.0, None)));
        assert_eq!(event(r#"{"event":"metric","data":{"chat_delivery":{},"vus":{}}}"#)?, None);
        assert_eq!(event(r#"{"event":"cumulative","data":[[1,2,3,4],[2500],[1]]}"#)?, None);
        let latency = event(r#"{"event":"snapshot","data":[[4,9,5,8],[3000],[1]]}"#)?;
        assert_eq!(latency, Some((3.0, Some([5.0, 8.0, 9.0]))));
        assert_eq!(event(r#"{"event":"snapshot","data":[[],[4000],[1]]}"#)?, Some((4.0, None)));
        Ok(())
    }

    #[test]
    fn a_long_record_has_a_bounded_number_of_points_and_loses_no_maximum() {
        let mut points = Points::default();
        for second in 0..5_000_u32 {
            let max = if second == 3_000 { 70.0 } else { 1.0 };
            let at = f64::from(second);
            points.push(LatencyPoint { at, per_second: None, milliseconds: Some([1.0, 1.0, max]) });
        }
        assert!((MAX_POINTS / 2..=MAX_POINTS).contains(&points.all.len()), "{}", points.all.len());
        let slow = points.all.iter().filter(|point| point.milliseconds == Some([1.0, 1.0, 70.0])).count();
        assert_eq!((slow, points.all.last().map(|point| point.at)), (1, Some(4_999.0)));
    }
}
