use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use chat_load::page::LatencyPoint;
use chat_load::timeline::{Point, Sampler};
use serde_json::Value;

use super::{Summary, check_log, k6, record};
use crate::{Binary, Daemon, Footprint};

/// Freed memory that an allocator may keep, in KiB. A quarter of the peak is allowed on top of it.
const ALLOCATOR_KIB: usize = 8 * 1024;
/// The memory of a message with its key, in KiB.
const MESSAGE_KIB: usize = 1;
/// The number of messages whose keys a room retains.
const RETAINED_KEYS: usize = 10_000;
/// The time limit for a server to become idle.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// The result of one run.
#[derive(Debug)]
pub struct Outcome {
    /// The server.
    pub binary: Binary,
    /// The name of the scenario.
    pub scenario: String,
    /// The sizes of the scenario, such as `USERS=50`.
    pub sizes: Vec<String>,
    /// Failed checks of k6 and of the server.
    pub failures: Vec<String>,
    /// The figures of k6. `None` if k6 wrote none.
    pub summary: Option<Summary>,
    /// The resources of the server before the load.
    pub before: Footprint,
    /// The resources of the server after the load.
    pub after: Footprint,
    /// The duration of the load, in seconds.
    pub seconds: f64,
    pub(super) latencies: Vec<LatencyPoint>,
    pub(super) resources: Vec<Point>,
}

/// Runs a scenario against a binary and checks the server afterwards. Reports are written to a directory.
pub async fn run(binary: Binary, scenario: &str, sizes: &[String], reports: &Path) -> Result<Outcome> {
    let daemon = Daemon::start_lifted(binary, &[])?;
    daemon.sessions(0).await?;
    let before = daemon.footprint()?;

    let [summary, recorded] = ["summary.json", "seconds.ndjson"].map(|name| reports.join(name));
    for old in [&summary, &recorded] {
        // The file exists if the same run was made before.
        let _removed = fs::remove_file(old);
    }
    let mut command = k6(scenario, &daemon)?;
    command.args(sizes.iter().flat_map(|size| ["-e", size]));
    command.args(["--summary-trend-stats", "avg,min,med,p(90),p(95),p(99),max"]);
    command.arg("--summary-export").arg(&summary);
    command.env("K6_WEB_DASHBOARD", "true").env("K6_WEB_DASHBOARD_PORT", "-1");
    command.env("K6_WEB_DASHBOARD_PERIOD", "1s").env("K6_WEB_DASHBOARD_EXPORT", reports.join("report.html"));
    command.env("K6_WEB_DASHBOARD_RECORD", &recorded);
    let (start, started_at) = (SystemTime::now(), Instant::now());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let sampler = Sampler::of_processes(daemon.id(), child.id())?;
    let output = child.wait_with_output()?;
    let resources = sampler.finish()?;
    let seconds = started_at.elapsed().as_secs_f64();
    fs::write(reports.join("k6.txt"), [&output.stdout[..], &output.stderr].concat())?;

    let idle = wait_until_idle(&daemon, before).await;
    let rooms = daemon.ready().await?["rooms"].as_u64();
    let after = daemon.footprint()?;
    let log = daemon.stop()?;
    let lines: Vec<_> = log.iter().map(ToString::to_string).collect();
    fs::write(reports.join("server.log"), lines.join("\n"))?;

    let summary = Summary::read(&summary).ok();
    let mut failures = summary.as_ref().map(Summary::failed_thresholds).unwrap_or_default();
    let mut check = |result: Result<()>| {
        if let Err(problem) = result {
            failures.push(format!("{problem:#}"));
        }
    };
    if !output.status.success() {
        let text = reports.join("k6.txt");
        check(Err(anyhow::anyhow!("k6 ended with {}: see {}", output.status, text.display())));
    }
    check(idle.context("the server did not become idle"));
    match &summary {
        Some(summary) => {
            check(summary.all_audited());
            check(check_upgrades(summary, &log));
            check(check_rooms(summary, rooms));
            check(check_memory(summary, rooms, before, after));
        }
        None => check(check_log(&log).map(|_upgrades| ())),
    }
    Ok(Outcome {
        binary,
        scenario: scenario.to_owned(),
        sizes: sizes.to_vec(),
        failures,
        summary,
        before,
        after,
        seconds,
        // A run of a second or two has no record.
        latencies: record::latencies(&recorded, start).unwrap_or_default(),
        resources,
    })
}

/// Returns the directory for the reports of a run.
pub fn reports(name: &str) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/k6-reports").join(name);
    fs::create_dir_all(&folder)?;
    Ok(folder.canonicalize()?)
}

fn check_upgrades(summary: &Summary, log: &[Value]) -> Result<()> {
    let upgrades = check_log(log)?;
    let closed = usize::try_from(summary.count("chat_closed")?)?;
    ensure!(upgrades == closed, "{upgrades} upgrades in the log, but {closed} for k6");
    Ok(())
}

fn check_rooms(summary: &Summary, rooms: Option<u64>) -> Result<()> {
    let written = summary.figure("chat_rooms", "value").context("k6 names no rooms")?;
    let rooms = rooms.context("no rooms")?;
    ensure!(rooms as f64 <= written, "{rooms} rooms, but k6 wrote in {written}");
    Ok(())
}

fn check_memory(summary: &Summary, rooms: Option<u64>, before: Footprint, after: Footprint) -> Result<()> {
    let sent = usize::try_from(summary.count("chat_acknowledged")?)?;
    let stored = sent.min(RETAINED_KEYS * usize::try_from(rooms.unwrap_or(0))?) * MESSAGE_KIB;
    let bound = before.kib + ALLOCATOR_KIB + (after.peak_kib - before.kib) / 4 + stored;
    ensure!(after.kib <= bound, "{} KiB in use, more than {bound}: {before:?}, {after:?}", after.kib);
    Ok(())
}

/// Waits until the server has no session, no connection, and no more descriptors and threads than before the load.
async fn wait_until_idle(daemon: &Daemon, before: Footprint) -> Result<()> {
    daemon.sessions(0).await?;
    let deadline = Instant::now() + IDLE_TIMEOUT;
    loop {
        let now = daemon.footprint()?;
        if now.descriptors <= before.descriptors && now.threads <= before.threads {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "before the load {before:?}, after it {now:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
