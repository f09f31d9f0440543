//! k6 on each binary, and then the binary's log: k6 cannot see there what the story was about.

mod thief;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use chat_tests::{BINARIES, Daemon, Summary, check_log, k6};
use thief::{Theft, thief};

const USERS: u64 = 20;
const DROPS: u64 = 2;

macro_rules! for_each_binary {
    ($($name:ident: $binary:literal $upgrade:literal)*) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread")]
            async fn talks_and_loses_its_clients() -> anyhow::Result<()> {
                super::talks_and_loses_its_clients($binary, $upgrade).await
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn resumes_whoever_is_cut_off() -> anyhow::Result<()> {
                super::resumes_whoever_is_cut_off($binary, $upgrade).await
            }
        }
    )*};
}

for_each_binary! {
    tungstenite_by_hijack: "chatd-tungstenite" "hijack"
    warp_by_hijack: "chatd-warp" "hijack"
    warp_by_context: "chatd-warp" "context"
    actix_by_hijack: "chatd-actix" "hijack"
    actix_by_context: "chatd-actix" "context"
    axum_by_hijack: "chatd-axum" "hijack"
    axum_by_context: "chatd-axum" "context"
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stolen_between_server_and_client_is_missed() -> Result<()> {
    let daemon = start("chatd-tungstenite", "hijack")?;
    for (theft, counter) in
        [(Theft::Lost, "chat_lost"), (Theft::Twice, "chat_duplicated"), (Theft::Late, "chat_reordered")]
    {
        let address = thief(daemon.address(), theft).await?;
        let path = scratch(counter, &daemon);
        let mut command = tokio::process::Command::from(k6("smoke", &daemon)?);
        command.args(["-e", &format!("URL=ws://{address}/ws"), "-e", "USERS=5", "-e", "PATIENCE_MS=1000"]);
        let output = command.arg("--summary-export").arg(&path).output().await?;
        ensure!(output.status.code() == Some(99), "{theft:?}: {output:#?}");
        let summary = Summary::read(&path)?;
        for counted in ["chat_lost", "chat_duplicated", "chat_reordered"] {
            let count = summary.count(counted)?;
            ensure!((count > 0) == (counted == counter), "{theft:?}: {counted} is {count}");
        }
    }
    Ok(())
}

async fn talks_and_loses_its_clients(name: &str, upgrade: &str) -> Result<()> {
    let daemon = start(name, upgrade)?;
    for _ in 0..DROPS {
        let mut staying = k6("smoke", &daemon)?
            .args(["-e", "STAY=1", "-e", &format!("USERS={USERS}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        daemon.sessions(USERS).await?;
        staying.kill()?;
        staying.wait()?;
        daemon.sessions(0).await?;
    }
    let users = run("smoke", &daemon, &[])?.count("chat_users")?;
    daemon.sessions(0).await?;
    let rooms = daemon.ready().await?["rooms"].clone();
    ensure!(rooms == 1, "{rooms} rooms");

    let log = daemon.stop()?;
    let upgrades = check_log(&log)?;
    ensure!(upgrades >= usize::try_from(USERS * DROPS + users)?, "only {upgrades} upgrades");
    for code in [1000, 1001] {
        let closed = |line: &&serde_json::Value| line["message"] == "session ended" && line["close"] == code;
        ensure!(log.iter().any(|line| closed(&line)), "no session closed with {code}");
    }
    Ok(())
}

async fn resumes_whoever_is_cut_off(name: &str, upgrade: &str) -> Result<()> {
    let daemon = start(name, upgrade)?;
    let sizes = ["USERS=6", "CUTS=3", "STAY_MS=500", "EVERY_MS=50"];
    let summary = run("resume", &daemon, &sizes)?;
    daemon.sessions(0).await?;
    let upgrades = check_log(&daemon.stop()?)?;
    ensure!(upgrades == 6 * 4, "{upgrades} upgrades");
    ensure!(summary.count("chat_replayed")? > 0, "nothing was cut off");
    Ok(())
}

fn start(name: &str, upgrade: &str) -> Result<Daemon> {
    let binary = BINARIES.into_iter().find(|binary| (binary.name, binary.upgrade) == (name, upgrade));
    Daemon::start(binary.context("no such binary")?, &[])
}

/// Runs a script to its end: its thresholds hold, and every user's books are closed.
fn run(script: &str, daemon: &Daemon, sizes: &[&str]) -> Result<Summary> {
    let path = scratch(script, daemon);
    let mut command: Command = k6(script, daemon)?;
    command.args(sizes.iter().flat_map(|size| ["-e", size])).arg("--summary-export").arg(&path);
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let summary = Summary::read(&path)?;
    summary.all_audited()?;
    Ok(summary)
}

fn scratch(script: &str, daemon: &Daemon) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{script}-{}.json", daemon.id()))
}
