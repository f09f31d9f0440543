use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// The beginnings of the names of metrics.
const PREFIXES: [&str; 2] = ["chat_", "process_"];

/// The suffixes of the series of a histogram.
const SERIES: [&str; 3] = ["_bucket", "_sum", "_count"];

#[test]
fn the_dashboard_and_the_alerts_name_only_described_metrics() -> Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let document = fs::read_to_string(docs.join("operations.md"))?;
    let metrics = column(&document, "| metric | type | labels | meaning |")?;
    let mut used = BTreeSet::new();
    for file in ["monitoring/dashboard.json", "monitoring/alerts.yml"] {
        let text = fs::read_to_string(docs.join(file))?;
        used.extend(names(&text).into_iter().map(str::to_owned));
        let unknown = unknown(&text, &metrics);
        ensure!(unknown.is_empty(), "{file}: {unknown:?}");
    }
    let unused: Vec<_> =
        metrics.iter().filter(|metric| !used.iter().any(|name| base(name) == **metric)).collect();
    ensure!(unused.is_empty(), "on no dashboard: {unused:?}");
    Ok(())
}

#[test]
fn the_document_and_the_situations_have_each_alert_and_no_other() -> Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let document = fs::read_to_string(docs.join("operations.md"))?;
    let rules = fs::read_to_string(docs.join("monitoring/alerts.yml"))?;
    let alerts: BTreeSet<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(alerts, column(&document, "| alert | meaning | what to do |")?);
    let situations = fs::read_to_string(docs.join("monitoring/alerts-test.yml"))?;
    let tested = situations.lines().filter_map(|line| line.trim().strip_prefix("- alertname: "));
    assert_eq!(alerts, tested.collect(), "`promtool test rules` has a situation for each alert");
    Ok(())
}

#[test]
fn a_metric_that_is_not_described_is_found() {
    let known = BTreeSet::from(["chat_rooms", "chat_append_seconds"]);
    let text = "sum(rate(chat_append_seconds_bucket[5m])) / chat_rooms{a=\"chat_server\"} > chat_room + chat_rooms_count";
    assert_eq!(unknown(text, &known), ["chat_room", "chat_rooms_count"]);
}

/// Returns the first column of a table.
fn column<'d>(document: &'d str, head: &str) -> Result<BTreeSet<&'d str>> {
    let (_, table) = document.split_once(head).with_context(|| head.to_owned())?;
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    Ok(rows.filter_map(|row| row.split('`').nth(1)).collect())
}

/// Returns the names that begin like those of metrics. A text in quotes, such as the value of a label, is none.
fn names(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for (start, _) in PREFIXES.iter().flat_map(|prefix| text.match_indices(prefix)) {
        let rest = &text[start..];
        let name = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
        let before = text[..start].chars().next_back();
        let is_quoted = before == Some('"') && rest[name.len()..].starts_with('"');
        if !before.is_some_and(is_part) && !is_quoted {
            names.push(name);
        }
    }
    names
}

fn unknown<'t>(text: &'t str, known: &BTreeSet<&str>) -> Vec<&'t str> {
    let is_histogram = |name: &str| name.ends_with("_seconds") || name.ends_with("_entries");
    let is_known =
        |name: &str| known.contains(name) || (is_histogram(base(name)) && known.contains(base(name)));
    names(text).into_iter().filter(|name| !is_known(name)).collect()
}

/// Returns the name of a metric without the suffix of a series.
fn base(name: &str) -> &str {
    SERIES.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}
