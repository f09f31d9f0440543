//! Scenarios of k6, the checks of the server after them, and the page of their results.

mod page;
mod record;
mod run;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{Daemon, check_levels};
pub use page::page_run;
pub use run::{Outcome, reports, run};

/// Returns a command that runs a script of `k6/` against a daemon. The environment variable `K6` names the k6 program;
/// it defaults to `k6`.
pub fn k6(script: &str, daemon: &Daemon) -> Result<Command> {
    version()?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../k6").join(script).with_extension("js");
    ensure!(path.exists(), "there is no k6/{script}.js");
    let binary = daemon.binary();
    let mut command = Command::new(program());
    command.args(["run", "--quiet", "--no-usage-report", "--no-color"]);
    for variable in [
        format!("URL=ws://{}/ws", daemon.address()),
        format!("ADAPTER={}", binary.adapter()),
        format!("UPGRADE={}", binary.upgrade),
    ] {
        command.args(["-e", &variable]);
    }
    command.arg(path).stdin(Stdio::null());
    Ok(command)
}

fn program() -> PathBuf {
    env::var_os("K6").map_or_else(|| PathBuf::from("k6"), PathBuf::from)
}

/// Returns the version that k6 reports.
fn version() -> Result<String> {
    let program = program();
    let output = Command::new(&program).arg("version").stdin(Stdio::null()).output().with_context(|| {
        format!(
            "{} does not run: install k6, or set K6 to the one that tests/provide installs",
            program.display()
        )
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or("k6").trim().to_owned())
}

/// The summary that `k6 run --summary-export` writes.
#[derive(Debug)]
pub struct Summary(Value);

impl Summary {
    /// Reads a summary.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Ok(Self(serde_json::from_str(&text)?))
    }

    /// Returns one figure of a metric, such as `p(95)` of `chat_delivery`, or `None` if the metric has no samples.
    pub fn figure(&self, metric: &str, name: &str) -> Option<f64> {
        self.0["metrics"][metric][name].as_f64()
    }

    /// Returns the value of a counter.
    pub fn count(&self, metric: &str) -> Result<u64> {
        let count = self.0["metrics"][metric]["count"].as_u64();
        count.with_context(|| format!("k6 has no {metric}"))
    }

    /// Returns the failed thresholds in words, such as `missing deliveries: 3 (chat_lost must have count==0)`.
    pub fn failed_thresholds(&self) -> Vec<String> {
        let mut failed = Vec::new();
        for (metric, figures) in self.0["metrics"].as_object().into_iter().flatten() {
            let thresholds = figures["thresholds"].as_object().into_iter().flatten();
            for (threshold, _) in thresholds.filter(|(_, is_crossed)| **is_crossed == true) {
                let value = ["count", "value"].into_iter().find_map(|name| figures[name].as_f64());
                let value = value.map_or_else(|| "no value".to_owned(), |value| value.to_string());
                let words =
                    METRICS.iter().find(|(known, _)| known == metric).map_or("metric", |(_, words)| words);
                failed.push(format!("{words}: {value} ({metric} must have {threshold})"));
            }
        }
        failed
    }

    /// Checks that every user compared all received messages with the expected ones.
    pub fn all_audited(&self) -> Result<()> {
        let users = self.count("chat_users")?;
        let audited = self.0["metrics"]["chat_audited"]["passes"].as_u64();
        let audited = audited.unwrap_or(0);
        ensure!(
            users > 0 && audited == users,
            "{users} users, but {audited} compared all messages at the end"
        );
        Ok(())
    }
}

/// The meaning of the value of a metric that has a threshold.
const METRICS: [(&str, &str); 15] = [
    ("chat_acknowledged", "acknowledged messages"),
    ("chat_audited", "share of users that compared all received messages with the expected ones"),
    ("chat_activities", "announcements of new entries in followed rooms"),
    ("chat_changed", "changes of messages"),
    ("chat_compared", "messages that were read again and compared"),
    ("chat_differing", "differences between what users have followed and what the server has"),
    ("chat_dropped", "connections that ended although their user wanted to stay"),
    ("chat_duplicated", "duplicated deliveries"),
    ("chat_errors", "error events"),
    ("chat_lost", "missing deliveries"),
    ("chat_recovered", "share of resumes that brought everything that was missed"),
    ("chat_reordered", "deliveries out of order"),
    ("chat_skipped", "messages skipped in announced gaps"),
    ("chat_unanswered", "messages that were never acknowledged"),
    ("chat_upgraded", "share of handshakes answered with 101"),
];

/// Checks the log of a server under load: every upgrade is a 101, every session has ended, and the client ended it.
/// Returns the number of upgrades.
pub fn check_log(log: &[Value]) -> Result<usize> {
    let with = |message: &'static str| log.iter().filter(move |line| line["message"] == message);
    check_levels(log)?;
    let is_upgrade =
        |line: &&Value| line["message"].as_str().is_some_and(|text| text.starts_with("upgrade "));
    let is_accepted = |line: &Value| line["message"] == "upgrade accepted" && line["status"] == 101;
    let other: Vec<_> = log.iter().filter(is_upgrade).filter(|line| !is_accepted(line)).collect();
    ensure!(other.is_empty(), "{other:#?}");

    let mut begun = connections(with("upgrade accepted"))?;
    let mut ended = connections(with("session ended"))?;
    begun.sort_unstable();
    ended.sort_unstable();
    ensure!(begun == ended, "upgrades {begun:?}, but ended sessions {ended:?}");
    let causes = ["closed by peer", "peer gone", "connection lost"];
    let odd: Vec<_> =
        with("session ended").filter(|line| !causes.iter().any(|cause| line["cause"] == *cause)).collect();
    ensure!(odd.is_empty(), "{odd:#?}");
    Ok(begun.len())
}

/// Returns the connection of each line, from the span that the line is in.
fn connections<'a>(lines: impl Iterator<Item = &'a Value>) -> Result<Vec<&'a str>> {
    lines
        .map(|line| {
            let span = &line["span"];
            ensure!(span["name"] == "connection" && span["user"].is_string(), "no connection: {line}");
            span["id"].as_str().with_context(|| format!("no connection: {line}"))
        })
        .collect()
}
