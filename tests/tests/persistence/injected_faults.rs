//! Every system call with which a store changes its files fails once.
//!
//! One binary is enough, because all binaries share the store. `full_disk.rs` checks the replies of each adapter.
//! `CHAT_FAULTS=all` injects a fault into every call, instead of a selection of equal calls.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use anyhow::{Context, Result, bail, ensure};
use chat_tests::{BINARIES, Binary, Daemon, StartFailure, eventually, lifted};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use tempfile::TempDir;

use crate::crashes::opened;
use crate::injection::{CALLS, Call, ERRORS, Fault, Tracer, calls, single_faults, strace};
use crate::restored_backup::copy_into;
use crate::witness::{Conversation, SentMessages};
use crate::write_order::complete_trace;

const BINARY: Binary = BINARIES[0];

/// The number of messages that are sent during a fault.
const MESSAGES: usize = 8;

const SHORT: Course = Course { durability: "disk", before: 0, during: MESSAGES };

/// The number of messages before and after the one that triggers a checkpoint of the write-ahead log. The trigger
/// varies a little, because indexing runs in the background.
const MARGIN: usize = 8;

/// The number of servers that run at the same time.
const SERVERS: usize = 4;

/// The course of a conversation.
#[derive(Clone, Copy, Debug)]
struct Course {
    durability: &'static str,
    /// The number of messages before the fault.
    before: usize,
    /// The number of messages during the fault.
    during: usize,
}

