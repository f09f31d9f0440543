//! k6 scenarios on each binary. k6 cannot see the log of the server, so the tests check it afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Result, ensure};
use chat_tests::k6::k6;
use chat_tests::{
    Affected, BINARIES, Binary, Daemon, Proxy, ProxyFault, Summary, check_log, for_each_binary,
};

const USERS: u64 = 20;

/// The number of times that k6 is killed while its users are connected.
const KILLS: u64 = 2;

for_each_binary! { serves_users_and_survives_lost_clients resumes_disconnected_clients follows_changes }

#[tokio::test(flavor = "multi_thread")]
async fn k6_counts_lost_repeated_and_reordered_messages() -> Result<()> {
    let daemon = Daemon::start(BINARIES[0], &[])?;
    for (fault, counter) in [
        (ProxyFault::Drop, "chat_lost"),
        (ProxyFault::Repeat, "chat_duplicated"),
        (ProxyFault::Delay, "chat_reordered"),
    ] {
        let proxy = Proxy::start(daemon.address(), fault, Affected::EveryThird).await?;
        let path = summary_path(counter, &daemon);
        let mut command = tokio::process::Command::from(k6("smoke", &daemon)?);
        let url = format!("URL=ws://{}/ws", proxy.address());
        command.args(["-e", &url, "-e", "USERS=5", "-e", "PATIENCE_MS=1000"]);
        let output = command.arg("--summary-export").arg(&path).output().await?;
        ensure!(output.status.code() == Some(99), "{fault:?}: {output:#?}");
        let summary = Summary::read(&path)?;
        for counted in ["chat_lost", "chat_duplicated", "chat_reordered"] {
            let count = summary.count(counted)?;
            ensure!((count > 0) == (counted == counter), "{fault:?}: {counted} is {count}");
        }
        let reason = format!("({counter} must have count==0)");
        let reasons = summary.failed_thresholds();
        ensure!(reasons.iter().any(|words| words.ends_with(&reason)), "{fault:?}: {reasons:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_page_has_the_verdict_and_the_figures_of_k6() -> Result<()> {
    let page = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page-of-k6.html");
    let reports = chat_tests::k6::reports("smoke-tungstenite-hijack-1")?;
    // The second run looks for the server at a port where it is not.
    for (sizes, verdict) in [(&[][..], "Passed"), (&["-e", "URL=ws://127.0.0.1:1/ws"], "Failed")] {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_k6"));
        command.args(["smoke", "tungstenite", "-e", "USERS=3", "-e", "ITERATIONS=1"]).args(sizes);
        let output = command.arg("--html").arg(&page).output().await?;
        ensure!(output.status.success() == (verdict == "Passed"), "{output:?}");
        let html = fs::read_to_string(&page)?;
        ensure!(html.contains(&format!("<p class=\"badge\">{verdict}</p>")), "{html}");
        let delivered = Summary::read(&reports.join("summary.json"))?.count("chat_delivered")?;
        let row = format!("<th scope=\"row\">delivered</th><td>{delivered}</td>");
        ensure!(html.contains(&row) && (delivered > 0) == (verdict == "Passed"), "{delivered} in {html}");
    }
    Ok(())
}

async fn serves_users_and_survives_lost_clients(binary: Binary) -> Result<()> {
    let daemon = Daemon::start(binary, &["--log-rate", "0"])?;
    for _ in 0..KILLS {
        let mut connected = k6("smoke", &daemon)?
            .args(["-e", "STAY=1", "-e", &format!("USERS={USERS}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        daemon.sessions(USERS).await?;
        connected.kill()?;
        connected.wait()?;
        daemon.sessions(0).await?;
    }
    let users = run("smoke", &daemon, &[])?.count("chat_users")?;
    daemon.sessions(0).await?;
    let rooms = daemon.ready().await?["rooms"].clone();
    ensure!(rooms == 1, "{rooms} rooms");

    let log = daemon.stop()?;
    let upgrades = check_log(&log)?;
    ensure!(upgrades >= usize::try_from(USERS * KILLS + users)?, "only {upgrades} upgrades");
    for code in [1000, 1001] {
        let is_closed = log.iter().any(|line| line["message"] == "session ended" && line["close"] == code);
        ensure!(is_closed, "no session closed with {code}");
    }
    Ok(())
}

async fn resumes_disconnected_clients(binary: Binary) -> Result<()> {
    let daemon = Daemon::start(binary, &["--log-rate", "0"])?;
    let summary = run("resume", &daemon, &["USERS=6", "CUTS=3", "STAY_MS=500", "EVERY_MS=50"])?;
    daemon.sessions(0).await?;
    let upgrades = check_log(&daemon.stop()?)?;
    ensure!(upgrades == 6 * 4, "{upgrades} upgrades");
    ensure!(summary.count("chat_replayed")? > 0, "no message was replayed");
    Ok(())
}

async fn follows_changes(binary: Binary) -> Result<()> {
    let daemon = Daemon::start(binary, &["--log-rate", "0"])?;
    let summary = run("changes", &daemon, &["USERS=6", "ROUNDS=12", "EVERY_MS=50"])?;
    daemon.sessions(0).await?;
    check_log(&daemon.stop()?)?;
    let compared = summary.count("chat_compared")?;
    ensure!(compared >= 6 * 12, "only {compared} messages were compared");
    Ok(())
}

/// Runs a script. Its thresholds must hold, and every user must have compared all messages.
fn run(script: &str, daemon: &Daemon, sizes: &[&str]) -> Result<Summary> {
    let path = summary_path(script, daemon);
    let mut command = k6(script, daemon)?;
    command.args(sizes.iter().flat_map(|size| ["-e", size])).arg("--summary-export").arg(&path);
    let output = command.output()?;
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{out}{error}");
    let summary = Summary::read(&path)?;
    summary.all_audited()?;
    Ok(summary)
}

fn summary_path(name: &str, daemon: &Daemon) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.json", daemon.id()))
}
