//! Host services that make a mistake with an accepted upgrade.
//!
//! A chat server once passed all its tests, and under k6 it logged the status 200 together with "connection has been
//! hijacked". A Rust host can make several such mistakes. With each of them, the client gets the correct status, the
//! log has the same status, and no session is left without a client. `crates/chat-core/tests/ui` has the
//! mistakes that do not compile.

use std::collections::BTreeMap;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use chat_tests::k6::k6;
use chat_tests::{Binary, Daemon, HostFault, for_each_binary, program, request_upgrade, within};
use clap::ValueEnum;
use futures_util::future::try_join_all;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

for_each_binary! { reports_the_correct_status_for_each_fault }

async fn reports_the_correct_status_for_each_fault(binary: Binary) -> Result<()> {
    let adapter = binary.adapter();
    let mut host = program("faulty_host")?;
    host.env("ADAPTER", adapter);
    let daemon = Daemon::spawn(host, binary, &[])?;
    let mut statuses = Statuses::default();
    let mut served = 0;

    // All requests run concurrently: a host that awaits the session waits for the time limit of an upgrade.
    let half_closing = try_join_all(faults().map(|fault| half_close(&daemon, fault)));
    let (lines, half_closed) = tokio::try_join!(run_k6(&daemon), half_closing)?;

    for line in lines {
        let fault = HostFault::from_str(line["fault"].as_str().unwrap_or_default(), false).ok();
        let status = u16::try_from(line["status"].as_u64().context("no status")?)?;
        let is_served = line["events"].as_u64() > Some(0);
        ensure!(Outcome { status, is_served } == expected(adapter, fault), "{fault:?} under k6: {line}");
        statuses.add(status);
        served += usize::from(is_served);
    }
    for (fault, status) in faults().zip(half_closed) {
        let expected = expected(adapter, fault);
        ensure!(status == expected.status, "{fault:?}, half-closed: {status}");
        statuses.add(status);
        served += usize::from(expected.is_served);
    }
    daemon.sessions(0).await?;

    let log = daemon.stop()?;
    ensure!(statuses == Statuses::logged(&log)?, "clients got {statuses:?}, but: {log:#?}");
    let sessions = log.iter().filter(|line| line["message"] == "session ended").count();
    ensure!(sessions == served, "{served} clients were served, but: {log:#?}");
    Ok(())
}

/// Returns every fault, and no fault.
fn faults() -> impl Iterator<Item = Option<HostFault>> {
    HostFault::value_variants().iter().copied().map(Some).chain([None])
}

/// The result of an upgrade request.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    status: u16,
    /// True if the client is in a chat session.
    is_served: bool,
}

fn expected(adapter: &str, fault: Option<HostFault>) -> Outcome {
    match fault {
        None => Outcome { status: 101, is_served: true },
        // hyper sends no body with a 101. In actix the body is the connection.
        Some(HostFault::AddsBody) if adapter != "actix" => Outcome { status: 101, is_served: true },
        Some(_) => Outcome { status: 500, is_served: false },
    }
}

/// The number of responses to upgrade requests, by status.
#[derive(Debug, Default, PartialEq, Eq)]
struct Statuses(BTreeMap<u16, usize>);

impl Statuses {
    fn add(&mut self, status: u16) {
        *self.0.entry(status).or_default() += 1;
    }

    fn logged(log: &[Value]) -> Result<Self> {
        let mut statuses = Self::default();
        for status in log.iter().filter_map(|line| line["status"].as_u64()) {
            statuses.add(status.try_into()?);
        }
        Ok(statuses)
    }
}

/// Connects once for each fault with k6. Returns one line of JSON for each.
async fn run_k6(daemon: &Daemon) -> Result<Vec<Value>> {
    let names: Vec<_> = HostFault::value_variants().iter().map(|fault| fault.name()).collect();
    let mut command = k6("upgrade-faults", daemon)?;
    command.args(["--log-format", "raw", "-e", &format!("FAULTS={}", names.join(","))]);
    let output = tokio::process::Command::from(command).stdout(Stdio::null()).stderr(Stdio::piped()).output();
    let output = within(output).await??;
    let log = String::from_utf8(output.stderr)?;
    ensure!(output.status.success(), "{log}");
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    ensure!(lines.len() == faults().count(), "{log}");
    Ok(lines)
}

/// Requests an upgrade and ends the sending side after the response, which hyper takes for a completed upgrade. Returns
/// the status.
async fn half_close(daemon: &Daemon, fault: Option<HostFault>) -> Result<u16> {
    let header = fault.map(|fault| format!("X-Fault: {}\r\n", fault.name())).unwrap_or_default();
    let (mut stream, status) = request_upgrade(daemon.address(), &header).await?;
    stream.shutdown().await?;
    within(stream.read_to_end(&mut Vec::new())).await??;
    Ok(status)
}
