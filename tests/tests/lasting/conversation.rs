use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use chat_tests::{Binary, Daemon};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::programs;
use crate::talker::{Talker, read_afresh};

const TALKERS: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_survives_kill_9_and_a_restart() -> Result<()> {
    for binary in programs() {
        let home = TempDir::new()?;
        let mut talkers = talkers();
        let log = talk_until_killed(binary, home.path(), "disk", &mut talkers, 200).await?;
        ensure!(opened(&log) == "new", "{log:#?}");
        let daemon = Daemon::start(binary, &["--data", text(home.path())?])?;
        verify(&daemon, &mut talkers).await?;
        ensure!(opened(&daemon.stop()?) == "after a crash, nothing lost");
        let daemon = Daemon::start(binary, &["--data", text(home.path())?])?;
        ensure!(opened(&daemon.stop()?) == "as it was closed");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_acknowledged_is_lost_in_a_loop_of_crashes() -> Result<()> {
    crash_again_and_again("disk").await
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_is_it_at_the_level_of_the_process() -> Result<()> {
    crash_again_and_again("process").await
}

/// The binaries in turn, on one directory, each killed at another moment; `CHAT_CRASHES` says how often.
async fn crash_again_and_again(durability: &str) -> Result<()> {
    let crashes = std::env::var("CHAT_CRASHES").map_or(Ok(10), |number| number.parse::<u64>())?;
    let home = TempDir::new()?;
    let mut talkers = talkers();
    for (crash, binary) in (0..crashes).zip(programs().into_iter().cycle()) {
        // Now and then before anything is acknowledged.
        let enough = (crash * 37 + 50) % 150;
        talk_until_killed(binary, home.path(), durability, &mut talkers, enough).await?;
    }
    let binary = programs()[0];
    let daemon = Daemon::start(binary, &["--data", text(home.path())?])?;
    verify(&daemon, &mut talkers).await?;
    daemon.stop()?;
    let check = binary.run(&["check", "--data", text(home.path())?])?;
    ensure!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    Ok(())
}

fn talkers() -> Vec<Talker> {
    (1..=TALKERS).map(|number| Talker::new(&format!("talker-{number}"))).collect()
}

/// Lets all talk at once, and kills the server once they have been answered so often; its log.
async fn talk_until_killed(
    binary: Binary,
    dir: &Path,
    durability: &str,
    talkers: &mut Vec<Talker>,
    enough: u64,
) -> Result<Vec<serde_json::Value>> {
    let daemon = Daemon::start(binary, &["--data", text(dir)?, "--durability", durability])?;
    let address = daemon.address();
    let (told, mut answers) = mpsc::unbounded_channel();
    let mut talking = JoinSet::new();
    for mut talker in talkers.drain(..) {
        let told = told.clone();
        talking.spawn(async move {
            talker.talk(address, &told).await?;
            anyhow::Ok(talker)
        });
    }
    drop(told);
    for _ in 0..enough {
        answers.recv().await.context("they have stopped talking")?;
    }
    let log = daemon.crash()?;
    for talker in talking.join_all().await {
        talkers.push(talker?);
    }
    Ok(log)
}

/// Sees that everybody goes on where they were, and that what they know is what is stored.
async fn verify(daemon: &Daemon, talkers: &mut [Talker]) -> Result<()> {
    for talker in talkers.iter_mut() {
        talker.catch_up(daemon.address()).await?;
    }
    let (epoch, stored) = read_afresh(daemon.address()).await?;
    let keys: BTreeSet<_> = stored.values().collect();
    ensure!(keys.len() == stored.len(), "something is there twice");
    for talker in talkers {
        ensure!(talker.epoch() == Some(&*epoch), "another epoch");
        for (seq, key) in &talker.seen {
            ensure!(stored.get(seq) == Some(key), "{key} was seen at {seq}");
        }
        for (key, seq) in &talker.acknowledged {
            ensure!(stored.get(seq) == Some(key), "{key} was acknowledged at {seq}");
        }
    }
    Ok(())
}

/// How a log says that the store was found.
pub(crate) fn opened(log: &[serde_json::Value]) -> &str {
    let line = log.iter().find(|line| line["message"] == "rooms are kept");
    line.and_then(|line| line["opened"].as_str()).unwrap_or_default()
}

pub(crate) fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no text")
}
