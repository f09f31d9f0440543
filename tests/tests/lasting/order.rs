use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat_tests::{BINARIES, Client, Daemon, within};
use serde_json::json;
use tempfile::TempDir;

use crate::conversation::text;

const MESSAGES: u64 = 20;

/// One call to the system: the lines of the trace where it begins and has ended.
struct Call {
    begun: usize,
    ended: usize,
    text: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_or_delivered_before_it_is_on_the_disk() -> Result<()> {
    for binary in BINARIES {
        let home = TempDir::new()?;
        let trace = home.path().join("trace");
        let mut strace = Command::new("strace");
        // The tracer is in the background: signals go to the server.
        strace.args(["-D", "-f", "-y", "-s", "1000", "-e"]);
        strace.args(["trace=write,writev,sendto,sendmsg,pwrite64,pwritev,fsync,fdatasync,exit_group", "-o"]);
        strace.arg(&trace).arg(binary.command()?.get_program());
        let store = home.path().join("store");
        let daemon = Daemon::spawn(strace, binary, &["--data", text(&store)?])?;
        let mut sender = Client::connect(daemon.address(), "sender").await?;
        let mut witness = Client::connect(daemon.address(), "witness").await?;
        for client in [&mut sender, &mut witness] {
            client.ask(json!({"type": "join", "room": "lobby"}), "j").await?;
        }
        for seq in 1..=MESSAGES {
            let command = json!({"type": "send", "room": "lobby", "body": {"text": "hi"}});
            ensure!(sender.ask(command, "s").await?["seq"] == seq);
            ensure!(witness.until("message").await?["seq"] == seq);
        }
        sender.close(1000).await?;
        witness.close(1000).await?;
        daemon.stop()?;
        verify(&calls(&whole(&trace).await?)).with_context(|| format!("{binary:?}"))?;
    }
    Ok(())
}

/// The trace, once its tracer has seen the end.
pub(crate) async fn whole(trace: &Path) -> Result<String> {
    within(async {
        loop {
            let text = std::fs::read_to_string(trace)?;
            if text.lines().last().is_some_and(|line| line.contains("+++ exited with ")) {
                return Ok(text);
            }
            // Nothing tells when the tracer is done.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await?
}

/// One message at a time: it is written to the log, the log is synchronized, and then it is told.
fn verify(calls: &[Call]) -> Result<()> {
    let ended = |is: &dyn Fn(&str) -> bool| {
        calls.iter().filter(|call| is(&call.text)).map(|call| call.ended).collect::<Vec<_>>()
    };
    let writes = ended(&|call| call.contains("chat.db-wal>") && call.starts_with("pwrite"));
    let syncs =
        ended(&|call| call.contains("chat.db-wal>") && call.contains("sync(") && call.ends_with("= 0"));
    let mut before = 0;
    for seq in 1..=MESSAGES {
        let tells = |call: &&Call| {
            let is_socket = call.text.contains("<socket:") || call.text.contains("<TCP");
            is_socket && [",", "}"].iter().any(|end| call.text.contains(&format!("\\\"seq\\\":{seq}{end}")))
        };
        let told: Vec<_> = calls.iter().filter(tells).collect();
        let first = told.iter().map(|call| call.begun).min().context("it was not told")?;
        let synced = syncs.iter().filter(|at| (before..first).contains(*at)).max();
        let synced = synced.with_context(|| format!("{seq} was told ahead of its fsync"))?;
        ensure!(writes.iter().any(|at| (before..*synced).contains(at)), "{seq} was told ahead of its write");
        ensure!(told.len() >= 2, "{seq} was acknowledged and delivered");
        before = first;
    }
    Ok(())
}

fn calls(trace: &str) -> Vec<Call> {
    let mut unfinished = BTreeMap::new();
    let mut calls = Vec::new();
    for (at, line) in trace.lines().enumerate() {
        let (process, call) = line.split_once(' ').unwrap_or((line, ""));
        let call = call.trim();
        if let Some(begun) = call.strip_suffix(" <unfinished ...>") {
            unfinished.insert(process, (at, begun));
        } else if let Some((_, rest)) = call.split_once(" resumed>") {
            let (begun, start) = unfinished.remove(process).unwrap_or((at, ""));
            calls.push(Call { begun, ended: at, text: start.to_owned() + rest });
        } else {
            calls.push(Call { begun: at, ended: at, text: call.to_owned() });
        }
    }
    calls
}
