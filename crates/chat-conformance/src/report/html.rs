use std::fmt::Write as _;

use super::{Results, escaped};
use crate::{Outcome, Report};

/// Returns the results as one self-contained page: a table of cases and targets, and each failure with its transcript.
pub fn html(results: &Results) -> String {
    let mut page = String::from(HEAD);
    page.push_str("<h1>chat.v1 conformance</h1>\n<table class=\"totals\"><tr><th>target</th><th>passed</th>");
    page.push_str("<th>failed</th><th>not run</th></tr>\n");
    for (number, target) in results.targets.iter().enumerate() {
        let tally = results.tally(number, None);
        // A write to a string does not fail.
        let _written = writeln!(
            page,
            "<tr><td>[{}] <code>{}</code></td><td>{}</td><td>{}</td><td>{}</td></tr>",
            number + 1,
            escaped(target),
            tally.passed,
            tally.failed,
            tally.not_run
        );
    }
    page.push_str("</table>\n<p><label><input type=\"checkbox\" id=\"only\"> failures only</label></p>\n");
    for group in results.groups() {
        let columns: String = (1..)
            .zip(&results.targets)
            .map(|(n, target)| format!("<th class=\"t\" title=\"{}\">[{n}]</th>", escaped(target)))
            .collect();
        let failed = (0..results.targets.len()).any(|target| results.tally(target, Some(group)).failed > 0);
        let class = if failed { "bad" } else { "good" };
        let _written = writeln!(
            page,
            "<section class=\"{class}\"><h2>{group}</h2>\n<table class=\"cases\"><thead><tr><th>case</th>{columns}\
             </tr></thead>"
        );
        for row in results.rows.iter().filter(|row| row.case.group == group) {
            let failed = row.reports.iter().any(|report| report.problem().is_some());
            let class = if failed { "bad" } else { "good" };
            let cells: String = row.reports.iter().map(cell).collect();
            let _written = writeln!(
                page,
                "<tr class=\"{class}\" id=\"{}\"><td><b>{}</b><br>{}<br><small>{}</small></td>{cells}</tr>",
                row.case.path(),
                row.case.name.replace('_', " "),
                marked(&row.case.statement),
                escaped(row.case.source)
            );
            for (target, report) in results.targets.iter().zip(&row.reports) {
                let problem = match &report.outcome {
                    Outcome::Failed(failure) => {
                        format!("expected {}, got {}", marked(&failure.expected), escaped(&failure.actual))
                    }
                    Outcome::NoServer(problem) => escaped(problem),
                    Outcome::Passed | Outcome::NotRun(_) => continue,
                };
                let _written = writeln!(
                    page,
                    "<tr class=\"bad\"><td colspan=\"{}\"><details><summary>{}: {problem}</summary>\
                     <pre>{}</pre></details></td></tr>",
                    results.targets.len() + 1,
                    escaped(target),
                    escaped(&report.explain(&row.case).unwrap_or_default())
                );
            }
        }
        page.push_str("</table></section>\n");
    }
    page.push_str(FOOT);
    page
}

/// Escapes the text, and turns backticks into `<code>`.
fn marked(text: &str) -> String {
    let parts = escaped(text);
    let parts: Vec<_> = parts.split('`').collect();
    if parts.len() % 2 == 0 {
        return parts.join("`");
    }
    let part = |(number, part): (usize, &&str)| match number % 2 {
        0 => (*part).to_owned(),
        _ => format!("<code>{part}</code>"),
    };
    parts.iter().enumerate().map(part).collect()
}

fn cell(report: &Report) -> String {
    let seconds = report.took.as_secs_f64();
    match &report.outcome {
        Outcome::Passed => format!("<td class=\"t p\" title=\"{seconds:.2} s\">passed</td>"),
        Outcome::Failed(_) | Outcome::NoServer(_) => {
            format!("<td class=\"t f\" title=\"{seconds:.2} s\">FAILED</td>")
        }
        Outcome::NotRun(reason) => format!("<td class=\"t n\" title=\"{}\">not run</td>", escaped(reason)),
    }
}

const HEAD: &str = r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>chat.v1 conformance</title>
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin-bottom: 1.5rem; }
th, td { border: 1px solid #8886; padding: .4rem .6rem; text-align: left; vertical-align: top; }
table.totals { width: auto; }
table.totals td + td { text-align: right; font-variant-numeric: tabular-nums; }
/* Fixed, so that a long line scrolls within its transcript and not the page. */
table.cases { table-layout: fixed; }
thead th { position: sticky; top: 0; background: Canvas; }
td { overflow-wrap: break-word; }
.t { text-align: center; white-space: nowrap; width: 4rem; font-size: .9rem; }
.p { background: #2a82; } .f { background: #d335; font-weight: bold; } .n { opacity: .6; }
small { opacity: .75; }
pre { overflow-x: auto; font: 12px/1.4 ui-monospace, monospace; }
code { font: .9em ui-monospace, monospace; }
summary { cursor: pointer; overflow-wrap: anywhere; }
body.only .good { display: none; }
</style></head><body>
"#;

const FOOT: &str = r#"<p>A case is one rule of the contract, with the place where it is written. "Not run" is not a pass: the target cannot
run the case. A failure shows what was expected, what actual, and the transcript: &gt; is sent, &lt; received.</p>
<script>
document.getElementById("only").addEventListener("change", event =>
  document.body.classList.toggle("only", event.target.checked));
</script>
</body></html>
"#;
