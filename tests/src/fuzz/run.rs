use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::canary::{Canary, CanaryReport, Signals};
use super::conversation::Conversation;
use super::play::play;
use crate::{Binary, Daemon, Footprint};

/// The room that the conversations of the corpus use, and one that no conversation names.
const ROOMS: [&str; 2] = ["lobby", "canaries-only"];

/// Conversations that are played at the same time.
const WORKERS: usize = 16;

/// The time limit for a server to release what ended conversations have used. It is longer than a close.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(20);

/// Open rooms without members and messages. A room that was in use when its last member left is closed by the next
/// sweep of the server, which comes within a minute.
const MAX_BLANK_ROOMS: u64 = 16;

/// The resident memory that a server may use, in KiB. It is far above the sum of its budgets at this load.
const MAX_KIB: usize = 600 * 1024;

/// A server that is fuzzed, with its canaries.
#[derive(Debug)]
pub(super) struct Subject {
    daemon: Daemon,
    data: TempDir,
    canaries: Vec<(Arc<Signals>, JoinHandle<Result<CanaryReport>>)>,
    descriptors: usize,
    log_checked: usize,
}

/// The figures of a server after its conversations.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// The number of conversations.
    pub conversations: u64,
    /// The number of messages of the canaries.
    pub canary_messages: usize,
    /// The longest time in which a command of a canary was answered.
    pub slowest_answer: Duration,
    /// The peak of the resident memory, in KiB.
    pub peak_kib: usize,
}

impl Subject {
    /// Starts a server with a store on disk, and the canaries. `lifted` removes the limits of one client.
    pub(super) async fn start(binary: Binary, lifted: bool) -> Result<Self> {
        let data = TempDir::new()?;
        let arguments = if lifted { crate::lifted() } else { Vec::new() };
        let daemon = Daemon::start_in(data.path(), binary, &arguments)?;
        let mut canaries = Vec::new();
        for room in ROOMS {
            // No mutation can guess the name, so that no conversation speaks for the canary.
            let name = format!("canary-{:08x}", fastrand::u32(..));
            let canary = Canary::start(daemon.address(), &name, room).await?;
            let signals = Arc::new(Signals::default());
            let shared = Arc::clone(&signals);
            canaries.push((signals, tokio::spawn(async move { canary.run(&shared).await })));
        }
        let descriptors = Footprint::of(daemon.id(), data.path())?.descriptors;
        Ok(Self { daemon, data, canaries, descriptors, log_checked: 0 })
    }

    /// Plays conversations, several at the same time, until all have ended. Then checks the server.
    ///
    /// # Errors
    ///
    /// The first problem, with the conversation that shows it if that is known.
    pub(super) async fn play_all(&mut self, all: &[Conversation]) -> Result<(), Problem> {
        let (next, shared) = (Arc::new(AtomicUsize::new(0)), Arc::<[Conversation]>::from(all));
        let mut workers = JoinSet::new();
        for _ in 0..WORKERS {
            let (next, all, address) = (Arc::clone(&next), Arc::clone(&shared), self.daemon.address());
            workers.spawn(async move {
                while let Some(conversation) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    play(address, conversation)
                        .await
                        .map_err(|text| Problem { text, conversation: Some(conversation.clone()) })?;
                }
                Ok::<(), Problem>(())
            });
        }
        while let Some(played) = workers.join_next().await {
            played.map_err(|error| Problem::from(anyhow::Error::new(error)))??;
        }
        Ok(self.check().await?)
    }

    /// Checks that the server has released everything but the canaries, has logged no error, and serves them.
    async fn check(&mut self) -> Result<()> {
        self.check_now().await?;
        let rounds = || self.canaries.iter().map(|(signals, _)| signals.rounds.load(Ordering::Relaxed));
        let before: Vec<_> = rounds().collect();
        // The first round may have begun before the last message of the conversations.
        let is_behind = || rounds().zip(&before).any(|(now, before)| now < before + 2);
        settled(async || Ok((is_behind() && !self.has_canary_ended()).then(|| "no round".to_owned())))
            .await
            .context("a canary does not go on")?;
        let open = self.canaries.len();
        settled(async || {
            let ready = self.daemon.ready().await?;
            let is_left = ready["sessions"] != open || ready["connections"] != open;
            Ok((is_left && !self.has_canary_ended()).then(|| ready.to_string()))
        })
        .await
        .context("connections or sessions are left")?;
        settled(async || {
            let now = Footprint::of(self.daemon.id(), self.data.path())?.descriptors;
            Ok((now > self.descriptors).then(|| format!("{now}, and {} at the start", self.descriptors)))
        })
        .await
        .context("descriptors are left")?;
        let kib = Footprint::of(self.daemon.id(), self.data.path())?.kib;
        ensure!(kib <= MAX_KIB, "the server uses {kib} KiB");
        self.check_now().await
    }

    /// Checks the log so far, and that the canaries go on.
    async fn check_now(&mut self) -> Result<()> {
        self.log_checked += check_log(&self.daemon.log_lines(self.log_checked)?)?;
        if let Some(ended) = self.canaries.iter().position(|(_, canary)| canary.is_finished()) {
            self.canaries.swap_remove(ended).1.await??;
            bail!("a canary has ended");
        }
        Ok(())
    }

    fn has_canary_ended(&self) -> bool {
        self.canaries.iter().any(|(_, canary)| canary.is_finished())
    }

    /// Stops the canaries and the server, and checks the log, the exit status and the store.
    pub(super) async fn finish(mut self) -> Result<Figures> {
        let mut reports = Vec::new();
        for (signals, canary) in self.canaries.drain(..) {
            signals.stopped.store(true, Ordering::Relaxed);
            reports.push(canary.await??);
        }
        let Footprint { peak_kib, .. } = Footprint::of(self.daemon.id(), self.data.path())?;
        let binary = self.daemon.binary();
        let stored = check_store(binary, self.data.path())?;
        settled(async || {
            let ready = self.daemon.ready().await?;
            Ok((ready["rooms"].as_u64() > Some(stored + MAX_BLANK_ROOMS))
                .then(|| format!("{ready}, and {stored} have a message")))
        })
        .await
        .context("rooms are left")?;
        check_log(&self.daemon.stop()?)?;
        check_store(binary, self.data.path())?;
        for report in &reports {
            check_export(binary, self.data.path(), report)?;
        }
        Ok(Figures {
            conversations: 0,
            canary_messages: reports.iter().map(|report| report.acknowledged.len()).sum(),
            slowest_answer: reports.iter().map(|report| report.slowest).max().unwrap_or_default(),
            peak_kib,
        })
    }
}

