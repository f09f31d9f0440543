//! Injects failures into the system calls on the files of one store, with strace. Tracing needs root.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat_tests::{Daemon, within};

/// The system calls with which a store changes its files, and maps the memory that it shares with its readers.
pub(crate) const CALLS: &str =
    "pwrite64,write,ftruncate,fallocate,fsync,fdatasync,openat,mmap,mkdir,rename,unlink";

/// The errors of a full disk and of a broken one.
pub(crate) const ERRORS: [&str; 2] = ["error=ENOSPC", "error=EIO"];

/// The files of a store. A name precedes the names that it contains.
const FILES: [&str; 16] = [
    "chat.db.new-journal",
    "chat.db.new-wal",
    "chat.db.new-shm",
    "chat.db.new",
    "chat.db-journal",
    "chat.db-wal",
    "chat.db-shm",
    "chat.db",
    "chat.search-wal",
    "chat.search-shm",
    "chat.search",
    "chat.erasures-wal",
    "chat.erasures-shm",
    "chat.erasures",
    "chat.mark",
    "chat.lock",
];

/// A failure of system calls.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// The names of the calls, separated by commas.
    pub(crate) calls: String,
    /// The injected behaviour, in the syntax of strace.
    pub(crate) behaviour: &'static str,
    /// The first affected call of each name, counted from 1.
    pub(crate) from: usize,
    /// True if all later calls of the name are affected too.
    pub(crate) persists: bool,
}

/// A traced system call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// The file that it accesses, or an empty string for the directory.
    pub(crate) file: &'static str,
}

/// A tracer of the thread that writes the store of a server.
pub(crate) struct Tracer {
    strace: Child,
    // This must stay open while strace runs.
    _errors: BufReader<ChildStderr>,
    trace: PathBuf,
}

impl Fault {
    fn expression(&self) -> String {
        let Self { calls, behaviour, from, persists } = self;
        format!("inject={calls}:{behaviour}:when={from}{}", if *persists { "+" } else { "" })
    }
}

impl Tracer {
    /// Starts to trace the calls on the files of a directory, with a fault or without.
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

    /// Stops the tracer and the fault. Returns the trace.
    pub(crate) fn detach(self) -> Result<String> {
        let sent = Command::new("kill").arg(self.strace.id().to_string()).status()?;
        ensure!(sent.success(), "strace has exited already");
        self.wait()
    }

    /// Waits until the thread exits. Returns the trace.
    pub(crate) fn wait(mut self) -> Result<String> {
        self.strace.wait()?;
        Ok(fs::read_to_string(&self.trace)?)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // The tracer may have exited already.
        let _exited = self.strace.kill().and_then(|()| self.strace.wait());
    }
}

/// Returns a command that traces the first thread of a program, with a fault or without. The caller adds the program.
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

/// Returns the calls of a trace, in order.
pub(crate) fn calls(trace: &str) -> Vec<Call> {
    let call = |line: &str| {
        let (name, rest) = line.split_once('(')?;
        let file = FILES.into_iter().find(|file| rest.contains(file)).unwrap_or_default();
        Some(Call { name: name.to_owned(), file })
    };
    trace.lines().filter(|line| !line.starts_with(['-', '+'])).filter_map(call).collect()
}

/// Returns one fault for each call in a range. Of many equal calls it selects some, and the errors alternate. If the
/// environment variable `CHAT_FAULTS` is `all`, it returns every call with each error.
pub(crate) fn single_faults(calls: &[Call], range: Range<usize>) -> Vec<Fault> {
    let all = std::env::var("CHAT_FAULTS").is_ok_and(|which| which == "all");
    let mut equal = BTreeMap::new();
    for call in &calls[range.clone()] {
        *equal.entry(call).or_insert(0) += 1;
    }
    let (mut of_name, mut of_kind) = (BTreeMap::new(), BTreeMap::new());
    let mut faults = Vec::new();
    for (at, call) in calls.iter().enumerate() {
        let from = of_name.entry(&call.name).or_insert(0);
        *from += 1;
        if !range.contains(&at) {
            continue;
        }
        let occurrence = of_kind.entry(call).or_insert(0);
        *occurrence += 1;
        if all || *occurrence <= 2 || *occurrence == equal[call] || *occurrence % stride(equal[call]) == 0 {
            let fault =
                |behaviour| Fault { calls: call.name.clone(), behaviour, from: *from, persists: false };
            if all {
                faults.extend(ERRORS.map(fault));
            } else {
                faults.push(fault(ERRORS[faults.len() % ERRORS.len()]));
            }
        }
    }
    faults
}

/// Returns a stride that selects about five of the equal calls. It is odd, so that it hits different parts of a
/// transaction.
fn stride(equal: usize) -> usize {
    (equal / 5).max(1) | 1
}

/// Returns the id of the thread that writes the store of a server.
async fn writer(daemon: &Daemon) -> Result<String> {
    within(async {
        loop {
            for task in fs::read_dir(format!("/proc/{}/task", daemon.id()))? {
                let task = task?;
                // A thread that has just exited has no name.
                let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
                if name.trim_end() == "chat-sqlite" {
                    return Ok(task.file_name().to_string_lossy().into_owned());
                }
            }
            // The thread sets its name only after its start.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await?
}
