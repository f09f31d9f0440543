use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Command;

use chat_sqlite::Durability;

use super::{REPORTS_PUBLISHED, reports, spawn};
use crate::support::StoreDir;

/// Lets two consecutive synchronizations of a process fail, later ones in each round. The process must store and
/// publish the same messages.
#[test]
fn stored_messages_are_published_although_fsync_calls_fail() {
    let mut refused = 0;
    for first in 1..=12 {
        let dir = StoreDir::new();
        dir.open().close_blocking();
        let mut strace = Command::new("strace");
        strace.args(["-f", "-o", "/dev/null", "-e"]).env(REPORTS_PUBLISHED, "");
        strace.arg(format!("inject=fdatasync,fsync:error=EIO:when={first}..{}", first + 1));
        let lines = reports(spawn(Some(strace), &dir.path(), 1, Durability::Disk), usize::MAX);
        let with_prefix = |prefix: &str| -> Vec<_> {
            lines.iter().filter_map(|line| line.strip_prefix(prefix)).map(str::to_owned).collect()
        };
        assert_eq!(with_prefix("published "), with_prefix("stored "), "after call {first}");
        refused += with_prefix("refused").len();
    }
    assert!(refused > 5, "only {refused} appends were refused");
}

#[test]
fn no_message_is_acknowledged_before_fsync_with_durability_disk() {
    trace_appends(Durability::Disk);
}

#[test]
fn appends_do_not_wait_for_fsync_with_durability_process() {
    trace_appends(Durability::Process);
}

/// Checks the order of a process's system calls: the message is written to the write-ahead log, the log is
/// synchronized, and then the message is acknowledged.
fn trace_appends(durability: Durability) {
    let dir = StoreDir::new();
    dir.open().close_blocking();
    let trace = dir.file("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-s", "200", "-e", "trace=write,pwrite64,fsync,fdatasync", "-o"]).arg(&trace);
    let mut child = spawn(Some(strace), &dir.path(), 1, durability);
    let pipe = child.stderr.take().expect("a pipe");
    let sent = BufReader::new(pipe).lines().map_while(Result::ok).filter(|line| line.starts_with("sent"));
    assert_eq!(sent.take(30).count(), 30);
    // The child ends because its pipe is closed now.
    child.wait().expect("ended");
    let trace = fs::read_to_string(trace).expect("a trace");
    let (mut written, mut synced, mut syncs, mut acknowledged) = (None, None, 0, 0);
    for (at, call) in completed_calls(&trace).into_iter().enumerate() {
        if call.contains("chat.db-wal>") && call.contains("write") {
            written = Some(at);
        } else if call.contains("chat.db-wal>") && call.contains("sync(") && call.ends_with("= 0") {
            synced = Some(at);
            syncs += 1;
        } else if call.contains("\"sent ") {
            assert!(written.is_some(), "{call}");
            assert!(durability == Durability::Process || synced > written, "{call} precedes its fsync");
            (written, synced) = (None, None);
            acknowledged += 1;
        }
        if acknowledged == 30 {
            break;
        }
    }
    // The header of the write-ahead log is synchronized with each durability.
    assert!(acknowledged == 30 && (durability == Durability::Disk) == (syncs > 2), "{acknowledged} {syncs}");
}

/// Returns the calls in the order of their completion, each on one line.
fn completed_calls(trace: &str) -> Vec<String> {
    let mut unfinished = BTreeMap::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let (thread, call) = line.split_once(' ').unwrap_or((line, ""));
        let call = call.trim();
        if let Some(start) = call.strip_suffix(" <unfinished ...>") {
            unfinished.insert(thread.to_owned(), start.to_owned());
        } else if let Some((_, rest)) = call.split_once(" resumed>") {
            calls.push(unfinished.remove(thread).unwrap_or_default() + rest);
        } else {
            calls.push(call.to_owned());
        }
    }
    calls
}
