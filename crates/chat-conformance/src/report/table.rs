use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Results, Row, Tally};
use crate::{Outcome, Report};

/// The number of similar failures from which only the first is shown.
const MIN_SIMILAR: usize = 3;

/// The maximum number of kinds of failure in the summary.
const MAX_PROBLEMS: usize = 3;

/// Returns a table with a line for each group and a column for each target.
pub fn table(results: &Results) -> String {
    let mut text = String::new();
    for (number, target) in results.targets.iter().enumerate() {
        // A write to a string does not fail.
        let _written = writeln!(text, "[{}] {target}", number + 1);
    }
    let header: String = (1..=results.targets.len()).map(|n| format!("{:>22}", format!("[{n}]"))).collect();
    let _written = writeln!(text, "\n{:<14}{header}", "group");
    let groups = results.groups();
    for group in groups.iter().copied().map(Some).chain([None]) {
        let cells: String =
            (0..results.targets.len()).map(|target| cell(results.tally(target, group))).collect();
        let _written = writeln!(text, "{:<14}{cells}", group.unwrap_or("all"));
    }
    text
}

fn cell(tally: Tally) -> String {
    let asked = tally.passed + tally.failed;
    let verdict = match (tally.failed, tally.not_run) {
        (0, 0) => format!("{}/{asked}", tally.passed),
        (0, not_run) => format!("{}/{asked} ({not_run} not run)", tally.passed),
        (_, 0) => format!("{}/{asked} FAILED", tally.passed),
        (_, not_run) => format!("{}/{asked} FAILED ({not_run})", tally.passed),
    };
    format!("{verdict:>22}")
}

/// Explains every failure. If several are similar, explains the first and names the others.
pub fn failures(results: &Results) -> String {
    let mut text = String::new();
    for (number, target) in results.targets.iter().enumerate() {
        for (problem, failed) in similar(results, number) {
            let shown = if failed.len() >= MIN_SIMILAR { 1 } else { failed.len() };
            for row in &failed[..shown] {
                let explained = row.reports[number].explain(&row.case).unwrap_or_default();
                // A write to a string does not fail.
                let _written = writeln!(text, "---- {} on {target}\n{explained}", row.case.path());
            }
            if let Some(others) = failed.get(shown..).filter(|others| !others.is_empty()) {
                let _written = writeln!(text, "     and {} more {problem}\n{}", others.len(), names(others));
            }
        }
    }
    text
}

/// Returns the counts and the verdict for each target.
pub fn summary(results: &Results) -> String {
    let mut text = String::new();
    for (number, target) in results.targets.iter().enumerate() {
        let Tally { passed, failed, not_run } = results.tally(number, None);
        let verdict = match (failed, not_run) {
            (0, 0) => "it keeps the contract in all these cases".to_owned(),
            (0, _) => {
                format!("all cases that can run on this target passed; {} could not run", counted(not_run))
            }
            _ => "it breaks the contract: see the failures above".to_owned(),
        };
        let _written =
            writeln!(text, "{target}: {passed} passed, {failed} failed, {not_run} not run: {verdict}");
        let mut problems = similar(results, number);
        problems.sort_by_key(|(_, rows)| std::cmp::Reverse(rows.len()));
        for (problem, rows) in
            problems.iter().filter(|(_, rows)| rows.len() >= MIN_SIMILAR).take(MAX_PROBLEMS)
        {
            let _written = writeln!(text, "  {}: {problem}", counted(rows.len()));
        }
        let mut not_run: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
        for row in &results.rows {
            if let Some(Outcome::NotRun(needed)) = row.reports.get(number).map(|report| &report.outcome) {
                not_run.entry(needed).or_default().push(row);
            }
        }
        for (needed, rows) in not_run {
            let (needs, count) = (if rows.len() == 1 { "needs" } else { "need" }, counted(rows.len()));
            let _written = writeln!(text, "  {count} {needs} {needed}:\n{}", names(&rows).trim_end());
        }
    }
    text
}

/// Groups the failed cases of a target by their problem.
fn similar(results: &Results, target: usize) -> Vec<(String, Vec<&Row>)> {
    let mut similar: Vec<(String, Vec<&Row>)> = Vec::new();
    for row in &results.rows {
        let Some(problem) = row.reports.get(target).and_then(Report::problem) else { continue };
        match similar.iter_mut().find(|(known, _)| *known == problem) {
            Some((_, rows)) => rows.push(row),
            None => similar.push((problem, vec![row])),
        }
    }
    similar
}

fn names(rows: &[&Row]) -> String {
    rows.iter().map(|row| format!("       {}\n", row.case.path())).collect()
}

/// Returns the number of cases as text: `1 case`, `2 cases`.
pub fn counted(cases: usize) -> String {
    if cases == 1 { "1 case".to_owned() } else { format!("{cases} cases") }
}
