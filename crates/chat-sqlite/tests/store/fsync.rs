//! A disk whose synchronization fails, simulated by `strace`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use tokio::runtime::Runtime;

use crate::support::process::{is_single_test, run_single_test};
use crate::support::{append, append_with_key, open_lobby, read_all, seqs};

/// Runs in a process of its own, because `strace` must find the only writer thread.
#[test]
fn a_refused_append_does_not_return_with_a_new_connection() {
    let this = "fsync::a_refused_append_does_not_return_with_a_new_connection";
    if is_single_test(this) {
        Runtime::new().expect("a runtime").block_on(refuse_and_reconnect());
    } else {
        run_single_test(this);
    }
}

/// Before the first read the writer's connection is the only one. If it closed, SQLite would forget which commits of
/// the write-ahead log have failed.
async fn refuse_and_reconnect() {
    let (_dir, store, lobby) = open_lobby();
    append(&lobby, "before").await.expect("appended");
    let mut strace = Command::new("strace");
    strace.args(["-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO", "-o", "/dev/null"]);
    let mut strace = strace.args(["-p", &writer_thread()]).stderr(Stdio::piped()).spawn().expect("strace");
    let mut errors = BufReader::new(strace.stderr.take().expect("a pipe")).lines();
    assert!(errors.next().expect("a line").expect("a line").ends_with("attached"));
    for _ in 0..3 {
        // A known key would acknowledge a message that is not on the disk.
        assert!(append_with_key(&lobby, "k", "refused").await.is_err());
    }
    assert!(store.stats().failing_since.is_some());
    Command::new("kill").arg(strace.id().to_string()).status().expect("detached");
    strace.wait().expect("ended");
    // A refused message that returned would have this seq.
    assert_eq!(append(&lobby, "after").await.map(|receipt| receipt.seq), Ok(2));
    assert_eq!(store.stats().failing_since, None);
    assert_eq!(seqs(&read_all(&lobby).await), [1, 2]);
    assert!(store.close_blocking());
}

/// Returns the id of this process's only writer thread.
fn writer_thread() -> String {
    let tasks = fs::read_dir("/proc/self/task").expect("a directory").map(|task| task.expect("an entry"));
    let mut writers = tasks.filter(|task| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim_end() == "chat-sqlite")
    });
    writers.next().expect("a thread").file_name().into_string().expect("a number")
}
