use std::fmt::Write as _;

use super::{Results, escaped};
use crate::Outcome;

/// Returns the results as JUnit XML, with a suite for each target. A case that could not run is skipped.
pub fn junit(results: &Results) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for (number, target) in results.targets.iter().enumerate() {
        let tally = results.tally(number, None);
        // A write to a string does not fail.
        let _written = writeln!(
            xml,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\">",
            escaped(target),
            results.rows.len(),
            tally.failed,
            tally.not_run
        );
        for row in &results.rows {
            let Some(report) = row.reports.get(number) else { continue };
            let (group, name, seconds) = (row.case.group, row.case.name, report.took.as_secs_f64());
            let _written =
                write!(xml, "    <testcase classname=\"{group}\" name=\"{name}\" time=\"{seconds:.3}\"");
            let _written = match &report.outcome {
                Outcome::Passed => writeln!(xml, "/>"),
                Outcome::NotRun(reason) => {
                    writeln!(xml, "><skipped message=\"{}\"/></testcase>", escaped(reason))
                }
                Outcome::Failed(_) | Outcome::NoServer(_) => writeln!(
                    xml,
                    "><failure message=\"{}\">{}</failure></testcase>",
                    escaped(&report.problem().unwrap_or_default()),
                    escaped(&report.explain(&row.case).unwrap_or_default())
                ),
            };
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}
