use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use chat_tests::{BINARIES, Client, Daemon, eventually};
use tempfile::TempDir;

const MESSAGES: u64 = 20;

/// A system call: the lines of the trace in which it begins and ends.
struct Call {
    begun: usize,
    ended: usize,
    text: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_synced_before_they_are_acknowledged_or_delivered() -> Result<()> {
    for binary in BINARIES {
        let home = TempDir::new()?;
        let trace = home.path().join("trace");
        let mut strace = Command::new("strace");
        // The tracer runs in the background, so that signals go to the server.
        strace.args(["-D", "-f", "-y", "-s", "1000", "-e"]);
        strace.args(["trace=write,writev,sendto,sendmsg,pwrite64,pwritev,fsync,fdatasync,exit_group", "-o"]);
        strace.arg(&trace).arg(binary.command()?.get_program());
        let daemon = Daemon::spawn(strace, binary, &[])?;
        let mut sender = Client::member(daemon.address(), "sender").await?;
        let mut witness = Client::member(daemon.address(), "witness").await?;
        for seq in 1..=MESSAGES {
            ensure!(sender.say("hi").await?["seq"] == seq);
            ensure!(witness.until("message").await?["seq"] == seq);
        }
        sender.close(1000).await?;
        witness.close(1000).await?;
        daemon.stop()?;
        verify(&calls(&complete_trace(&trace).await?)).with_context(|| format!("{binary:?}"))?;
    }
    Ok(())
}

/// Waits until the tracer has recorded the exit of the program. Returns the trace.
pub(crate) async fn complete_trace(trace: &Path) -> Result<String> {
    eventually(|| async {
        let text = fs::read_to_string(trace)?;
        Ok(text.lines().last().is_some_and(|line| line.contains("+++ exited with ")))
    })
    .await?;
    Ok(fs::read_to_string(trace)?)
}

/// Checks that each message is written to the log, and the log is synchronized, before the message is sent to a socket.
fn verify(calls: &[Call]) -> Result<()> {
    let ended = |is: &dyn Fn(&str) -> bool| {
        calls.iter().filter(|call| is(&call.text)).map(|call| call.ended).collect::<Vec<_>>()
    };
    let writes = ended(&|call| call.contains("chat.db-wal>") && call.starts_with("pwrite"));
    let syncs =
        ended(&|call| call.contains("chat.db-wal>") && call.contains("sync(") && call.ends_with("= 0"));
    let mut before = 0;
    for seq in 1..=MESSAGES {
        let sends = |call: &&Call| {
            let is_socket = call.text.contains("<socket:") || call.text.contains("<TCP");
            is_socket && [",", "}"].iter().any(|end| call.text.contains(&format!("\\\"seq\\\":{seq}{end}")))
        };
        let sent: Vec<_> = calls.iter().filter(sends).collect();
        let first = sent.iter().map(|call| call.begun).min().context("it was not sent")?;
        let synced = syncs.iter().filter(|at| (before..first).contains(*at)).max();
        let synced = synced.with_context(|| format!("{seq} was sent before its fsync"))?;
        ensure!(writes.iter().any(|at| (before..*synced).contains(at)), "{seq} was sent before its write");
        ensure!(sent.len() >= 2, "{seq} was not both acknowledged and delivered");
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
