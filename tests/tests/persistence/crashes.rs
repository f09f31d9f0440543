use std::path::Path;

use anyhow::{Context, Result, ensure};
use chat_tests::{Binary, Daemon};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::writer::{StoredLog, Writer};

const WRITERS: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_survives_sigkill_and_a_restart() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let home = TempDir::new()?;
        let mut writers = writers();
        let log = write_until_killed(binary, home.path(), "disk", &mut writers, 200).await?;
        ensure!(opened(&log) == "new", "{log:#?}");
        let daemon = Daemon::start_in(home.path(), binary, &[])?;
        verify(&daemon, &mut writers).await?;
        ensure!(opened(&daemon.stop()?) == "crashed, nothing lost");
        let daemon = Daemon::start_in(home.path(), binary, &[])?;
        ensure!(opened(&daemon.stop()?) == "closed cleanly");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_crashes_with_durability_disk_lose_no_acknowledged_message() -> Result<()> {
    crash_repeatedly("disk").await
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_crashes_with_durability_process_lose_no_acknowledged_message() -> Result<()> {
    crash_repeatedly("process").await
}

/// Runs the binaries in turn on one store and kills each after another number of messages. The environment variable
/// `CHAT_CRASHES` gives the number of crashes; it defaults to 10.
async fn crash_repeatedly(durability: &str) -> Result<()> {
    let crashes = std::env::var("CHAT_CRASHES").map_or(Ok(10), |number| number.parse::<u64>())?;
    let home = TempDir::new()?;
    let mut writers = writers();
    for (crash, binary) in (0..crashes).zip(Binary::one_per_adapter().cycle()) {
        // Sometimes zero: the server is killed before it acknowledges anything.
        let messages = (crash * 37 + 50) % 150;
        write_until_killed(binary, home.path(), durability, &mut writers, messages).await?;
    }
    let binary = Binary::one_per_adapter().next().context("no binary")?;
    let daemon = Daemon::start_in(home.path(), binary, &[])?;
    verify(&daemon, &mut writers).await?;
    daemon.stop()?;
    binary.check_store(home.path())
}

fn writers() -> Vec<Writer> {
    (1..=WRITERS).map(|number| Writer::new(&format!("writer-{number}"))).collect()
}

/// Runs all writers, kills the server after this number of acknowledgements, and returns its log.
async fn write_until_killed(
    binary: Binary,
    dir: &Path,
    durability: &str,
    writers: &mut Vec<Writer>,
    messages: u64,
) -> Result<Vec<Value>> {
    let daemon = Daemon::start_in(dir, binary, &["--durability", durability])?;
    let address = daemon.address();
    let (progress, mut acknowledgements) = mpsc::unbounded_channel();
    let mut writing = JoinSet::new();
    for mut writer in writers.drain(..) {
        let progress = progress.clone();
        writing.spawn(async move {
            writer.write(address, &progress).await?;
            anyhow::Ok(writer)
        });
    }
    drop(progress);
    for _ in 0..messages {
        acknowledgements.recv().await.context("all writers have stopped")?;
    }
    let log = daemon.crash()?;
    for writer in writing.join_all().await {
        writers.push(writer?);
    }
    Ok(log)
}

/// Checks that every writer resumes where it was, and that all messages that writers know of are stored.
async fn verify(daemon: &Daemon, writers: &mut [Writer]) -> Result<()> {
    for writer in writers.iter_mut() {
        writer.catch_up(daemon.address()).await?;
    }
    let log = StoredLog::read(daemon.address()).await?;
    for writer in writers {
        ensure!(writer.epoch() == Some(&*log.epoch), "another epoch");
        log.check_contains(&writer.known)?;
    }
    Ok(())
}

/// Returns the state in which a server found its store, from its log.
pub(crate) fn opened(log: &[Value]) -> &str {
    let line = log.iter().find(|line| line["message"] == "store opened");
    line.and_then(|line| line["found"].as_str()).unwrap_or_default()
}
