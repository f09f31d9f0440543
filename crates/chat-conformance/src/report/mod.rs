//! Reports of a run: in the terminal, and as JSON, JUnit XML and HTML.

mod html;
mod json;
mod junit;
mod table;

use crate::{Case, Outcome, Report};

pub use html::html;
pub use json::json;
pub use junit::junit;
pub use table::{counted, failures, summary, table};

/// The results of all cases on all targets.
#[derive(Debug)]
pub struct Results {
    /// The names of the targets, in the order of the columns.
    pub targets: Vec<String>,
    /// The cases, in the order of the groups.
    pub rows: Vec<Row>,
}

/// The results of one case on all targets.
#[derive(Debug)]
pub struct Row {
    /// The case.
    pub case: Case,
    /// One report for each target.
    pub reports: Vec<Report>,
}

/// The number of cases for each outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Cases that passed.
    pub passed: usize,
    /// Cases that failed.
    pub failed: usize,
    /// Cases that could not run.
    pub not_run: usize,
}

impl Results {
    /// Counts the outcomes of one target in one group, or in all groups.
    pub fn tally(&self, target: usize, group: Option<&str>) -> Tally {
        let mut tally = Tally::default();
        let rows = self.rows.iter().filter(|row| group.is_none_or(|group| row.case.group == group));
        for report in rows.filter_map(|row| row.reports.get(target)) {
            match report.outcome {
                Outcome::Passed => tally.passed += 1,
                Outcome::Failed(_) | Outcome::NoServer(_) => tally.failed += 1,
                Outcome::NotRun(_) => tally.not_run += 1,
            }
        }
        tally
    }

    /// Returns true if no case failed on any target.
    pub fn is_ok(&self) -> bool {
        (0..self.targets.len()).all(|target| self.tally(target, None).failed == 0)
    }

    /// Returns the groups, in order.
    pub fn groups(&self) -> Vec<&'static str> {
        let mut groups: Vec<_> = self.rows.iter().map(|row| row.case.group).collect();
        groups.dedup();
        groups
    }
}

/// Escapes a text for HTML and XML.
fn escaped(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '&' => "&amp;".to_owned(),
            '"' => "&quot;".to_owned(),
            '\t' | '\n' => c.to_string(),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => c.escape_default().to_string(),
            c => c.to_string(),
        })
        .collect()
}
