use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;

use super::cpus::Cpus;
use crate::measure::Process;

/// The time limit for the server to become idle or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// The time between two looks at the server.
const STEP: Duration = Duration::from_millis(250);

/// The share of a core below which the server counts as idle.
const IDLE_CORES: f64 = 0.1;

/// A server process with a temporary store. It is killed when it is dropped.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    dir: TempDir,
    address: SocketAddr,
    process: Process,
}

/// The resources that a server uses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resources {
    pub(super) cpu_seconds: f64,
    pub(super) rss_kib: u64,
    /// The peak of the resident memory since [`Server::forget_peak`].
    pub(super) peak_kib: u64,
    /// Bytes of all files of the store.
    pub(super) disk_bytes: u64,
    pub(super) log_bytes: u64,
}

impl Server {
    /// Starts a server on a free port.
    pub(super) fn start(program: &Path, arguments: &[&str], cpus: &Cpus) -> Result<Self> {
        let dir = TempDir::new()?;
        let log = File::create(dir.path().join("log"))?;
        let mut command = Command::new(program);
        command
            .args(["--listen", "127.0.0.1:0", "--log-format", "json", "--data"])
            .arg(dir.path().join("data"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let spawned = cpus.for_server(|| command.spawn());
        let mut child = spawned.with_context(|| format!("--server {}", program.display()))?;
        let process = Process::of(child.id());
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no standard output")?).read_line(&mut line)?;
        let address = line.split("ws://").nth(1).and_then(|rest| rest.split('/').next());
        let address = address.and_then(|address| address.parse().ok());
        let address = address.with_context(|| {
            let log = fs::read_to_string(dir.path().join("log")).unwrap_or_default();
            format!("the server prints no address: {line}{log}")
        })?;
        Ok(Self { child, dir, address, process })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn resources(&self) -> Result<Resources> {
        let usage = self.process.usage()?;
        let files = fs::read_dir(self.dir.path().join("data"))?;
        // A file of SQLite may be removed meanwhile.
        let sizes = files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len()));
        Ok(Resources {
            cpu_seconds: usage.cpu_seconds,
            rss_kib: usage.rss_kib,
            peak_kib: usage.peak_kib,
            disk_bytes: sizes.sum(),
            log_bytes: fs::metadata(self.dir.path().join("log"))?.len(),
        })
    }

    /// Returns the last lines of the log, for the report of a failure.
    pub(super) fn last_lines(&self) -> String {
        let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Sets the peak of the resident memory to the present value, if the system allows it.
    pub(super) fn forget_peak(&self) {
        let _allowed = fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").is_ok();
    }

    /// Waits until the server has finished the work that it was given, such as the search index.
    pub(super) async fn settle(&self) -> Result<()> {
        let mut before = self.resources()?.cpu_seconds;
        for _ in 0..PATIENCE.as_millis() / STEP.as_millis() {
            sleep(STEP).await;
            let now = self.resources()?.cpu_seconds;
            if (now - before) / STEP.as_secs_f64() < IDLE_CORES {
                break;
            }
            before = now;
        }
        Ok(())
    }

    /// Stops the server and checks its store. Returns the problems that the server, its log or its store reports.
    /// Errors with these messages are part of the attack.
    pub(super) async fn stop(mut self, program: &Path, expected_errors: &[&str]) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        if self.child.try_wait()?.is_none() {
            kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        }
        let mut status = None;
        for _ in 0..PATIENCE.as_millis() / STEP.as_millis() {
            status = self.child.try_wait()?;
            if status.is_some() {
                break;
            }
            sleep(STEP).await;
        }
        match status {
            None => problems.push("the server does not end after SIGTERM".to_owned()),
            Some(status) if !status.success() => problems.push(format!("the server ended with {status}")),
            Some(_) => {}
        }
        let check =
            Command::new(program).arg("check").arg("--data").arg(self.dir.path().join("data")).output()?;
        if !check.status.success() {
            problems.push(format!("the store is not sound: {}", String::from_utf8_lossy(&check.stdout)));
        }
        let log = fs::read_to_string(self.dir.path().join("log"))?;
        ensure!(!log.is_empty(), "the server has no log");
        let errors = log.lines().filter(|line| {
            let line: Value = serde_json::from_str(line).unwrap_or_default();
            let message = line["message"].as_str().unwrap_or_default();
            line["level"].as_str().is_none_or(|level| level == "ERROR")
                && !expected_errors.iter().any(|expected| message.starts_with(expected))
        });
        problems.extend(errors.take(3).map(|line| format!("the log has an error: {line}")));
        Ok(problems)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server may have ended already.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}
