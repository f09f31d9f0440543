use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Results, Tally};
use crate::Outcome;

/// A line for each group, a column for each target.
pub fn table(results: &Results) -> String {
    let mut text = String::new();
    for (number, target) in results.targets.iter().enumerate() {
        // Writing to a string does not fail.
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

/// Every failure, explained.
pub fn failures(results: &Results) -> String {
    let mut text = String::new();
    for row in &results.rows {
        for (target, report) in results.targets.iter().zip(&row.reports) {
            if let Outcome::Failed(failure) = &report.outcome {
                let explained = failure.explain(&row.case, &report.transcript);
                let _written = writeln!(text, "---- {} on {target}\n{explained}", row.case.path());
            }
        }
    }
    text
}

/// The verdict, and how to read it.
pub fn summary(results: &Results) -> String {
    let mut text = String::new();
    let mut not_run: BTreeMap<&str, usize> = BTreeMap::new();
    for report in results.rows.iter().flat_map(|row| &row.reports) {
        if let Outcome::NotRun(reason) = report.outcome {
            *not_run.entry(reason).or_default() += 1;
        }
    }
    for (number, target) in results.targets.iter().enumerate() {
        let Tally { passed, failed, not_run } = results.tally(number, None);
        let verdict = match (failed, not_run) {
            (0, 0) => "certified: it does all that the contract says",
            (0, _) => "does all that was asked; it is certified once the rest has been run too",
            _ => "not certified: each failure above says what was expected, where, and what came",
        };
        let _written =
            writeln!(text, "{target}: {passed} passed, {failed} failed, {not_run} not run: {verdict}");
    }
    for (reason, count) in not_run {
        let _written = writeln!(text, "  not run, {count} times: {reason}");
    }
    let all_fail = |results: &Results| {
        (0..results.targets.len()).any(|target| {
            let tally = results.tally(target, None);
            tally.failed > 20 && tally.failed > tally.passed
        })
    };
    if all_fail(results) {
        text.push_str(
            "  Most cases fail: is that a server of chat.v1, at that path, with authentication off?\n  \
             The first failure of the group `handshake` says what it answers instead.\n",
        );
    }
    text
}
