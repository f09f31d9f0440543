//! The reads of the database by one thread of this process, traced with strace. Tracing needs root.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

/// A tracer of a thread, which lets some of its reads fail.
pub(crate) struct TracedReads {
    strace: Child,
    // This must stay open while strace runs.
    _errors: BufReader<ChildStderr>,
    trace: PathBuf,
}

impl TracedReads {
    /// Traces the reads of a file. `failing` has the numbers of those that fail, counted from 1: `3` or `3+`.
    pub(crate) fn attach(thread: &str, file: &Path, failing: Option<&str>) -> Self {
        let trace = file.parent().expect("a directory").with_extension("trace");
        let mut strace = Command::new("strace");
        strace.args(["-s", "0", "-e", "trace=pread64", "-o"]).arg(&trace).arg("-P").arg(file);
        if let Some(failing) = failing {
            strace.args(["-e", &format!("inject=pread64:error=EIO:when={failing}")]);
        }
        let mut strace = strace.args(["-p", thread]).stderr(Stdio::piped()).spawn().expect("strace");
        let mut errors = BufReader::new(strace.stderr.take().expect("a pipe"));
        let mut line = String::new();
        errors.read_line(&mut line).expect("a line");
        assert!(line.ends_with("attached\n"), "strace (tracing needs root): {line}");
        Self { strace, _errors: errors, trace }
    }

    /// Ends the trace and the failures. Returns the offsets of the reads, in order.
    pub(crate) fn detach(mut self) -> Vec<u64> {
        let ended = Command::new("kill").arg(self.strace.id().to_string()).status();
        assert!(ended.is_ok_and(|status| status.success()), "strace has exited already");
        self.strace.wait().expect("ended");
        let trace = fs::read_to_string(&self.trace).expect("a trace");
        let offset = |call: &str| call.split_once(')')?.0.rsplit_once(", ")?.1.parse().ok();
        trace.lines().filter_map(offset).collect()
    }
}

impl Drop for TracedReads {
    fn drop(&mut self) {
        // It may have exited already.
        let _exited = self.strace.kill().and_then(|()| self.strace.wait());
    }
}

/// Returns the id of the present thread.
pub(crate) fn this_thread() -> String {
    let path = fs::read_link("/proc/thread-self").expect("a link");
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

/// Returns the id of the thread of this process that has this name.
pub(crate) fn thread_named(name: &str) -> String {
    let tasks = fs::read_dir("/proc/self/task").expect("a directory");
    let mut ids = tasks.map(|task| task.expect("a task").file_name().to_string_lossy().into_owned());
    let is_named = |id: &String| {
        let found = fs::read_to_string(format!("/proc/self/task/{id}/comm"));
        found.is_ok_and(|found| found.trim_end() == name)
    };
    ids.find(is_named).expect("a thread of this name")
}
