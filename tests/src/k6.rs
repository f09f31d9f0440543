use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::Daemon;

/// k6 with one of the scripts in `k6/`, aimed at the daemon. `K6` says where k6 is, unless it is on the path.
///
/// # Errors
///
/// If it is neither, or there is no such script.
pub fn k6(script: &str, daemon: &Daemon) -> Result<Command> {
    let k6 = env::var_os("K6").map_or_else(|| PathBuf::from("k6"), PathBuf::from);
    let found = Command::new(&k6).arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.with_context(|| {
        format!("{} does not run: install k6, or let K6 be the one that tests/provide installs", k6.display())
    })?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../k6").join(script).with_extension("js");
    ensure!(path.exists(), "there is no k6/{script}.js");
    let binary = daemon.binary();
    let mut command = Command::new(k6);
    command.args(["run", "--quiet", "--no-usage-report", "--no-color"]);
    command.args(["-e", &format!("URL=ws://{}/ws", daemon.address())]);
    command.args([
        "-e",
        &format!("ADAPTER={}", binary.adapter()),
        "-e",
        &format!("UPGRADE={}", binary.upgrade),
    ]);
    command.arg(path).stdin(Stdio::null());
    Ok(command)
}

/// What `k6 run --summary-export` wrote.
#[derive(Debug)]
pub struct Summary(Value);

impl Summary {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// If it is not there or no JSON.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Ok(Self(serde_json::from_str(&text)?))
    }

    /// One figure of a metric, like `p(95)` of `chat_delivery`; none if the metric has no samples.
    pub fn figure(&self, metric: &str, name: &str) -> Option<f64> {
        self.0["metrics"][metric][name].as_f64()
    }

    /// How often something happened.
    ///
    /// # Errors
    ///
    /// If the script does not count that, or never came to it.
    pub fn count(&self, metric: &str) -> Result<u64> {
        let count = self.0["metrics"][metric]["count"].as_u64();
        count.with_context(|| format!("k6 has no {metric}"))
    }

    /// That every user who began has compared what came with what had to.
    ///
    /// # Errors
    ///
    /// If one has not, or there was none.
    pub fn all_audited(&self) -> Result<()> {
        let users = self.count("chat_users")?;
        let audited = self.0["metrics"]["chat_audited"]["passes"].as_u64();
        ensure!(users > 0 && audited == Some(users), "{users} users, but {audited:?} audited");
        Ok(())
    }
}

/// What the story's log did not show: every upgrade is a 101, nothing went wrong, every session has an end and
/// that is its client's doing. Returns the number of upgrades.
///
/// # Errors
///
/// If it is not so.
pub fn check_log(log: &[Value]) -> Result<usize> {
    let with = |message: &'static str| log.iter().filter(move |line| line["message"] == message);
    let wrong: Vec<_> =
        log.iter().filter(|line| line["level"] == "ERROR" || line["level"] == "WARN").collect();
    ensure!(wrong.is_empty(), "{wrong:#?}");
    let other: Vec<_> = with("upgrade").filter(|line| line["status"] != 101).collect();
    ensure!(other.is_empty(), "{other:#?}");

    let mut begun: Vec<_> = with("upgrade").map(|line| line["connection"].as_u64()).collect();
    let mut ended: Vec<_> = with("session ended").map(|line| line["connection"].as_u64()).collect();
    begun.sort_unstable();
    ended.sort_unstable();
    ensure!(begun == ended, "upgrades {begun:?} but ends {ended:?}");
    let causes = ["closed by peer", "peer gone", "connection lost"];
    let odd: Vec<_> =
        with("session ended").filter(|line| !causes.iter().any(|cause| line["cause"] == *cause)).collect();
    ensure!(odd.is_empty(), "{odd:#?}");
    Ok(begun.len())
}
