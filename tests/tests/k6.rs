//! The story's load on each binary, and then its log: k6 cannot see there what the story was about.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use chat_tests::{BINARIES, Daemon};
use serde_json::Value;

const USERS: u64 = 20;
const DROPS: u64 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn tungstenite_by_hijack() -> Result<()> {
    smoke("chatd-tungstenite", "hijack").await
}

#[tokio::test(flavor = "multi_thread")]
async fn warp_by_hijack() -> Result<()> {
    smoke("chatd-warp", "hijack").await
}

#[tokio::test(flavor = "multi_thread")]
async fn warp_by_context() -> Result<()> {
    smoke("chatd-warp", "context").await
}

#[tokio::test(flavor = "multi_thread")]
async fn actix_by_hijack() -> Result<()> {
    smoke("chatd-actix", "hijack").await
}

#[tokio::test(flavor = "multi_thread")]
async fn actix_by_context() -> Result<()> {
    smoke("chatd-actix", "context").await
}

#[tokio::test(flavor = "multi_thread")]
async fn axum_by_hijack() -> Result<()> {
    smoke("chatd-axum", "hijack").await
}

#[tokio::test(flavor = "multi_thread")]
async fn axum_by_context() -> Result<()> {
    smoke("chatd-axum", "context").await
}

async fn smoke(name: &str, upgrade: &str) -> Result<()> {
    let binary = BINARIES.into_iter().find(|binary| (binary.name, binary.upgrade) == (name, upgrade));
    let binary = binary.context("no such binary")?;
    let daemon = Daemon::start(binary, &[])?;
    for _ in 0..DROPS {
        let mut staying = k6(&daemon)?.args(["-e", "STAY=1"]).spawn()?;
        daemon.sessions(USERS).await?;
        staying.kill()?;
        staying.wait()?;
        daemon.sessions(0).await?;
    }
    let talked = k6(&daemon)?.stdout(Stdio::piped()).stderr(Stdio::piped()).output()?;
    ensure!(
        talked.status.success(),
        "{}{}",
        String::from_utf8_lossy(&talked.stdout),
        String::from_utf8_lossy(&talked.stderr)
    );
    daemon.sessions(0).await?;
    let rooms = daemon.ready().await?["rooms"].clone();
    ensure!(rooms == 1, "{rooms} rooms");
    check(&daemon.stop()?)
}

/// What the story's log did not show: every upgrade is a 101, nothing went wrong, every session has an end.
fn check(log: &[Value]) -> Result<()> {
    let with = |message: &'static str| log.iter().filter(move |line| line["message"] == message);
    let wrong: Vec<_> =
        log.iter().filter(|line| line["level"] == "ERROR" || line["level"] == "WARN").collect();
    ensure!(wrong.is_empty(), "{wrong:#?}");
    let other: Vec<_> = with("upgrade").filter(|line| line["status"] != 101).collect();
    ensure!(other.is_empty(), "{other:#?}");

    let upgrades = with("upgrade").count();
    ensure!(upgrades >= usize::try_from(USERS * (DROPS + 1))?, "only {upgrades} upgrades");
    let mut begun: Vec<_> = with("upgrade").map(|line| line["connection"].as_u64()).collect();
    let mut ended: Vec<_> = with("session ended").map(|line| line["connection"].as_u64()).collect();
    begun.sort_unstable();
    ended.sort_unstable();
    ensure!(begun == ended, "upgrades {begun:?} but ends {ended:?}");
    let causes = ["closed by peer", "peer gone", "connection lost"];
    let odd: Vec<_> =
        with("session ended").filter(|line| !causes.iter().any(|cause| line["cause"] == *cause)).collect();
    ensure!(odd.is_empty(), "{odd:#?}");
    for code in [1000, 1001] {
        ensure!(with("session ended").any(|line| line["close"] == code), "no session closed with {code}");
    }
    Ok(())
}

/// k6 with the smoke script, aimed at the daemon; `K6` says where k6 is, unless it is on the path.
fn k6(daemon: &Daemon) -> Result<Command> {
    let k6 = env::var_os("K6").map_or_else(|| PathBuf::from("k6"), PathBuf::from);
    let found = Command::new(&k6).arg("version").stdout(Stdio::null()).status();
    found.with_context(|| format!("{} does not run: tests/run installs it", k6.display()))?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../k6/smoke.js");
    let mut command = Command::new(k6);
    command.args(["run", "--quiet", "--no-usage-report"]);
    command.args(["-e", &format!("URL=ws://{}/ws", daemon.address())]).arg(script);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command)
}
