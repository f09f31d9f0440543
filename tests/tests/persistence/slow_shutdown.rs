//! A disk that is slower than the time limit of a shutdown.

use std::path::Path;

use anyhow::{Result, ensure};
use chat_tests::{Binary, Daemon, eventually};
use serde_json::Value;
use tempfile::TempDir;

use crate::crashes::opened;
use crate::injection::{Fault, Tracer};
use crate::witness::{Conversation, SentMessages};

const DRAIN_TIMEOUT_SECONDS: &str = "1";

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_close_in_time_loses_no_message() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let home = TempDir::new()?;
        let dir = home.path().join("store");
        let (daemon, conversation) = begin(binary, &dir).await?;
        let sent = conversation.finish().await?;
        let tracer = Tracer::attach(&daemon, &dir, Some(&stalled())).await?;
        daemon.signal("TERM")?;
        check_late_exit(daemon, tracer).await?;
        check_restart(binary, &dir, sent).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_in_flight_at_a_shutdown_are_unacknowledged_or_stored() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let home = TempDir::new()?;
        let dir = home.path().join("store");
        let (daemon, mut conversation) = begin(binary, &dir).await?;
        let tracer = Tracer::attach(&daemon, &dir, Some(&stalled())).await?;
        for key in ["in-flight", "queued"] {
            conversation.send_without_waiting(key).await?;
        }
        daemon.signal("TERM")?;
        let sent = conversation.wait_for_end().await;
        check_late_exit(daemon, tracer).await?;
        check_restart(binary, &dir, sent).await?;
    }
    Ok(())
}

/// Returns a fault that delays every write to the disk until the server has exited.
fn stalled() -> Fault {
    Fault { calls: "fsync,fdatasync".to_owned(), behaviour: "delay_enter=600000000", from: 1, persists: true }
}

async fn begin(binary: Binary, dir: &Path) -> Result<(Daemon, Conversation)> {
    let daemon = Daemon::start_in(dir, binary, &["--drain-timeout", DRAIN_TIMEOUT_SECONDS])?;
    let mut conversation = Conversation::begin(&daemon, SentMessages::default()).await?;
    for key in ["one", "two", "three"] {
        ensure!(conversation.send(key).await?);
    }
    Ok((daemon, conversation))
}

/// Checks that the server exits with 1 and gives the reason.
async fn check_late_exit(daemon: Daemon, tracer: Tracer) -> Result<()> {
    let process = format!("/proc/{}/stat", daemon.id());
    // All threads but the traced one have exited.
    eventually(|| async { Ok(std::fs::read_to_string(&process)?.contains(") Z ")) }).await?;
    drop(tracer);
    let (status, log) = daemon.wait()?;
    ensure!(status.code() == Some(1), "{status}: {log:#?}");
    let is_reason = |line: &Value| {
        line["message"] == "store not closed cleanly; the next start repairs it"
            && line["cause"] == "the store was not closed in time"
    };
    ensure!(log.iter().any(is_reason), "{log:#?}");
    Ok(())
}

/// Checks that the next server finds every message and repairs the store.
async fn check_restart(binary: Binary, dir: &Path, sent: SentMessages) -> Result<()> {
    let daemon = Daemon::start_in(dir, binary, &[])?;
    sent.verify(&daemon).await?;
    let log = daemon.stop()?;
    ensure!(opened(&log) == "crashed, nothing lost", "{log:#?}");
    binary.check_store(dir)
}
