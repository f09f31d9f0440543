//! The metrics of a server, and the table that describes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// The type of a metric, and its labels.
pub type Kind = (String, BTreeSet<String>);

/// Returns the value of each sample, by name and labels as they are written.
pub fn values(text: &str) -> Result<BTreeMap<String, f64>> {
    let samples = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').with_context(|| line.to_owned())?;
            Ok((name.to_owned(), value.parse()?))
        })
        .collect()
}

/// Returns the metrics in a text of Prometheus. Each must have a description.
pub fn exported(text: &str) -> Result<BTreeMap<String, Kind>> {
    let mut metrics: BTreeMap<String, Kind> = BTreeMap::new();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    metrics.extend(types.map(|(name, kind)| (name.to_owned(), (kind.to_owned(), BTreeSet::new()))));
    for name in metrics.keys() {
        ensure!(text.contains(&format!("# HELP {name} ")), "{name} has no description");
    }
    for name in values(text)?.keys() {
        let (name, labels) = name.split_once('{').unwrap_or((name, ""));
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let name = base.filter(|base| metrics.contains_key(*base)).unwrap_or(name);
        let (_, known) = metrics.get_mut(name).with_context(|| format!("{name} has no type"))?;
        let keys = labels.trim_end_matches('}').split(',').filter_map(|label| Some(label.split_once('=')?.0));
        known.extend(keys.filter(|key| *key != "le").map(str::to_owned));
    }
    Ok(metrics)
}

/// Returns the metrics in the table of `docs/operations.md`.
pub fn described() -> Result<BTreeMap<String, Kind>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let document = fs::read_to_string(path)?;
    let table =
        document.split("| metric | type | labels | meaning |").nth(1).context("no table of metrics")?;
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<_> = row.split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect();
        let [name, kind, labels, meaning] = &cells[..] else { anyhow::bail!("{row}") };
        ensure!(!meaning.is_empty(), "{row}");
        let labels = labels.split(", ").map(|label| label.trim_matches('`').to_owned());
        Ok((
            name.trim_matches('`').to_owned(),
            ((*kind).to_owned(), labels.filter(|label| label != "none").collect()),
        ))
    })
    .collect()
}
