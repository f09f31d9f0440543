//! A disk that takes longer than a server has to stop.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use chat_tests::{Binary, Daemon, within};
use serde_json::Value;
use tempfile::TempDir;

use crate::conversation::{opened, text};
use crate::faulty::{Fault, Tracer};
use crate::programs;
use crate::talk::{Said, Talk};

const IN_SECONDS: &str = "1";

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_closed_in_time_is_left_behind_and_loses_nothing() -> Result<()> {
    for binary in programs() {
        let home = TempDir::new()?;
        let dir = home.path().join("store");
        let (daemon, talk) = begin(binary, &dir).await?;
        let said = talk.end().await?;
        let tracer = Tracer::attach(&daemon, &dir, Some(&stalled())).await?;
        daemon.signal("TERM")?;
        late(daemon, tracer).await?;
        go_on(binary, &dir, said).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_the_disk_when_a_server_stops_is_not_acknowledged_or_is_kept() -> Result<()> {
    for binary in programs() {
        let home = TempDir::new()?;
        let dir = home.path().join("store");
        let (daemon, mut talk) = begin(binary, &dir).await?;
        let tracer = Tracer::attach(&daemon, &dir, Some(&stalled())).await?;
        for key in ["in-hand", "behind-it"] {
            talk.call(key).await?;
        }
        daemon.signal("TERM")?;
        let said = talk.cut_off().await;
        late(daemon, tracer).await?;
        go_on(binary, &dir, said).await?;
    }
    Ok(())
}

/// Nothing gets to the disk before the server has ended.
fn stalled() -> Fault {
    Fault { calls: "fsync,fdatasync".to_owned(), how: "delay_enter=600000000", from: 1, lasts: true }
}

async fn begin(binary: Binary, dir: &Path) -> Result<(Daemon, Talk)> {
    let daemon = Daemon::start(binary, &["--data", text(dir)?, "--drain-timeout", IN_SECONDS])?;
    let mut talk = Talk::begin(&daemon, Said::default()).await?;
    for key in ["one", "two", "three"] {
        ensure!(talk.say(key).await?);
    }
    Ok((daemon, talk))
}

/// It ends with 1, and says why.
async fn late(daemon: Daemon, tracer: Tracer) -> Result<()> {
    let process = format!("/proc/{}/stat", daemon.id());
    within(async {
        while !std::fs::read_to_string(&process)?.contains(") Z ") {
            // Nothing tells that all but the thread that is traced have ended.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    })
    .await??;
    drop(tracer);
    let (status, log) = daemon.wait()?;
    let last = log.last().map_or(&Value::Null, |line| &line["message"]);
    ensure!(status.code() == Some(1), "{status}: {log:#?}");
    ensure!(last.as_str().is_some_and(|line| line.contains("could not be closed in time")), "{log:#?}");
    Ok(())
}

/// The next server finds everything, and puts the store in order.
async fn go_on(binary: Binary, dir: &Path, said: Said) -> Result<()> {
    let data = ["--data", text(dir)?];
    let daemon = Daemon::start(binary, &data)?;
    said.verify(&daemon).await?;
    let log = daemon.stop()?;
    ensure!(opened(&log) == "after a crash, nothing lost", "{log:#?}");
    let check = binary.run(&["check", data[0], data[1]])?;
    ensure!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    Ok(())
}
