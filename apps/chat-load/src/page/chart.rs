use std::fmt::Write as _;

use maud::{Markup, html};

use super::axis::Axis;

/// The size of the drawing, in units of its view box.
const SIZE: [f64; 2] = [480.0, 250.0];

/// The margins of the drawing: left, top, right, bottom.
const MARGINS: [f64; 4] = [76.0, 26.0, 14.0, 38.0];

/// A line chart.
#[derive(Debug)]
pub(super) struct Chart<'a> {
    /// The description for readers that do not see the drawing.
    pub(super) description: String,
    pub(super) x: &'a Axis,
    pub(super) y: &'a Axis,
    /// The names of the axes, with their units.
    pub(super) x_title: &'a str,
    pub(super) y_title: &'a str,
    pub(super) lines: &'a [Line],
}

/// A line of a chart.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) style: Style,
    /// The values, each with its time. A time without a value interrupts the line.
    pub(super) points: Vec<(f64, Option<f64>)>,
}

/// The name of a line, and the class that defines its colour and its dashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) name: &'static str,
    pub(super) class: &'static str,
}

impl Line {
    pub(super) fn values(&self) -> impl Iterator<Item = f64> + Clone {
        self.points.iter().filter_map(|(_, value)| *value)
    }

    /// Returns the line with times in units of this many seconds.
    pub(super) fn with_time_unit(&self, seconds: f64) -> Self {
        let points = self.points.iter().map(|(at, value)| (at / seconds, *value)).collect();
        Self { style: self.style, points }
    }

    /// Returns the smallest and the largest value.
    fn range(&self) -> Option<(f64, f64)> {
        let range = self.values().fold((f64::MAX, f64::MIN), |(a, b), value| (a.min(value), b.max(value)));
        (range.0 <= range.1).then_some(range)
    }
}

/// Describes the lines of a chart in one sentence.
pub(super) fn describe(title: &str, unit: &str, lines: &[Line]) -> String {
    let mut text = format!("{title} over time.");
    for line in lines {
        if let Some((least, largest)) = line.range() {
            // Writing to a string cannot fail.
            let _written = write!(text, " {}: {least:.2} to {largest:.2} {unit}.", line.style.name);
        }
    }
    text
}

/// Returns a sample of a line, for a legend.
pub(super) fn sample(style: Style) -> Markup {
    html! {
        svg.sample viewBox="0 0 26 8" aria-hidden="true" { line class=(style.class) x1="0" y1="4" x2="26" y2="4" {} }
    }
}

impl Chart<'_> {
    pub(super) fn svg(&self) -> Markup {
        let [width, height] = SIZE;
        let [left, top, right, bottom] = MARGINS;
        let (end, base) = (width - right, height - bottom);
        let x = |value: f64| left + self.x.position(value) * (end - left);
        let y = |value: f64| base - self.y.position(value) * (base - top);
        let fixed = |value: f64| format!("{value:.1}");
        html! {
            svg viewBox=(format!("0 0 {width} {height}")) role="img" aria-label=(self.description) {
                text.title x="2" y="14" { (self.y_title) }
                @for tick in &self.y.ticks {
                    line.grid x1=(left) y1=(fixed(y(tick.value))) x2=(end) y2=(fixed(y(tick.value))) {}
                    text.tick x=(left - 8.0) y=(fixed(y(tick.value) + 4.5)) text-anchor="end" { (tick.label) }
                }
                @for tick in &self.x.ticks {
                    line.grid x1=(fixed(x(tick.value))) y1=(base) x2=(fixed(x(tick.value))) y2=(base + 5.0) {}
                    text.tick x=(fixed(x(tick.value))) y=(base + 19.0) text-anchor="middle" { (tick.label) }
                }
                line.axis x1=(left) y1=(base) x2=(end) y2=(base) {}
                text.title x=(fixed((left + end) / 2.0)) y=(height - 3.0) text-anchor="middle" { (self.x_title) }
                @for line in self.lines {
                    @for segment in line.points.split(|(_, value)| value.is_none()) {
                        @let points = segment.iter().filter_map(|(at, value)| Some((x(*at), y((*value)?))));
                        @if segment.len() == 1 {
                            @for (x, y) in points { circle class=(line.style.class) cx=(fixed(x)) cy=(fixed(y)) r="2.5" {} }
                        } @else if segment.len() > 1 {
                            @let points = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>();
                            polyline class=(line.style.class) points=(points.join(" ")) {}
                        }
                    }
                }
            }
        }
    }
}
