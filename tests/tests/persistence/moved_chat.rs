use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use chat_tests::{Binary, Client, Daemon, without_ages};
use serde_json::json;
use tempfile::TempDir;

/// The number of messages, more than a page.
const MESSAGES: u64 = 60;

/// The number of messages that a client receives after a failed resume: a page.
const NEWEST: u64 = 50;

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_moves_keeps_its_content_and_begins_a_new_epoch() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let home = TempDir::new()?;
        let (old, new) = (home.path().join("old"), home.path().join("new"));
        let daemon = Daemon::start_in(&old, binary, &[])?;
        let epoch = fill(&daemon).await?;
        let served = run(binary, &["export"], &old)?;
        daemon.stop()?;
        let file = home.path().join("chat.jsonl");
        fs::write(&file, run(binary, &["export"], &old)?)?;
        let is_equal = without_ages(&served)? == without_ages(&fs::read(&file)?)?;
        ensure!(is_equal, "a running server is exported in another way");

        // Half of the adapters read the file, half the standard input.
        let name = file.to_str().context("a path that is not UTF-8")?;
        let mut command = binary.command()?;
        let file_name = if binary.name.len().is_multiple_of(2) { "-" } else { name };
        command.args(["import", file_name, "--data"]).arg(&new).stdin(File::open(&file)?);
        let output = command.output()?;
        let summary = String::from_utf8(output.stdout)?;
        ensure!(output.status.success() && output.stderr.is_empty(), "{summary}");
        ensure!(summary.contains(": imported; rooms 1, messages 60, lost 0,"), "{summary}");
        ensure!(run(binary, &["export"], &new)? == fs::read(&file)?, "the import is exported in another way");
        ensure!(String::from_utf8(run(binary, &["check"], &new)?)?.contains(": sound;"));

        let daemon = Daemon::start_in(&new, binary, &[])?;
        check_members(&daemon, &epoch).await?;
        let refused = binary.command()?.args(["import", name, "--data"]).arg(&new).output()?;
        let text = String::from_utf8(refused.stderr)?;
        ensure!(refused.status.code() == Some(2) && text.contains("the store is in use"), "{text}");
        let log = daemon.stop()?;
        ensure!(crate::crashes::opened(&log) == "closed cleanly");
    }
    Ok(())
}

/// Returns the standard output of a task on a directory.
fn run(binary: Binary, arguments: &[&str], dir: &Path) -> Result<Vec<u8>> {
    let output = binary.command()?.args(arguments).arg("--data").arg(dir).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

/// Sends messages, of which `bob` has read all but ten. Returns the epoch.
async fn fill(daemon: &Daemon) -> Result<String> {
    let mut ann = Client::connect(daemon.address(), "ann").await?;
    let epoch = ann.join(None).await?["epoch"].as_str().context("no epoch")?.to_owned();
    for n in 1..=MESSAGES {
        let body = json!({ "text": format!("message {n}") });
        ann.send(json!({ "type": "send", "room": "lobby", "key": format!("k{n}"), "body": body })).await?;
        ann.until("sent").await?;
    }
    let mut bob = Client::connect(daemon.address(), "bob").await?;
    bob.join(None).await?;
    bob.send(json!({ "type": "read", "room": "lobby", "seq": MESSAGES - 10 })).await?;
    bob.until("read").await?;
    Ok(epoch)
}

async fn check_members(daemon: &Daemon, before: &str) -> Result<()> {
    let mut bob = Client::connect(daemon.address(), "bob").await?;
    let joined = bob.join(Some((before, MESSAGES))).await?;
    let epoch = joined["epoch"].as_str().context("no epoch")?;
    ensure!(epoch != before && joined["recovered"] == false && joined["seq"] == MESSAGES, "{joined}");
    ensure!(joined["read"] == MESSAGES - 10 && joined["unread"] == 10, "{joined}");
    let gap = bob.until("gap").await?;
    ensure!(gap["from"] == 1 && gap["to"] == MESSAGES - NEWEST && gap["epoch"] == epoch, "{gap}");
    for seq in MESSAGES - NEWEST + 1..=MESSAGES {
        let message = bob.until("message").await?;
        ensure!(message["seq"] == seq && message["user"]["id"] == "ann", "{message}");
    }
    let mut ann = Client::connect(daemon.address(), "ann").await?;
    ann.join(None).await?;
    let body = json!({ "text": "message 7" });
    ann.send(json!({ "type": "send", "room": "lobby", "key": "k7", "body": body })).await?;
    let sent = ann.until("sent").await?;
    ensure!(sent["seq"] == 7 && sent["duplicate"] == true, "{sent}");
    ann.send(json!({ "type": "search", "room": "lobby", "query": "message 33" })).await?;
    let found = ann.until("found").await?;
    ensure!(found["messages"].as_array().is_some_and(|found| found.len() == 1), "{found}");
    Ok(())
}
