//! What a run says: in the terminal, and as files for machines and people.

mod html;
mod json;
mod junit;
mod table;

use crate::{Case, Outcome, Report};

pub use html::html;
pub use json::json;
pub use junit::junit;
pub use table::{counted, failures, summary, table};

/// Every case on every target.
#[derive(Debug)]
pub struct Results {
    /// What was run on, in the order of the columns.
    pub targets: Vec<String>,
    /// The cases with one report for each target, in the order of the groups.
    pub rows: Vec<Row>,
}

/// One case on every target.
#[derive(Debug)]
pub struct Row {
    /// The case.
    pub case: Case,
    /// One for each target.
    pub reports: Vec<Report>,
}

/// How many cases came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that the server passes.
    pub passed: usize,
    /// Those that it fails.
    pub failed: usize,
    /// Those that could not be asked.
    pub not_run: usize,
}

impl Results {
    /// What one target came to in one group, or in all.
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

    /// Whether no case failed on any target.
    pub fn is_ok(&self) -> bool {
        (0..self.targets.len()).all(|target| self.tally(target, None).failed == 0)
    }

    /// The groups, in order.
    pub fn groups(&self) -> Vec<&'static str> {
        let mut groups: Vec<_> = self.rows.iter().map(|row| row.case.group).collect();
        groups.dedup();
        groups
    }
}

/// Text that may stand in HTML and XML, where that allows it at all.
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
