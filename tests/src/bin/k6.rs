//! Runs a k6 scenario against one chat binary or all of them, and checks the server afterwards.

#![expect(clippy::print_stdout, reason = "the program prints a table")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chat_tests::{BINARIES, Binary, Daemon, Footprint, Summary, check_log, k6};
use clap::Parser;

/// Freed memory that an allocator may keep, in KiB. A quarter of the peak is allowed on top of it.
const ALLOCATOR_KIB: usize = 8 * 1024;
/// The memory of a message with its key, in KiB.
const MESSAGE_KIB: usize = 1;
/// The number of messages whose keys a room retains.
const RETAINED_KEYS: usize = 10_000;
/// The time limit for a server to become idle.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Run a k6 scenario against a chat binary, then check the server: its log, sessions, connections, rooms, descriptors,
/// threads and memory
///
/// Reports are written to target/k6-reports. The exit code is 1 if a check fails.
#[derive(Debug, Parser)]
struct Arguments {
    /// Script in k6/: smoke, storm, fanout, rooms, spike, soak, breakpoint, resume
    scenario: String,

    /// Adapter: tungstenite, warp, actix, axum, or all to compare them
    adapter: String,

    /// Upgrade mode: hijack or framework [default: hijack; both with all]
    #[arg(long)]
    upgrade: Option<String>,

    /// Set a size of the scenario, such as USERS=50. Repeatable
    #[arg(short = 'e', long = "env", value_name = "NAME=VALUE")]
    sizes: Vec<String>,

    /// Number of rounds. Each round runs every binary once
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u8).range(1..=100))]
    rounds: u8,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run_all(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            println!("FAILED: {problem:#}");
            ExitCode::from(1)
        }
    }
}

async fn run_all(arguments: &Arguments) -> Result<()> {
    let mut rows: Vec<(Binary, Vec<Outcome>)> = BINARIES
        .into_iter()
        .filter(|binary| arguments.adapter == "all" || arguments.adapter == binary.adapter())
        .filter(|binary| match &arguments.upgrade {
            Some(upgrade) => binary.upgrade == upgrade,
            None => arguments.adapter == "all" || binary.upgrade == "hijack",
        })
        .map(|binary| (binary, Vec::new()))
        .collect();
    ensure!(!rows.is_empty(), "no binary is {} {:?}", arguments.adapter, arguments.upgrade);
    for round in 1..=arguments.rounds {
        for (binary, outcomes) in &mut rows {
            let name = format!("{}-{}-{}-{round}", arguments.scenario, binary.adapter(), binary.upgrade);
            outcomes.push(run(arguments, *binary, &name).await.context(name)?);
        }
    }
    print(&rows);
    println!("\nReports are in target/k6-reports.");
    Ok(())
}

/// The result of one run.
struct Outcome {
    summary: Summary,
    before: Footprint,
    after: Footprint,
}

async fn run(arguments: &Arguments, binary: Binary, name: &str) -> Result<Outcome> {
    let reports = reports(name)?;
    let daemon = Daemon::start(binary, &[])?;
    daemon.sessions(0).await?;
    let before = daemon.footprint()?;

    let summary = reports.join("summary.json");
    let mut command = k6(&arguments.scenario, &daemon)?;
    command.args(arguments.sizes.iter().flat_map(|size| ["-e", size]));
    command.args(["--summary-trend-stats", "avg,min,med,p(90),p(95),p(99),max"]);
    command.arg("--summary-export").arg(&summary);
    command.env("K6_WEB_DASHBOARD", "true").env("K6_WEB_DASHBOARD_PORT", "-1");
    command.env("K6_WEB_DASHBOARD_PERIOD", "1s").env("K6_WEB_DASHBOARD_EXPORT", reports.join("report.html"));
    let output = command.output()?;
    fs::write(reports.join("k6.txt"), [&output.stdout[..], &output.stderr].concat())?;

    let idle = wait_until_idle(&daemon, before).await;
    let rooms = daemon.ready().await?["rooms"].as_u64();
    let after = daemon.footprint()?;
    let log = daemon.stop()?;
    let lines: Vec<_> = log.iter().map(ToString::to_string).collect();
    fs::write(reports.join("server.log"), lines.join("\n"))?;

    ensure!(output.status.success(), "k6 {}: see {}", output.status, reports.join("k6.txt").display());
    let summary = Summary::read(&summary)?;
    summary.all_audited()?;
    let upgrades = check_log(&log)?;
    let closed = usize::try_from(summary.count("chat_closed")?)?;
    ensure!(upgrades == closed, "{upgrades} upgrades in the log, but {closed} for k6");
    idle?;
    let written = summary.figure("chat_rooms", "value").context("k6 names no rooms")?;
    let rooms = rooms.context("no rooms")?;
    ensure!(rooms as f64 <= written, "{rooms} rooms, but k6 wrote in {written}");
    let sent = usize::try_from(summary.count("chat_acknowledged")?)?;
    let stored = sent.min(RETAINED_KEYS * usize::try_from(rooms)?) * MESSAGE_KIB;
    let bound = before.kib + ALLOCATOR_KIB + (after.peak_kib - before.kib) / 4 + stored;
    ensure!(after.kib <= bound, "{} KiB in use, more than {bound}: {before:?}, {after:?}", after.kib);
    Ok(Outcome { summary, before, after })
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

fn reports(name: &str) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/k6-reports").join(name);
    fs::create_dir_all(&folder)?;
    Ok(folder.canonicalize()?)
}

/// Prints one line for each binary: medians over the rounds, and the CPU time relative to the first binary.
fn print(rows: &[(Binary, Vec<Outcome>)]) {
    println!(
        "| binary | delivered | us of CPU per delivery | ratio | delivery ms: median | p95 | p99 | handshake ms: p95 | \
         KiB before | at most | after |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let mut first = None;
    for (binary, outcomes) in rows {
        let figure =
            |metric, name| median(outcomes, |run| run.summary.figure(metric, name).unwrap_or(f64::NAN));
        let delivered = figure("chat_delivered", "count");
        let cpu = median(outcomes, |run| (run.after.cpu_seconds - run.before.cpu_seconds) * 1e6) / delivered;
        let ratio = cpu / *first.get_or_insert(cpu);
        println!(
            "| {} {} | {delivered:.0} | {cpu:.1} | {ratio:.2} | {:.0} | {:.0} | {:.0} | {:.1} | {:.0} | {:.0} | {:.0} |",
            binary.adapter(),
            binary.upgrade,
            figure("chat_delivery", "med"),
            figure("chat_delivery", "p(95)"),
            figure("chat_delivery", "p(99)"),
            figure("ws_connecting", "p(95)"),
            median(outcomes, |run| run.before.kib as f64),
            median(outcomes, |run| run.after.peak_kib as f64),
            median(outcomes, |run| run.after.kib as f64),
        );
    }
}

fn median(outcomes: &[Outcome], figure: impl Fn(&Outcome) -> f64) -> f64 {
    let mut figures: Vec<_> = outcomes.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