/// The end of a persistent fault.
#[derive(Clone, Copy, Debug)]
enum FaultEnd {
    /// The calls succeed again.
    Healed,
    /// The server is stopped.
    Stopped,
    /// The server is killed.
    Killed,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn any_failing_call_while_serving_and_closing_loses_no_message() -> Result<()> {
    let calls = calls(&serve(None, SHORT).await?);
    for_each_fault(single_faults(&calls, 0..calls.len()), |fault| serve(Some(fault), SHORT)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn any_failing_call_during_a_checkpoint_loses_no_message() -> Result<()> {
    let is_write = |call: &Call, file| call.name == "pwrite64" && call.file == file;
    for durability in ["disk", "process"] {
        let before = messages_before_checkpoint(durability).await?.saturating_sub(MARGIN);
        let course = Course { durability, before, during: 2 * MARGIN };
        let calls = calls(&serve(None, course).await?);
        let first = calls.iter().position(|call| is_write(call, "chat.db")).context("no checkpoint")?;
        let next = calls[first..].iter().position(|call| is_write(call, "chat.db-wal"));
        let next = first + next.context("the checkpoint is at the end")?;
        // The range includes the synchronization of the log and its new start.
        for_each_fault(single_faults(&calls, first - 2..next + 3), move |fault| serve(Some(fault), course))
            .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_persistent_failure_refuses_sends_until_it_ends() -> Result<()> {
    let names: BTreeSet<_> = calls(&serve(None, SHORT).await?).into_iter().map(|call| call.name).collect();
    let faults = names.into_iter().chain([CALLS.to_owned()]).flat_map(|calls| {
        let fault = |(behaviour, from)| Fault { calls: calls.clone(), behaviour, from, persists: true };
        [(ERRORS[0], 1), (ERRORS[1], 1), (ERRORS[1], 3)].map(fault)
    });
    let faults: Vec<_> = faults.collect();
    for end in [FaultEnd::Healed, FaultEnd::Stopped, FaultEnd::Killed] {
        for_each_fault(faults.clone(), |fault| serve_with_persistent_fault(fault, end)).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn any_failing_call_during_creation_loses_no_message() -> Result<()> {
    let calls = calls(&create(None).await?);
    for_each_fault(single_faults(&calls, 0..calls.len()), |fault| create(Some(fault))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn any_failing_call_while_opening_after_a_crash_loses_no_message() -> Result<()> {
    let calls = calls(&reopen(None).await?);
    for_each_fault(single_faults(&calls, 0..calls.len()), |fault| reopen(Some(fault))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn any_failing_call_at_a_new_epoch_loses_no_message() -> Result<()> {
    let calls = calls(&open_copy(None).await?);
    for_each_fault(single_faults(&calls, 0..calls.len()), |fault| open_copy(Some(fault))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn retention_continues_after_a_failure_ends() -> Result<()> {
    let Serving { home: _home, dir, daemon, mut conversation } = Serving::start(&["--retain", "5s"]).await?;
    let fault = Fault { calls: "pwrite64".to_owned(), behaviour: ERRORS[1], from: 1, persists: true };
    ensure!(conversation.send("short-lived").await?);
    let tracer = Tracer::attach(&daemon, &dir, Some(&fault)).await?;
    wait_for_state(&daemon, "failing").await?;
    tracer.detach()?;
    // No further message is sent: the server notices the recovery by itself.
    wait_for_state(&daemon, "ok").await?;
    let (_, Stopped { status, .. }) = stop(daemon, conversation).await?;
    ensure!(status.success(), "{status}");
    Ok(())
}

/// A server with a new store, and a conversation on it.
struct Serving {
    home: TempDir,
    dir: PathBuf,
    daemon: Daemon,
    conversation: Conversation,
}

impl Serving {
    async fn start(arguments: &[&str]) -> Result<Self> {
        let home = TempDir::new()?;
        let dir = home.path().join("store");
        let arguments = [arguments, &lifted()].concat();
        let daemon = Daemon::start_in(&dir, BINARY, &arguments)?;
        let conversation = Conversation::begin(&daemon, SentMessages::default()).await?;
        Ok(Self { home, dir, daemon, conversation })
    }
}

/// Runs a function for each fault, a few at a time.
async fn for_each_fault<F, T>(faults: Vec<Fault>, run: impl Fn(Fault) -> F) -> Result<()>
where
    F: Future<Output = Result<T>> + Send + 'static,
    T: Send + 'static,
{
    ensure!(!faults.is_empty(), "no faults");
    let runs = faults.into_iter().map(|fault| {
        let what = format!("{fault:?}");
        let run = tokio::spawn(run(fault));
        async move { run.await?.map(drop).context(what) }
    });
    stream::iter(runs).buffer_unordered(SERVERS).try_collect().await
}

/// Runs a conversation in which one call fails, and checks the store. Returns the trace.
async fn serve(fault: Option<Fault>, course: Course) -> Result<String> {
    let Course { durability, before, during } = course;
    let Serving { home: _home, dir, daemon, mut conversation } =
        Serving::start(&["--durability", durability]).await?;
    for number in 0..before {
        ensure!(conversation.send(&format!("message-{number}")).await?);
    }
    let tracer = Tracer::attach(&daemon, &dir, fault.as_ref()).await?;
    for number in before..before + during {
        let key = format!("message-{number}");
        if !conversation.send(&key).await? {
            // If the witness had received the refused message, it would be at this position.
            ensure!(conversation.send("another").await?);
            conversation.retry_refused().await?;
        }
        conversation.read_page().await?;
        wait_for_state(&daemon, "ok").await?;
    }
    let (sent, stopped) = stop(daemon, conversation).await?;
    let trace = tracer.wait()?;
    ensure!(trace.contains("(INJECTED)") == fault.is_some());
    verify(&dir, sent, stopped).await?;
    Ok(trace)
}

/// Returns the number of messages that trigger a checkpoint.
async fn messages_before_checkpoint(durability: &str) -> Result<usize> {
    let Serving { home: _home, dir, daemon, mut conversation } =
        Serving::start(&["--durability", durability]).await?;
    let written = || fs::metadata(dir.join("chat.db"))?.modified();
    let before = written()?;
    let mut sent = 0;
    while written()? == before {
        ensure!(conversation.send(&format!("message-{sent}")).await?);
        conversation.read_page().await?;
        sent += 1;
    }
    stop(daemon, conversation).await?;
    Ok(sent)
}

/// Runs a conversation with a persistent fault that ends in a certain way, and checks the store.
async fn serve_with_persistent_fault(fault: Fault, end: FaultEnd) -> Result<()> {
    let Serving { home: _home, dir, daemon, mut conversation } = Serving::start(&[]).await?;
    let tracer = Tracer::attach(&daemon, &dir, Some(&fault)).await?;
    for number in 0..MESSAGES {
        if !conversation.send(&format!("message-{number}")).await? {
            wait_for_state(&daemon, "failing").await?;
        }
        ensure!(daemon.ready().await?["ready"] == true, "the store can still be read");
        conversation.read_page().await?;
    }
    match end {
        FaultEnd::Healed => {
            tracer.detach()?;
            ensure!(conversation.send("another").await?);
            conversation.retry_refused().await?;
            ensure!(daemon.ready().await?["store"]["state"] == "ok");
        }
        FaultEnd::Stopped => {}
        FaultEnd::Killed => {
            let sent = conversation.finish().await?;
            daemon.crash()?;
            return check_store(&dir, sent).await.map(drop);
        }
    }
    let (sent, stopped) = stop(daemon, conversation).await?;
    verify(&dir, sent, stopped).await
}

/// Creates a store while one call fails. Returns the trace.
async fn create(fault: Option<Fault>) -> Result<String> {
    let home = TempDir::new()?;
    let dir = home.path().join("store");
    open(&dir, fault.as_ref(), SentMessages::default()).await
}

/// Opens a store after a crash while one call fails. Returns the trace.
async fn reopen(fault: Option<Fault>) -> Result<String> {
    let Serving { home: _home, dir, daemon, mut conversation } = Serving::start(&[]).await?;
    for number in 0..MESSAGES {
        ensure!(conversation.send(&format!("message-{number}")).await?);
    }
    let sent = conversation.finish().await?;
    daemon.crash()?;
    open(&dir, fault.as_ref(), sent).await
}

/// Opens a copy of a store while one call fails. Returns the trace.
async fn open_copy(fault: Option<Fault>) -> Result<String> {
    let Serving { home, dir: original, daemon, mut conversation } = Serving::start(&[]).await?;
    let dir = home.path().join("copy");
    ensure!(conversation.send("sent").await?);
    let (sent, _) = stop(daemon, conversation).await?;
    copy_into(&dir, &original, &["chat.db", "chat.mark"])?;
    open(&dir, fault.as_ref(), sent.expect_new_epoch()).await
}

/// Opens a store while one call fails. The server must serve, or exit with one line. Returns the trace.
async fn open(dir: &Path, fault: Option<&Fault>, sent: SentMessages) -> Result<String> {
    let path = dir.with_extension("trace");
    let mut command = strace(dir, &path, fault);
    command.arg("-D").arg(BINARY.command()?.get_program()).arg("--data").arg(dir);
    let sent = match Daemon::attempt(command, BINARY, &[])? {
        Ok(daemon) => {
            let mut conversation = Conversation::begin(&daemon, sent).await?;
            ensure!(conversation.send("first").await?);
            let sent = conversation.finish().await?;
            daemon.stop()?;
            sent
        }
        Err(StartFailure { status, log }) => {
            ensure!(status.code() == Some(2), "{status}: {log}");
            // The log may already contain the start of a new epoch.
            let lines: Vec<_> = log.lines().filter(|line| !line.starts_with('{')).collect();
            ensure!(matches!(lines[..], [line] if line.starts_with("error: ")), "{log}");
            sent
        }
    };
    let trace = complete_trace(&path).await?;
    ensure!(trace.contains("(INJECTED)") == fault.is_some());
    check_store(dir, sent).await?;
    Ok(trace)
}

/// Waits until `/readyz` reports this state of the store.
async fn wait_for_state(daemon: &Daemon, state: &str) -> Result<()> {
    eventually(|| async { Ok(daemon.ready().await?["store"]["state"] == state) }).await
}

/// A stopped server.
struct Stopped {
    status: ExitStatus,
    log: Vec<Value>,
}

async fn stop(daemon: Daemon, conversation: Conversation) -> Result<(SentMessages, Stopped)> {
    let sent = conversation.finish().await?;
    ensure!(sent.duplicates == 0, "a refused message was stored");
    daemon.signal("TERM")?;
    let (status, log) = daemon.wait()?;
    Ok((sent, Stopped { status, log }))
}

/// Checks the exit of a server and its store. The server exits with 1 and a last line about the store if that could not
/// be closed in order.
async fn verify(dir: &Path, sent: SentMessages, Stopped { status, log }: Stopped) -> Result<()> {
    let found = check_store(dir, sent).await?;
    match status.code() {
        Some(0) => ensure!(found == "closed cleanly", "{found}: {log:#?}"),
        Some(1) => {
            let last = log.last().context("an empty log")?;
            let wanted = "store not closed cleanly; the next start repairs it";
            ensure!(last["message"] == wanted && last["cause"].is_string(), "{found}: {log:#?}");
        }
        _ => bail!("{status}: {log:#?}"),
    }
    Ok(())
}

/// Checks the store of a stopped server, without faults. Returns the state in which the store was found.
async fn check_store(dir: &Path, sent: SentMessages) -> Result<String> {
    let daemon = Daemon::start_in(dir, BINARY, &[])?;
    sent.verify(&daemon).await?;
    let log = daemon.stop()?;
    BINARY.check_store(dir)?;
    Ok(opened(&log).to_owned())
}
