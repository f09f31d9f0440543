//! Short attacks of `chat-abuse`. It checks counts: no message of an innocent member is lost or refused, the attack
//! gets the right codes, memory and disk stay in their bounds, the log has no error, and the store is sound at the end.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat_tests::{Binary, program};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

/// The time limit of a run. No run takes this long, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// The attacks on each adapter: those that its HTTP server sees, and those that depend on its socket.
const SELECTED: [&str; 4] = ["targets", "upgrades", "stalled", "errors"];

/// The result of a run.
struct Run {
    exit_code: Option<i32>,
    output: String,
    report: Value,
}

/// Attacks a server whose options are in the environment.
async fn attack(binary: Binary, attacks: &[&str], environment: &[(&str, &str)]) -> Result<Run> {
    let dir = TempDir::new()?;
    let file = dir.path().join("report.json");
    let mut command = Command::from(program("chat-abuse")?);
    command.args(["--seconds", "1", "--counts-only", "--memory", "32", "--server"]);
    command.arg(binary.command()?.get_program()).arg("--json").arg(&file);
    for attack in attacks {
        command.args(["--attack", attack]);
    }
    let command = command.envs(environment.iter().copied()).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.context("the attacks do not end")??;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let report = std::fs::read(&file).with_context(|| text.clone())?;
    Ok(Run { exit_code: output.status.code(), output: text, report: serde_json::from_slice(&report)? })
}

#[tokio::test(flavor = "multi_thread")]
async fn no_attack_harms_the_members_of_another_room() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        // Most attacks reach the same code on every adapter.
        let attacks = if binary.adapter() == "tungstenite" { &[][..] } else { &SELECTED };
        let run = attack(binary, attacks, &[]).await?;
        ensure!(run.exit_code == Some(0), "{binary:?}: {}", run.output);
        let rows = run.report["rows"].as_array().context("no rows")?;
        ensure!(rows.len() == if attacks.is_empty() { 20 } else { attacks.len() }, "{}", run.output);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attack_fails_if_a_member_is_refused() -> Result<()> {
    let binary = Binary::one_per_adapter().next().context("no binary")?;
    // Members send 12 messages per second.
    let run = attack(binary, &["keys"], &[("CHATD_COMMAND_RATE", "5")]).await?;
    let problem = "messages of the members were refused: rate_limited";
    ensure!(run.exit_code == Some(1) && run.output.contains(problem), "{}", run.output);
    Ok(())
}
