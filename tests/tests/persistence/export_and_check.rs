use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat_tests::{BINARIES, Binary, Client, Daemon, within};
use serde_json::{Value, json};
use tempfile::TempDir;

const MESSAGES: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn export_and_check_work_on_a_running_and_a_stopped_server() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let home = TempDir::new()?;
        let data = ["--data", home.path().to_str().context("a path that is not UTF-8")?];
        let daemon = Daemon::start(binary, &data)?;
        fill(&daemon).await?;
        let store = daemon.ready().await?["store"].clone();
        ensure!(store["state"] == "ok" && store["appends"] == MESSAGES, "{store}");
        let served = binary.run(&["export", "lobby", data[0], data[1]])?;
        let checked = binary.run(&[data[0], data[1], "check"])?;
        let rooms = binary.run(&["rooms", data[0], data[1]])?;
        ensure!(rooms.status.success() && rooms.stdout == b"lobby\n", "{rooms:?}");
        daemon.stop()?;
        let closed = binary.run(&["export", "lobby", data[0], data[1]])?;
        ensure!(served.status.success() && checked.status.success() && closed.status.success());
        ensure!(served.stdout == closed.stdout && served.stderr.is_empty(), "a progress bar in a pipe");
        let lines = String::from_utf8(closed.stdout)?;
        for (line, seq) in lines.lines().zip(1..) {
            let message: Value = serde_json::from_str(line)?;
            ensure!(message["type"] == "message" && message["seq"] == seq, "{line}");
        }
        ensure!(lines.lines().count() == MESSAGES);
        let summary = String::from_utf8(checked.stdout)?;
        ensure!(summary.contains(": sound;") && summary.contains("messages 100,"), "{summary}");
        ensure!(summary.lines().count() == 1 && checked.stderr.is_empty(), "{summary}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn check_reports_damage_and_export_skips_it() -> Result<()> {
    let home = TempDir::new()?;
    let binary = BINARIES[0];
    let data = ["--data", home.path().to_str().context("a path that is not UTF-8")?];
    let daemon = Daemon::start(binary, &data)?;
    fill(&daemon).await?;
    daemon.stop()?;
    let path = home.path().join("chat.db");
    let mut bytes = fs::read(&path)?;
    let at = bytes.windows(9).position(|part| part == b"number-42").context("not there")?;
    bytes[at] ^= 1;
    fs::write(&path, bytes)?;
    let checked = binary.run(&["check", data[0], data[1]])?;
    let summary = String::from_utf8(checked.stdout)?;
    ensure!(checked.status.code() == Some(1) && summary.contains("NOT SOUND"), "{summary}");
    ensure!(summary.contains("message 42 ") && summary.contains("unreadable 1,"), "{summary}");
    let exported = binary.run(&["export", "lobby", data[0], data[1]])?;
    ensure!(
        exported.status.code() == Some(1)
            && String::from_utf8(exported.stdout)?.lines().count() == MESSAGES - 1
    );
    ensure!(String::from_utf8(exported.stderr)?.lines().count() == 1);
    let missing = binary.run(&["export", "hall", data[0], data[1]])?;
    ensure!(missing.status.code() == Some(2) && missing.stdout.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pipe_ends_an_export_without_error() -> Result<()> {
    let home = TempDir::new()?;
    let binary = BINARIES[0];
    let daemon =
        Daemon::start(binary, &["--data", home.path().to_str().context("a path that is not UTF-8")?])?;
    fill(&daemon).await?;
    let mut export = binary.command()?;
    export.args(["export", "lobby", "--data"]).arg(home.path());
    let mut export = export.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut first = String::new();
    // The export is much longer than the buffer of a pipe.
    BufReader::new(export.stdout.take().context("no output")?).read_line(&mut first)?;
    let output = export.wait_with_output()?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    daemon.stop()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_removes_messages_older_than_retain() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let home = TempDir::new()?;
        let data = home.path().to_str().context("a path that is not UTF-8")?;
        let daemon = Daemon::start(binary, &["--data", data, "--retain", "1s", "--retain", "1000msgs"])?;
        let mut client = Client::member(daemon.address(), "ann").await?;
        client.say("short-lived").await?;
        within(async {
            while client.join(None).await?["first"] != 2 {
                // No event announces the removal.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            anyhow::Ok(())
        })
        .await??;
        let page = client.ask(json!({"type": "history", "room": "lobby", "after": 0})).await?;
        ensure!(page["messages"] == json!([]) && page["more"] == false, "{page}");
        client.close(1000).await?;
        daemon.stop()?;
    }
    Ok(())
}

async fn fill(daemon: &Daemon) -> Result<()> {
    let mut client = Client::member(daemon.address(), "ann").await?;
    for number in 1..=MESSAGES {
        client.say(&format!("number-{number} {}", "x".repeat(4_000))).await?;
    }
    client.close(1000).await?;
    Ok(())
}
