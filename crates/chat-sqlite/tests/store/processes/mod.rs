//! Processes that are killed, or run under `strace`. The child process is this program with one test.

mod crashes;
mod purges;
mod traces;

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{self, Child, Command, Stdio};
use std::sync::Arc;

use chat_core::{Commit, CommitSink};
use chat_sqlite::{Durability, Options, SqliteStore};
use tokio::runtime::Runtime;

use crate::support::process::{is_single_test, single_test};
use crate::support::{append, draft, guest, limits, name, read_all, room};

/// Name of the test that is the child process.
const CHILD: &str = "processes::child";

/// The directory of the child's store.
const DIR: &str = "CHAT_CHILD_DIR";

/// The durability of the child's store: `disk` or `process`.
const DURABILITY: &str = "CHAT_CHILD_DURABILITY";

/// Tasks of the child that append.
const WRITERS: &str = "CHAT_CHILD_WRITERS";

/// Set for a child that reports published and stored messages, instead of acknowledged ones.
const REPORTS_PUBLISHED: &str = "CHAT_CHILD_REPORTS_PUBLISHED";

/// The child process. Does nothing when it runs with the other tests.
#[test]
fn child() {
    if !is_single_test(CHILD) {
        return;
    }
    let dir = env::var(DIR).expect("a directory");
    let runtime = Runtime::new().expect("a runtime");
    match env::var_os(REPORTS_PUBLISHED) {
        Some(_) => runtime.block_on(report_published(&dir)),
        None => runtime.block_on(report_acknowledged(&dir)),
    }
}

/// Appends until the process is killed, and reports the acknowledged messages.
async fn report_acknowledged(dir: &str) {
    let durability = match env::var(DURABILITY).as_deref() {
        Ok("process") => Durability::Process,
        _ => Durability::Disk,
    };
    let options = Options::default().with(|options| options.durability = durability);
    let store = SqliteStore::open(dir, options).expect("a store");
    let lobby = room(&store, "lobby");
    report(&format!("epoch {}", lobby.bounds().await.expect("bounds").epoch));
    let writers = env::var(WRITERS).expect("a number").parse().expect("a number");
    let run = process::id();
    let writers: Vec<_> = (0..writers)
        .map(|writer| {
            let lobby = Arc::clone(&lobby);
            tokio::spawn(async move {
                for n in 0.. {
                    let key = format!("{run}-{writer}-{n}");
                    let message = draft(&guest("ann"), Some(&key), &key);
                    let receipt = lobby.append(message).await.expect("appended");
                    report(&format!("sent {} {key}", receipt.seq));
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("no panic");
    }
    store.close_blocking();
}

/// Appends six messages on a failing disk. Reports the refused, the published and finally the stored messages.
async fn report_published(dir: &str) {
    let Ok(store) = SqliteStore::open(dir, Options::default()) else { return };
    let sink = CommitSink::new(|commit| {
        if let Commit::Entry { stored, .. } = commit {
            report(&format!("published {}", stored.seq));
        }
    });
    let lobby = store.room(name("lobby"), limits(), sink);
    for n in 0..6 {
        if append(&lobby, &format!("word{n}")).await.is_err() {
            report("refused");
        }
    }
    for stored in read_all(&lobby).await {
        report(&format!("stored {}", stored.seq));
    }
    store.close_blocking();
}

fn report(line: &str) {
    // One write per line, so that a kill does not split a line. Standard output belongs to the test harness.
    if io::stderr().write_all(format!("{line}\n").as_bytes()).is_err() {
        process::exit(0);
    }
}

/// Starts a child under `wrapper`, for example `strace`, or directly.
fn spawn(wrapper: Option<Command>, dir: &Path, writers: usize, durability: Durability) -> Child {
    let child = single_test(CHILD);
    let mut command = match wrapper {
        None => child,
        Some(mut wrapper) => {
            wrapper.arg(child.get_program()).args(child.get_args());
            wrapper.envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))));
            wrapper
        }
    };
    command.env(DIR, dir).env(WRITERS, writers.to_string());
    command.env(DURABILITY, if durability == Durability::Disk { "disk" } else { "process" });
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a process")
}

/// Reads the reports of a child and kills it after `max` lines.
fn reports(mut child: Child, max: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for line in BufReader::new(child.stderr.take().expect("a pipe")).lines() {
        lines.push(line.expect("a line"));
        if lines.len() == max {
            child.kill().expect("killed");
        }
    }
    child.wait().expect("ended");
    lines
}
