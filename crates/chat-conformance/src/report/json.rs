use serde_json::{Value, json as value};

use super::Results;
use crate::{Direction, Outcome, Report};

/// The number of bytes of one entry that are shown.
const MAX_HEX_BYTES: usize = 512;

/// Returns the results as one JSON object, with the transcripts of failures.
pub fn json(results: &Results) -> Value {
    let rows = results.rows.iter().map(|row| {
        let case = &row.case;
        let reports = results.targets.iter().zip(&row.reports).map(|(target, report)| of(target, report));
        value!({
            "case": case.path(),
            "group": case.group,
            "statement": case.statement,
            "source": case.source,
            "results": reports.collect::<Vec<_>>(),
        })
    });
    let totals = results.targets.iter().enumerate().map(|(number, target)| {
        let tally = results.tally(number, None);
        value!({"target": target, "passed": tally.passed, "failed": tally.failed, "not_run": tally.not_run})
    });
    value!({"totals": totals.collect::<Vec<_>>(), "cases": rows.collect::<Vec<_>>()})
}

fn of(target: &str, report: &Report) -> Value {
    let took = report.took.as_secs_f64();
    match &report.outcome {
        Outcome::Passed => value!({"target": target, "outcome": "passed", "seconds": took}),
        Outcome::NotRun(reason) => value!({"target": target, "outcome": "not_run", "reason": reason}),
        Outcome::NoServer(problem) => {
            value!({"target": target, "outcome": "no_server", "seconds": took, "reason": problem})
        }
        Outcome::Failed(failure) => {
            let transcript = report.transcript.entries().into_iter().map(|entry| {
                let direction = match entry.direction {
                    Direction::Sent => "sent",
                    Direction::Received => "received",
                    Direction::Noted => "noted",
                };
                let hex: String =
                    entry.bytes.iter().take(MAX_HEX_BYTES).map(|byte| format!("{byte:02x}")).collect();
                value!({
                    "seconds": entry.at.as_secs_f64(),
                    "client": entry.client,
                    "direction": direction,
                    "what": entry.what,
                    "hex": hex,
                    "length": entry.length,
                })
            });
            value!({
                "target": target,
                "outcome": "failed",
                "seconds": took,
                "expected": failure.expected,
                "actual": failure.actual,
                "transcript": transcript.collect::<Vec<_>>(),
            })
        }
    }
}