/// A problem of a server.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) text: String,
    /// The conversation that shows it. `None` if any of those that were played may have caused it.
    pub(super) conversation: Option<Conversation>,
}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        Self { text: format!("{error:#}"), conversation: None }
    }
}

/// Waits until a check finds no problem.
async fn settled(problem: impl AsyncFn() -> Result<Option<String>>) -> Result<()> {
    let deadline = Instant::now() + RELEASE_TIMEOUT;
    loop {
        match timeout(RELEASE_TIMEOUT, problem()).await.context("no answer")?? {
            None => return Ok(()),
            Some(problem) if Instant::now() > deadline => bail!("{problem}"),
            Some(_) => sleep(Duration::from_millis(2)).await,
        }
    }
}

/// Checks that no line of a log is an error or a panic. Returns the number of lines.
fn check_log(lines: &[Value]) -> Result<usize> {
    let is_error = |line: &Value| line["level"] == "ERROR" || line.to_string().contains("panic");
    let errors: Vec<_> = lines.iter().filter(|line| is_error(line)).collect();
    ensure!(errors.is_empty(), "{errors:#?}");
    Ok(lines.len())
}

/// Checks a store. Returns the number of its rooms.
fn check_store(binary: Binary, dir: &Path) -> Result<u64> {
    let output = binary.command()?.arg("check").arg("--data").arg(dir).output()?;
    let report = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "the store is not sound: {report}");
    let rooms = report.split("; rooms ").nth(1).and_then(|rest| rest.split(',').next());
    Ok(rooms.with_context(|| format!("no rooms in {report}"))?.parse()?)
}

/// Checks that the store has the messages of a canary, and exports each message of its room as one line of JSON.
fn check_export(binary: Binary, dir: &Path, report: &CanaryReport) -> Result<()> {
    let output = binary.command()?.args(["export", &report.room, "--data"]).arg(dir).output()?;
    ensure!(output.status.success(), "the export fails: {}", String::from_utf8_lossy(&output.stderr));
    let mut missing = report.acknowledged.clone();
    for (line, seq) in String::from_utf8(output.stdout)?.lines().zip(1..) {
        let message: Value = serde_json::from_str(line).with_context(|| format!("exported: {line}"))?;
        ensure!(message["seq"] == seq, "{line} is exported at {seq}");
        if let Some(text) = missing.remove(&seq) {
            ensure!(message["body"]["text"] == text.as_str(), "{line} is not the message {text}");
        }
    }
    ensure!(missing.is_empty(), "acknowledged, but not stored: {missing:?}");
    Ok(())
}
