//! Every call by which a store changes what is on the disk fails once, one after the other.
//!
//! One binary is enough: the calls are those of the store and of the code around it, which all binaries share. What an
//! adapter makes of a refusal, `full.rs` looks at for each. `CHAT_FAULTS=all` leaves out none of the calls that are alike.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use chat_tests::{BINARIES, Binary, Daemon, Refusal, within};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use tempfile::TempDir;

use crate::conversation::{opened, text};
use crate::faulty::{CALLS, Call, ERRORS, Fault, Tracer, calls, one_by_one, strace};
use crate::order::whole;
use crate::restored::copy_into;
use crate::talk::{Said, Talk};

const BINARY: Binary = BINARIES[0];

/// What is said while something fails.
const SAID: usize = 8;

const SHORT: Course = Course { durability: "disk", before: 0, after: SAID };

/// What is said before and after the message with which the write-ahead log is brought into the database: which one that
/// is, depends a little on when messages are indexed.
const AROUND: usize = 8;

/// Servers at once.
const AT_ONCE: usize = 4;

/// How a conversation goes.
#[derive(Clone, Copy, Debug)]
struct Course {
    durability: &'static str,
    /// What is said before anything fails.
    before: usize,
    /// What is said then.
    after: usize,
}

/// How it ends that calls fail.
#[derive(Clone, Copy, Debug)]
enum End {
    /// They no longer do.
    Healed,
    /// The server is told to stop.
    Stopped,
    /// It is killed.
    Killed,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn any_call_may_fail_while_a_store_serves_and_when_it_ends() -> Result<()> {
    let calls = calls(&serve(None, SHORT).await?);
    each(one_by_one(&calls, 0..calls.len()), |fault| serve(Some(fault), SHORT)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn any_call_may_fail_while_the_log_is_brought_into_the_database() -> Result<()> {
    let is_write = |call: &Call, file| call.name == "pwrite64" && call.file == file;
    for durability in ["disk", "process"] {
        let before = moving(durability).await?.saturating_sub(AROUND);
        let course = Course { durability, before, after: 2 * AROUND };
        let calls = calls(&serve(None, course).await?);
        let first = calls.iter().position(|call| is_write(call, "chat.db")).context("it is not")?;
        let next = calls[first..].iter().position(|call| is_write(call, "chat.db-wal"));
        let next = first + next.context("it is, at the end")?;
        // The log's own synchronization is part of it, and so is its new beginning.
        each(one_by_one(&calls, first - 2..next + 3), move |fault| serve(Some(fault), course)).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn what_fails_on_and_on_is_refused_until_it_no_longer_does() -> Result<()> {
    let names: BTreeSet<_> = calls(&serve(None, SHORT).await?).into_iter().map(|call| call.name).collect();
    let faults = names.into_iter().chain([CALLS.to_owned()]).flat_map(|calls| {
        let fault = |(how, from)| Fault { calls: calls.clone(), how, from, lasts: true };
        [(ERRORS[0], 1), (ERRORS[1], 1), (ERRORS[1], 3)].map(fault)
    });
    let faults: Vec<_> = faults.collect();
    for end in [End::Healed, End::Stopped, End::Killed] {
        each(faults.clone(), |fault| suffer(fault, end)).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn any_call_may_fail_while_a_store_is_made() -> Result<()> {
    let calls = calls(&make(None).await?);
    each(one_by_one(&calls, 0..calls.len()), |fault| make(Some(fault))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn any_call_may_fail_while_a_store_is_opened_after_a_crash() -> Result<()> {
    let calls = calls(&reopen(None).await?);
    each(one_by_one(&calls, 0..calls.len()), |fault| reopen(Some(fault))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn any_call_may_fail_while_a_new_epoch_begins() -> Result<()> {
    let calls = calls(&begin_anew(None).await?);
    each(one_by_one(&calls, 0..calls.len()), |fault| begin_anew(Some(fault))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn what_is_old_is_forgotten_once_that_no_longer_fails() -> Result<()> {
    let home = TempDir::new()?;
    let dir = home.path().join("store");
    let daemon = Daemon::start(BINARY, &["--data", text(&dir)?, "--retain", "5s"])?;
    let mut talk = Talk::begin(&daemon, Said::default()).await?;
    let fault = Fault { calls: "pwrite64".to_owned(), how: ERRORS[1], from: 1, lasts: true };
    ensure!(talk.say("soon gone").await?);
    let tracer = Tracer::attach(&daemon, &dir, Some(&fault)).await?;
    state(&daemon, "failing").await?;
    tracer.detach()?;
    // Nobody says anything that would tell.
    state(&daemon, "ok").await?;
    let (_, (status, _)) = stop(daemon, talk).await?;
    ensure!(status.success(), "{status}");
    Ok(())
}

/// Runs with one fault after the other, a few at a time.
async fn each<F, T>(faults: Vec<Fault>, run: impl Fn(Fault) -> F) -> Result<()>
where
    F: Future<Output = Result<T>> + Send + 'static,
    T: Send + 'static,
{
    ensure!(!faults.is_empty(), "nothing to fail");
    let runs = faults.into_iter().map(|fault| {
        let what = format!("{fault:?}");
        let run = tokio::spawn(run(fault));
        async move { run.await?.map(drop).context(what) }
    });
    stream::iter(runs).buffer_unordered(AT_ONCE).try_collect().await
}

/// A conversation in which one call fails, and a look at what is left of it; the trace.
async fn serve(fault: Option<Fault>, course: Course) -> Result<String> {
    let Course { durability, before, after } = course;
    let home = TempDir::new()?;
    let dir = home.path().join("store");
    let daemon = Daemon::start(BINARY, &["--data", text(&dir)?, "--durability", durability])?;
    let mut talk = Talk::begin(&daemon, Said::default()).await?;
    for number in 0..before {
        ensure!(talk.say(&format!("said-{number}")).await?);
    }
    let tracer = Tracer::attach(&daemon, &dir, fault.as_ref()).await?;
    for number in before..before + after {
        let key = format!("said-{number}");
        if !talk.say(&key).await? {
            // Had the witness seen it, then in the place of this.
            ensure!(talk.say("instead").await?);
            talk.say_again().await?;
        }
        talk.read().await?;
        state(&daemon, "ok").await?;
    }
    let (said, ended) = stop(daemon, talk).await?;
    let trace = tracer.ended()?;
    ensure!(trace.contains("(INJECTED)") == fault.is_some());
    verify(&dir, said, ended).await?;
    Ok(trace)
}

/// How many messages are said until something is brought into the database.
async fn moving(durability: &str) -> Result<usize> {
    let home = TempDir::new()?;
    let dir = home.path().join("store");
    let daemon = Daemon::start(BINARY, &["--data", text(&dir)?, "--durability", durability])?;
    let mut talk = Talk::begin(&daemon, Said::default()).await?;
    let written = || fs::metadata(dir.join("chat.db"))?.modified();
    let before = written()?;
    let mut said = 0;
    while written()? == before {
        ensure!(talk.say(&format!("said-{said}")).await?);
        talk.read().await?;
        said += 1;
    }
    stop(daemon, talk).await?;
    Ok(said)
}

/// A conversation in which calls fail from one on, until it ends like this.
async fn suffer(fault: Fault, end: End) -> Result<()> {
    let home = TempDir::new()?;
    let dir = home.path().join("store");
    let daemon = Daemon::start(BINARY, &["--data", text(&dir)?])?;
    let mut talk = Talk::begin(&daemon, Said::default()).await?;
    let tracer = Tracer::attach(&daemon, &dir, Some(&fault)).await?;
    for number in 0..SAID {
        if !talk.say(&format!("said-{number}")).await? {
            state(&daemon, "failing").await?;
        }
        ensure!(daemon.ready().await?["ready"] == true, "it still reads");
        talk.read().await?;
    }
    match end {
        End::Healed => {
            tracer.detach()?;
            ensure!(talk.say("instead").await?);
            talk.say_again().await?;
            ensure!(daemon.ready().await?["store"]["state"] == "ok");
            let (said, ended) = stop(daemon, talk).await?;
            verify(&dir, said, ended).await
        }
        End::Stopped => {
            let (said, ended) = stop(daemon, talk).await?;
            verify(&dir, said, ended).await
        }
        End::Killed => {
            let said = talk.end().await?;
            daemon.crash()?;
            look(&dir, said).await.map(drop)
        }
    }
}

/// A store that is made, where one call fails.
async fn make(fault: Option<Fault>) -> Result<String> {
    let home = TempDir::new()?;
    let dir = home.path().join("store");
    begin(&dir, fault.as_ref(), Said::default()).await
}

/// A store that was left as a crash leaves it, and is opened, where one call fails.
async fn reopen(fault: Option<Fault>) -> Result<String> {
    let home = TempDir::new()?;
    let dir = home.path().join("store");
    let daemon = Daemon::start(BINARY, &["--data", text(&dir)?])?;
    let mut talk = Talk::begin(&daemon, Said::default()).await?;
    for number in 0..SAID {
        ensure!(talk.say(&format!("said-{number}")).await?);
    }
    let said = talk.end().await?;
    daemon.crash()?;
    begin(&dir, fault.as_ref(), said).await
}

/// A copy of a store, which is opened, where one call fails.
async fn begin_anew(fault: Option<Fault>) -> Result<String> {
    let home = TempDir::new()?;
    let (original, dir) = (home.path().join("original"), home.path().join("store"));
    let daemon = Daemon::start(BINARY, &["--data", text(&original)?])?;
    let mut talk = Talk::begin(&daemon, Said::default()).await?;
    ensure!(talk.say("said").await?);
    let (said, _) = stop(daemon, talk).await?;
    copy_into(&dir, &original, &["chat.db", "chat.mark"])?;
    begin(&dir, fault.as_ref(), said.in_another_epoch()).await
}

/// Opens a store, where one call fails: it serves all the same, or says in one line why it does not.
async fn begin(dir: &Path, fault: Option<&Fault>, said: Said) -> Result<String> {
    let path = dir.with_extension("trace");
    let mut command = strace(dir, &path, fault);
    command.arg("-D").arg(BINARY.command()?.get_program());
    let said = match Daemon::attempt(command, BINARY, &["--data", text(dir)?])? {
        Ok(daemon) => {
            let mut talk = Talk::begin(&daemon, said).await?;
            ensure!(talk.say("begun").await?);
            let said = talk.end().await?;
            daemon.stop()?;
            said
        }
        Err(Refusal { status, log }) => {
            ensure!(status.code() == Some(2), "{status}: {log}");
            // It may have said before that it begins a new epoch.
            let lines: Vec<_> = log.lines().filter(|line| !line.starts_with('{')).collect();
            ensure!(matches!(lines[..], [line] if line.starts_with("error: ")), "{log}");
            said
        }
    };
    let trace = whole(&path).await?;
    ensure!(trace.contains("(INJECTED)") == fault.is_some());
    look(dir, said).await?;
    Ok(trace)
}

/// Waits until a server says this of its store.
async fn state(daemon: &Daemon, state: &str) -> Result<()> {
    within(async {
        while daemon.ready().await?["store"]["state"] != state {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    })
    .await?
}

/// How a server has ended, and its log.
type Ended = (ExitStatus, Vec<Value>);

async fn stop(daemon: Daemon, talk: Talk) -> Result<(Said, Ended)> {
    let said = talk.end().await?;
    ensure!(said.known == 0, "what was refused was there all the same");
    daemon.signal("TERM")?;
    Ok((said, daemon.wait()?))
}

/// Looks at how a server has ended, which is to be with 1 and a line about it if its store is not in order, and at what it
/// has left.
async fn verify(dir: &Path, said: Said, (status, log): Ended) -> Result<()> {
    let cannot = [
        "store not closed cleanly; the next start repairs it",
        "commit mark not written; a later loss of messages may stay unnoticed",
    ];
    let found = look(dir, said).await?;
    match status.code() {
        Some(0) => ensure!(found == "as it was closed", "{found}: {log:#?}"),
        Some(1) => {
            let last = log.last().and_then(|line| line["message"].as_str()).unwrap_or_default();
            ensure!(cannot.contains(&last), "{found}: {log:#?}");
        }
        _ => bail!("{status}: {log:#?}"),
    }
    Ok(())
}

/// Looks, with nothing that fails, at what a server has left; how that was found.
async fn look(dir: &Path, said: Said) -> Result<String> {
    let daemon = Daemon::start(BINARY, &["--data", text(dir)?])?;
    said.verify(&daemon).await?;
    let log = daemon.stop()?;
    let check = BINARY.run(&["check", "--data", text(dir)?])?;
    ensure!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    Ok(opened(&log).to_owned())
}
