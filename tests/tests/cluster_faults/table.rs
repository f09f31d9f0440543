use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::fault::Fault;
use crate::run::Outcome;

/// Returns a table with one row for each fault: sums of counts, and ranges of times in seconds.
pub(crate) fn table(outcomes: &[Outcome]) -> String {
    let mut rows: BTreeMap<Fault, Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        rows.entry(outcome.fault).or_default().push(outcome);
    }
    let mut text =
        "| fault | runs | lasted | acknowledged | refused | longest send | presence right after |\n\
                    |---|---|---|---|---|---|---|\n"
            .to_owned();
    for (fault, of_fault) in rows {
        let range = |time: fn(&Outcome) -> f64| {
            let times = || of_fault.iter().map(|outcome| time(outcome));
            let (least, most) = (times().fold(f64::INFINITY, f64::min), times().fold(0.0, f64::max));
            format!("{least:.1} to {most:.1} s")
        };
        let sum = |count: fn(&Outcome) -> u64| of_fault.iter().map(|outcome| count(outcome)).sum::<u64>();
        let _written = writeln!(
            text,
            "| `{fault}` | {} | {} | {} | {} | {} | {} |",
            of_fault.len(),
            range(|outcome| outcome.lasted.as_secs_f64()),
            sum(|outcome| outcome.counts.acknowledged),
            sum(|outcome| outcome.counts.refused),
            range(|outcome| outcome.counts.window.as_secs_f64()),
            range(|outcome| outcome.presence.as_secs_f64()),
        );
    }
    text
}
