//! The page of one or several runs: one HTML file without scripts that needs no network.
//!
//! The page begins with the verdict. Several runs stand side by side: each is a column of the tables, and their charts
//! have the same scales. [`Run`] is independent of the tool that made the run.

mod axis;
mod chart;
mod figures;
mod layout;
mod report;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// A run, as the page shows it.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// The name, which is the head of its column.
    pub name: String,
    /// The result in one sentence. Empty if a check failed.
    pub success: String,
    /// Failed checks. The run has passed if there are none.
    pub failures: Vec<String>,
    /// Remarks, such as a saturated load tool.
    pub notes: Vec<String>,
    /// The numbers of sent, expected, delivered and lost messages.
    pub deliveries: Vec<Row>,
    /// The members with failed checks.
    pub faults: Vec<Fault>,
    /// The number of members with failed checks, if it is more than the page names.
    pub fault_count: usize,
    /// Percentiles of latencies.
    pub latencies: Vec<Row>,
    /// CPU time, memory and descriptors.
    pub resources: Vec<Row>,
    /// The scenario and its sizes.
    pub load: Vec<Row>,
    /// The command line, the versions and the machine.
    pub environment: Vec<Row>,
    /// The unit of [`LatencyPoint::count`], such as `deliveries`.
    pub unit: String,
    /// The meaning of the latencies, and the time that a point covers.
    pub latency_note: String,
    /// Latencies over time.
    pub latency_points: Vec<LatencyPoint>,
    /// The resources of the server over time.
    pub resource_points: Vec<ResourcePoint>,
}

/// A row of a table. Rows with the same name stand beside each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The name.
    pub name: String,
    /// The value with its unit.
    pub value: String,
    /// True if the value is the reason for a failed check.
    pub is_fault: bool,
}

/// A member whose deliveries failed a check.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The name of the room.
    pub room: String,
    /// The name or the number of the member.
    pub member: String,
    /// The counts of its deliveries.
    pub deliveries: Vec<Row>,
}

/// The latencies of a part of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatencyPoint {
    /// The end of the part, in seconds from the start of the load.
    pub at: f64,
    /// Deliveries, connections or round trips per second. `None` if they were not counted.
    pub per_second: Option<f64>,
    /// The median, the 99th percentile and the maximum in milliseconds. `None` if nothing arrived.
    pub milliseconds: Option<[f64; 3]>,
}

/// The resources of the server in a part of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResourcePoint {
    /// The end of the part, in seconds from the start of the load.
    pub at: f64,
    /// The number of cores that the server used.
    pub server_cores: Option<f64>,
    /// The number of cores that the load tool used.
    pub tool_cores: Option<f64>,
    /// Resident memory of the server, in KiB.
    pub server_kib: Option<u64>,
}

impl Run {
    /// Returns true if every check passed.
    pub fn is_good(&self) -> bool {
        self.failures.is_empty()
    }
}

impl Row {
    /// Creates a row without a fault.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into(), is_fault: false }
    }

    /// Creates a row with a count.
    pub fn count(name: impl Into<String>, count: u64) -> Self {
        Self::new(name, grouped(count))
    }

    /// Creates a row with a count that must be 0.
    pub fn faults(name: impl Into<String>, count: u64) -> Self {
        Self { is_fault: count > 0, ..Self::count(name, count) }
    }
}

/// Returns the page of one or several runs as HTML.
pub fn html(runs: &[Run]) -> String {
    layout::page(runs).into_string()
}

/// Writes the page of one or several runs to a file.
///
/// # Errors
///
/// Fails if the file cannot be written.
pub fn write(path: &Path, runs: &[Run]) -> Result<()> {
    fs::write(path, html(runs)).with_context(|| format!("--html {}", path.display()))
}

/// Returns a number with a comma between groups of three digits.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns a size in MiB.
pub fn mib(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_run_is_escaped() {
        let script = "<script>alert('x & y')</script>\"";
        let run = Run {
            name: script.to_owned(),
            failures: vec![script.to_owned()],
            notes: vec![script.to_owned()],
            faults: vec![Fault {
                room: script.to_owned(),
                member: script.to_owned(),
                deliveries: Vec::new(),
            }],
            fault_count: 1,
            environment: vec![Row::new(script, script)],
            unit: script.to_owned(),
            latency_points: vec![LatencyPoint {
                at: 1.0,
                per_second: Some(1.0),
                milliseconds: Some([1.0; 3]),
            }],
            ..Run::default()
        };
        for runs in [vec![run.clone()], vec![run.clone(), run]] {
            let page = html(&runs);
            assert!(!page.contains("<script") && !page.contains("alert('x & y')"), "{page}");
            assert!(page.contains("&lt;script&gt;alert('x &amp; y')&lt;/script&gt;"), "{page}");
        }
    }

    #[test]
    fn a_number_has_groups_of_three_digits() {
        let numbers = [0, 999, 1_000, 12_345, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "12,345", "1,234,567"]);
    }
}
