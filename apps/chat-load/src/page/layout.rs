use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::figures::{charts, latency_charts, resource_charts};
use super::{Row, Run, grouped};

const CSS: &str = include_str!("style.css");

/// Forbids everything that the page does not need, such as scripts and the network.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The limit of reasons that the verdict of a run names.
const MAX_REASONS: usize = 20;

pub(super) fn page(runs: &[Run]) -> Markup {
    let failed = runs.iter().filter(|run| !run.is_good()).count();
    let title = match runs {
        [run] => run.name.clone(),
        _ => format!("{} load runs side by side", runs.len()),
    };
    let is_single = runs.len() == 1;
    let unit = runs.iter().map(|run| run.unit.as_str()).find(|unit| !unit.is_empty()).unwrap_or("messages");
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { @if failed > 0 { "Failed" } @else { "Passed" } ": " (title) }
                style { (PreEscaped(CSS)) }
            }
            body {
                (verdict(runs, &title, failed))
                (charts(runs, "Latency over time", &latency_charts(unit)))
                div class=[is_single.then_some("tables")] {
                    (table(runs, "Deliveries", |run| &run.deliveries))
                    (table(runs, "Latencies of the whole run", |run| &run.latencies))
                }
                @for run in runs { (faults(run, !is_single)) }
                (charts(runs, "Server over time", &resource_charts()))
                div class=[is_single.then_some("tables")] {
                    (table(runs, "CPU and memory", |run| &run.resources))
                    (table(runs, "Load", |run| &run.load))
                }
                (table(runs, "Programs and machine", |run| &run.environment))
            }
        }
    }
}

fn verdict(runs: &[Run], title: &str, failed: usize) -> Markup {
    let all = runs.len();
    html! {
        header.verdict.failed[failed > 0] {
            p.badge {
                @match (failed, all) {
                    (0, 1) => "Passed",
                    (0, _) => { "All " (all) " runs passed" }
                    (_, 1) => "Failed",
                    _ => { (failed) " of " (all) " runs failed" }
                }
            }
            h1 { (title) }
            @for run in runs {
                @if all > 1 {
                    p {
                        strong class=[(!run.is_good()).then_some("failed")] {
                            (run.name) ": " @if run.is_good() { "passed. " } @else { "failed." }
                        }
                        (run.success)
                    }
                } @else if run.is_good() {
                    p { (run.success) }
                }
                (reasons(run))
            }
        }
    }
}

/// Returns the failed checks of a run and the remarks.
fn reasons(run: &Run) -> Markup {
    html! {
        @if !run.is_good() {
            ul.reasons {
                @for failure in run.failures.iter().take(MAX_REASONS) { li { (failure) } }
                @if run.failures.len() > MAX_REASONS {
                    li { "and " (run.failures.len() - MAX_REASONS) " further reasons" }
                }
            }
        }
        @for note in &run.notes { p.note { (note) } }
    }
}

/// Returns a table with a column for each run.
fn table(runs: &[Run], title: &str, rows: fn(&Run) -> &[Row]) -> Markup {
    let mut names: Vec<&str> = Vec::new();
    for row in runs.iter().flat_map(rows) {
        if !names.contains(&row.name.as_str()) {
            names.push(&row.name);
        }
    }
    let cells = |name| runs.iter().map(move |run| rows(run).iter().find(|row| row.name == name));
    html! {
        @if !names.is_empty() {
            section {
                h2 { (title) }
                div.scroll {
                    table {
                        @if runs.len() > 1 {
                            thead { tr { td {} @for run in runs { th scope="col" { (run.name) } } } }
                        }
                        tbody {
                            @for name in names { tr {
                                th scope="row" { (name) }
                                @if let Some(same) = same_value(cells(name)) {
                                    td colspan=(runs.len()) { (same) }
                                } @else {
                                    @for row in cells(name) {
                                        td class=[row.is_some_and(|row| row.is_fault).then_some("fault")] {
                                            @if let Some(row) = row { (row.value) }
                                        }
                                    }
                                }
                            } }
                        }
                    }
                }
            }
        }
    }
}

/// Returns the value of several cells if it is the same text in all of them. Numbers keep their columns.
fn same_value<'r>(mut cells: impl Iterator<Item = Option<&'r Row>>) -> Option<&'r str> {
    let first = cells.next()??;
    let mut others = cells.peekable();
    let is_text = !first.value.starts_with(|letter: char| letter.is_ascii_digit());
    (is_text && others.peek().is_some() && others.all(|row| row.is_some_and(|row| row == first)))
        .then_some(&first.value)
}

/// Returns a table of the members with failed checks.
fn faults(run: &Run, is_one_of_many: bool) -> Markup {
    let counts = run.faults.first().map_or(&[][..], |fault| &fault.deliveries);
    html! {
        @if !run.faults.is_empty() {
            section {
                h2 { "Members with failed checks" @if is_one_of_many { ": " (run.name) } }
                div.scroll {
                    table.members {
                        thead { tr {
                            th scope="col" { "room" }
                            th scope="col" { "member" }
                            @for count in counts { th scope="col" { (count.name) } }
                        } }
                        tbody {
                            @for fault in &run.faults { tr {
                                td { (fault.room) }
                                td { (fault.member) }
                                @for count in &fault.deliveries {
                                    td class=[count.is_fault.then_some("fault")] { (count.value) }
                                }
                            } }
                        }
                    }
                }
                @if run.fault_count > run.faults.len() {
                    p {
                        (grouped(run.fault_count as u64))
                        " members have failed checks. The table has those with the most."
                    }
                }
            }
        }
    }
}
