//! Calls to the system that fail, of those to the files of one store alone: strace sees to it. It has to be allowed to
//! trace, as root is.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat_tests::{Daemon, within};

/// All by which a store changes what is on the disk, and makes the memory that it shares with its readers.
pub(crate) const CALLS: &str =
    "pwrite64,write,ftruncate,fallocate,fsync,fdatasync,openat,mmap,mkdir,rename,unlink";

/// What a disk says that is full, and one that is broken.
pub(crate) const ERRORS: [&str; 2] = ["error=ENOSPC", "error=EIO"];

/// The files of a store, each before those whose names are part of its own.
const FILES: [&str; 10] = [
    "chat.db.new-journal",
    "chat.db.new-wal",
    "chat.db.new-shm",
    "chat.db.new",
    "chat.db-journal",
    "chat.db-wal",
    "chat.db-shm",
    "chat.db",
    "chat.mark",
    "chat.lock",
];

/// Which calls fail, and how.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// The names of the calls.
    pub(crate) calls: String,
    /// What they do in place of what they should.
    pub(crate) how: &'static str,
    /// The first of each name that does so, counted from 1.
    pub(crate) from: usize,
    /// Whether all that follow do too.
    pub(crate) lasts: bool,
}

/// One call to the system, as it was traced.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// The file that it is about; empty if that is the directory.
    pub(crate) file: &'static str,
}

/// A tracer of the one thread that writes to a server's store.
pub(crate) struct Tracer {
    strace: Child,
    // Open for as long as it may say something.
    _errors: BufReader<ChildStderr>,
    trace: PathBuf,
}

impl Fault {
    fn expression(&self) -> String {
        let Self { calls, how, from, lasts } = self;
        format!("inject={calls}:{how}:when={from}{}", if *lasts { "+" } else { "" })
    }
}

impl Tracer {
    /// Looks at the calls to a directory's files from now on, and lets some of them fail.
    pub(crate) async fn attach(daemon: &Daemon, dir: &Path, fault: Option<&Fault>) -> Result<Self> {
        let trace = dir.with_extension("trace");
        let mut strace = strace(dir, &trace, fault);
        strace.arg("-p").arg(writer(daemon).await?);
        let mut strace = strace.stderr(Stdio::piped()).spawn()?;
        let mut errors = BufReader::new(strace.stderr.take().context("no standard error")?);
        let mut line = String::new();
        errors.read_line(&mut line)?;
        ensure!(line.ends_with("attached\n"), "strace: {line}");
        Ok(Self { strace, _errors: errors, trace })
    }

    /// Lets nothing fail any more; what it has seen.
    pub(crate) fn detach(self) -> Result<String> {
        let sent = Command::new("kill").arg(self.strace.id().to_string()).status()?;
        ensure!(sent.success(), "strace is gone already");
        self.ended()
    }

    /// What it has seen, once the thread has ended.
    pub(crate) fn ended(mut self) -> Result<String> {
        self.strace.wait()?;
        Ok(fs::read_to_string(&self.trace)?)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.strace.kill().and_then(|()| self.strace.wait());
    }
}

/// A command, to which a program is to be added, that looks at the calls of its first thread to a directory's files,
/// and lets some of them fail. Signals go to the program.
pub(crate) fn strace(dir: &Path, trace: &Path, fault: Option<&Fault>) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-y", "-s", "0", "-e", &format!("trace={CALLS}"), "-o"]).arg(trace);
    strace.arg("-P").arg(dir);
    for file in FILES {
        strace.arg("-P").arg(dir.join(file));
    }
    if let Some(fault) = fault {
        strace.args(["-e", &fault.expression()]);
    }
    strace
}

/// The calls of a trace, in order.
pub(crate) fn calls(trace: &str) -> Vec<Call> {
    let call = |line: &str| {
        let (name, rest) = line.split_once('(')?;
        let file = FILES.into_iter().find(|file| rest.contains(file)).unwrap_or_default();
        Some(Call { name: name.to_owned(), file })
    };
    trace.lines().filter(|line| !line.starts_with(['-', '+'])).filter_map(call).collect()
}

/// Those of the calls that stand in a range, each as one that fails. Of many that are alike some, and by turns with either
/// error; all, and each with both, if `CHAT_FAULTS` is `all`.
pub(crate) fn one_by_one(calls: &[Call], range: Range<usize>) -> Vec<Fault> {
    let all = std::env::var("CHAT_FAULTS").is_ok_and(|which| which == "all");
    let mut alike = BTreeMap::new();
    for call in &calls[range.clone()] {
        *alike.entry(call).or_insert(0) += 1;
    }
    let (mut of_name, mut of_kind) = (BTreeMap::new(), BTreeMap::new());
    let mut faults = Vec::new();
    for (at, call) in calls.iter().enumerate() {
        let from = of_name.entry(&call.name).or_insert(0);
        *from += 1;
        if !range.contains(&at) {
            continue;
        }
        let place = of_kind.entry(call).or_insert(0);
        *place += 1;
        if all || *place <= 2 || *place == alike[call] || *place % stride(alike[call]) == 0 {
            let fault = |how| Fault { calls: call.name.clone(), how, from: *from, lasts: false };
            if all {
                faults.extend(ERRORS.map(fault));
            } else {
                faults.push(fault(ERRORS[faults.len() % ERRORS.len()]));
            }
        }
    }
    faults
}

/// Leaves a handful of so many, and not always the same part of a transaction.
fn stride(alike: usize) -> usize {
    (alike / 5).max(1) | 1
}

/// The thread of a server that writes to its store.
async fn writer(daemon: &Daemon) -> Result<String> {
    within(async {
        loop {
            for task in fs::read_dir(format!("/proc/{}/task", daemon.id()))? {
                let task = task?;
                // One that has just ended has no name.
                let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
                if name.trim_end() == "chat-sqlite" {
                    return Ok(task.file_name().to_string_lossy().into_owned());
                }
            }
            // It has yet to take its name.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await?
}
