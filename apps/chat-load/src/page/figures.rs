//! The charts of a page.

use maud::{Markup, html};

use super::axis::Axis;
use super::chart::{Chart, Line, Style, describe, sample};
use super::{LatencyPoint, ResourcePoint, Run};

const MEDIAN: Style = Style { name: "median", class: "first" };
const P99: Style = Style { name: "99th percentile", class: "second" };
const MAXIMUM: Style = Style { name: "maximum", class: "third" };
const SERVER: Style = Style { name: "server", class: "first" };
const TOOL: Style = Style { name: "load tool", class: "second" };

/// A chart of each run.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    title: String,
    /// The remark under the title of the section.
    note: fn(&Run) -> &str,
    /// The unit of the values.
    unit: &'static str,
    is_logarithmic: bool,
    /// The lines from the lowest to the highest layer.
    lines: fn(&Run) -> Vec<Line>,
}

/// Returns the charts of latencies and of throughput. `unit` is the name of what arrives.
pub(super) fn latency_charts(unit: &str) -> [Kind; 2] {
    let latencies = |run: &Run| {
        let line = |style, n: usize| {
            let value = |point: &LatencyPoint| point.milliseconds.map(|values| values[n]);
            let points = run.latency_points.iter().map(|point| (point.at, value(point)));
            Line { style, points: points.collect() }
        };
        vec![line(MAXIMUM, 2), line(P99, 1), line(MEDIAN, 0)]
    };
    let rate = |run: &Run| {
        let points = run.latency_points.iter().map(|point| (point.at, point.per_second));
        vec![Line { style: SERVER, points: points.collect() }]
    };
    [
        Kind {
            title: format!("Latency of {unit}"),
            note: |run| &run.latency_note,
            unit: "ms",
            is_logarithmic: true,
            lines: latencies,
        },
        Kind {
            title: format!("Number of {unit}"),
            note: |_| "",
            unit: "per second",
            is_logarithmic: false,
            lines: rate,
        },
    ]
}

/// Returns the charts of the CPU and the memory.
pub(super) fn resource_charts() -> [Kind; 2] {
    let cores = |run: &Run| {
        let line = |style, of: fn(&ResourcePoint) -> Option<f64>| {
            let points = run.resource_points.iter().map(|point| (point.at, of(point)));
            Line { style, points: points.collect() }
        };
        vec![line(TOOL, |point| point.tool_cores), line(SERVER, |point| point.server_cores)]
    };
    let memory = |run: &Run| {
        let mib = |point: &ResourcePoint| point.server_kib.map(|kib| kib as f64 / 1024.0);
        let points = run.resource_points.iter().map(|point| (point.at, mib(point)));
        vec![Line { style: SERVER, points: points.collect() }]
    };
    let kind = |title: &str, unit, lines: fn(&Run) -> Vec<Line>| Kind {
        title: title.to_owned(),
        note: |_| "",
        unit,
        is_logarithmic: false,
        lines,
    };
    [kind("CPU", "cores", cores), kind("Resident memory of the server", "MiB", memory)]
}

/// Returns charts with the same scales for all runs. Charts without values are left out.
pub(super) fn charts(runs: &[Run], title: &str, kinds: &[Kind]) -> Markup {
    let drawn: Vec<_> = kinds
        .iter()
        .map(|kind| (kind, runs.iter().map(kind.lines).collect::<Vec<_>>()))
        .filter(|(_, lines)| lines.iter().flatten().any(|line| line.values().next().is_some()))
        .collect();
    let time = Time::of(runs);
    let note = kinds.iter().flat_map(|kind| runs.iter().map(kind.note)).find(|note| !note.is_empty());
    html! {
        @if !drawn.is_empty() {
            section {
                h2 { (title) }
                @if let Some(note) = note { p.note { (note) } }
                @if runs.len() == 1 {
                    div.charts {
                        @for (kind, lines) in &drawn { (figure(&kind.title, kind, lines, 0, &time)) }
                    }
                } @else {
                    @for (kind, lines) in &drawn {
                        h3 { (kind.title) }
                        div.charts {
                            @for (n, run) in runs.iter().enumerate() { (figure(&run.name, kind, lines, n, &time)) }
                        }
                    }
                }
            }
        }
    }
}

/// Returns the chart of run `n`, with the scale of all runs.
fn figure(title: &str, kind: &Kind, runs: &[Vec<Line>], n: usize, time: &Time) -> Markup {
    let values = runs.iter().flatten().flat_map(Line::values);
    let (y, y_title) = if kind.is_logarithmic {
        (Axis::logarithmic(values), format!("{} (logarithmic)", kind.unit))
    } else {
        (Axis::linear(values), kind.unit.to_owned())
    };
    let lines: Vec<_> = runs[n].iter().map(|line| line.with_time_unit(time.seconds)).collect();
    let chart = Chart {
        description: describe(title, kind.unit, &lines),
        x: &time.axis,
        y: &y,
        x_title: time.unit,
        y_title: &y_title,
        lines: &lines,
    };
    html! {
        figure {
            figcaption {
                strong { (title) }
                @if lines.len() > 1 {
                    @for line in lines.iter().rev() { span.legend { (sample(line.style)) (line.style.name) } }
                }
            }
            (chart.svg())
        }
    }
}

/// The time axis of all charts.
#[derive(Debug)]
struct Time {
    axis: Axis,
    unit: &'static str,
    /// The length of the unit.
    seconds: f64,
}

impl Time {
    fn of(runs: &[Run]) -> Self {
        let latest = runs.iter().flat_map(|run| {
            let points = run.latency_points.last().map(|point| point.at);
            points.into_iter().chain(run.resource_points.last().map(|point| point.at))
        });
        let end = latest.fold(0.0, f64::max);
        let (unit, seconds) = match end {
            0.0..=300.0 => ("seconds", 1.0),
            300.0..=10_800.0 => ("minutes", 60.0),
            _ => ("hours", 3_600.0),
        };
        Self { axis: Axis::exact([end / seconds].into_iter()), unit, seconds }
    }
}
