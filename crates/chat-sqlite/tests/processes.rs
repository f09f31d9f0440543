//! A process that writes and is killed, or watched by strace. This program is that process too.

mod support;

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use chat_core::{AppendError, CommitSink, Search};
use chat_sqlite::{Durability, Options, Store};
use libtest_mimic::{Arguments, Failed, Trial};
use support::{Home, all, draft, guest, room};

/// The directory that the process is to write in.
const DIR: &str = "CHAT_STORE";

/// Set if it is to say what its outlet hears, on a disk that fails now and then.
const TELLS: &str = "CHAT_TELLS";

/// How many writers it has at once.
const WRITERS: &str = "CHAT_WRITERS";

fn main() -> ExitCode {
    if let Ok(dir) = env::var(DIR) {
        match env::var_os(TELLS) {
            Some(_) => tell(&dir),
            None => write(&dir),
        }
        return ExitCode::SUCCESS;
    }
    let trials = vec![
        Trial::test("a_process_that_is_killed_while_writing_loses_nothing_at_the_level_of_the_disk", || {
            kill_again_and_again(Durability::Disk)
        }),
        Trial::test(
            "a_process_that_is_killed_while_writing_loses_nothing_at_the_level_of_the_process",
            || kill_again_and_again(Durability::Process),
        ),
        Trial::test("a_process_that_is_killed_while_it_makes_a_store_leaves_one_or_none", kill_while_making),
        Trial::test(
            "a_process_that_is_killed_at_any_write_while_it_migrates_loses_nothing",
            kill_while_migrating,
        ),
        Trial::test("what_is_stored_is_told_whichever_calls_to_the_disk_fail", fail_to_synchronize),
        Trial::test("nothing_is_acknowledged_before_it_is_on_the_disk", || watch(Durability::Disk)),
        Trial::test("at_the_level_of_the_process_nothing_waits_for_the_disk", || watch(Durability::Process)),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// The process: writers that say on its output what was acknowledged, until it is killed.
#[tokio::main]
async fn write(dir: &str) {
    let durability = match env::var("CHAT_DURABILITY").as_deref() {
        Ok("process") => Durability::Process,
        _ => Durability::Disk,
    };
    let store = Store::open(dir, Options { durability, ..Options::default() }).expect("a store");
    let lobby = room(&store, "lobby");
    let bounds = lobby.bounds().await.expect("a standing");
    say(&format!("epoch {}", bounds.epoch));
    let writers = env::var(WRITERS).expect("a number").parse().expect("a number");
    let run = std::process::id();
    let writers: Vec<_> = (0..writers)
        .map(|writer| {
            let lobby = Arc::clone(&lobby);
            tokio::spawn(async move {
                for n in 0.. {
                    let key = format!("{run}-{writer}-{n}");
                    let appended =
                        lobby.append(draft(&guest("ann"), Some(&key), &key)).await.expect("appended");
                    say(&format!("sent {} {key}", appended.seq));
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("no panic");
    }
    store.close();
}

/// The process on a disk that fails: what was refused, what was told, and what is there in the end.
#[tokio::main]
async fn tell(dir: &str) {
    let Ok(store) = Store::open(dir, Options::default()) else { return };
    let outlet = CommitSink::new(|stored| say(&format!("told {}", stored.seq)));
    let lobby = store.room(support::name("lobby"), support::limits(), outlet);
    for n in 0..6 {
        if support::say(&lobby, &format!("word{n}")).await.is_err() {
            say("refused");
        }
    }
    for stored in all(&lobby).await {
        say(&format!("kept {}", stored.seq));
    }
    store.close();
}

fn say(line: &str) {
    // One write for each, so that none is torn by the end of the process.
    if std::io::stdout().write_all(format!("{line}\n").as_bytes()).is_err() {
        std::process::exit(0);
    }
}

fn writer(program: &mut Command, dir: &Path, writers: usize, durability: Durability) -> Child {
    let durability = if durability == Durability::Disk { "disk" } else { "process" };
    let command = program.env(DIR, dir).env(WRITERS, writers.to_string()).env("CHAT_DURABILITY", durability);
    command.stdout(Stdio::piped()).spawn().expect("a process")
}

fn this_program() -> Command {
    Command::new(env::current_exe().expect("a path"))
}

/// Lets a writer write so many messages, kills it, and tells what it has said.
fn killed(mut child: Child, after: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for line in BufReader::new(child.stdout.take().expect("a pipe")).lines() {
        lines.push(line.expect("a line"));
        if lines.len() == after {
            child.kill().expect("killed");
        }
    }
    child.wait().expect("ended");
    lines
}

fn kill_again_and_again(durability: Durability) -> Result<(), Failed> {
    let crashes = env::var("CHAT_CRASHES").map_or(10, |number| number.parse().expect("a number"));
    let home = Home::new();
    let mut acknowledged = BTreeMap::new();
    let mut epochs = Vec::new();
    for crash in 0..crashes {
        // Now and then before anything is acknowledged.
        let child = writer(&mut this_program(), &home.path(), 32, durability);
        for line in killed(child, 1 + (crash * 37) % 300) {
            let words: Vec<_> = line.split(' ').collect();
            match words[..] {
                ["sent", seq, key] => {
                    let before = acknowledged.insert(seq.parse::<u64>()?, key.to_owned());
                    assert_eq!(before, None, "position {seq} was given out twice");
                }
                ["epoch", epoch] => epochs.push(epoch.to_owned()),
                _ => return Err(format!("what is {line:?}?").into()),
            }
        }
    }
    assert!(acknowledged.len() > crashes * 10, "{}", acknowledged.len());
    epochs.dedup();
    assert_eq!(epochs.len(), 1, "clients go on where they were");
    tokio::runtime::Runtime::new()?.block_on(verify(&home, &acknowledged, &epochs[0]));
    assert!(Store::check(home.path(), |_| ())?.is_sound());
    Ok(())
}

async fn verify(home: &Home, acknowledged: &BTreeMap<u64, String>, epoch: &str) {
    let store = home.open();
    let lobby = room(&store, "lobby");
    assert_eq!(lobby.bounds().await.expect("a standing").epoch, epoch);
    let mut keys = BTreeMap::new();
    for (at, stored) in (1..).zip(all(&lobby).await) {
        assert_eq!(stored.seq, at, "no hole");
        let event: serde_json::Value = serde_json::from_slice(&stored.frame).expect("JSON");
        assert_eq!(event["seq"], stored.seq);
        let key = event["key"].as_str().expect("a key").to_owned();
        assert_eq!(event["body"]["text"], key.as_str());
        assert_eq!(keys.insert(key, stored.seq), None, "nothing is there twice");
    }
    for (seq, key) in acknowledged {
        assert_eq!(keys.get(key), Some(seq), "{key} was acknowledged");
    }
    // What was stored and not acknowledged is sent again by its client.
    for (key, seq) in keys.iter().rev().take(100) {
        let again = lobby.append(draft(&guest("ann"), Some(key), key)).await.expect("known");
        assert_eq!((again.seq, again.duplicate), (*seq, true));
        let other = lobby.append(draft(&guest("ann"), Some(key), "other")).await;
        assert_eq!(other, Err(AppendError::KeyConflict));
    }
    store.close();
}

/// Kills a little later each time, until some have got as far as a store.
fn kill_while_making() -> Result<(), Failed> {
    let mut made = 0;
    let mut delay = Duration::ZERO;
    while made < 5 {
        let home = Home::new();
        let mut child = writer(&mut this_program(), &home.path(), 1, Durability::Disk);
        std::thread::sleep(delay);
        child.kill().and_then(|()| child.wait()).expect("killed");
        made += usize::from(home.file("chat.db").exists());
        home.open().close();
        assert!(Store::check(home.path(), |_| ())?.is_sound(), "{delay:?}");
        delay += Duration::from_millis(2);
    }
    Ok(())
}

/// Makes a store what it was in its first version, and kills the process that opens it at its first write to the disk,
/// then at its second, and so on until one gets through.
fn kill_while_migrating() -> Result<(), Failed> {
    let home = Home::new();
    let runtime = tokio::runtime::Runtime::new()?;
    let (epoch, messages) = runtime.block_on(async {
        let store = home.open();
        let lobby = room(&store, "lobby");
        for n in 1..=50 {
            lobby.append(draft(&guest("ann"), None, &format!("word{n}"))).await.expect("appended");
        }
        let before = (lobby.bounds().await.expect("a standing").epoch, all(&lobby).await);
        store.close();
        before
    });
    for write in 1..1_000 {
        age(&home);
        let mut strace = Command::new("strace");
        strace.args(["-f", "-o", "/dev/null", "-e"]);
        strace.arg(format!("inject=pwrite64:signal=SIGKILL:when={write}")).arg(env::current_exe()?);
        let status = writer(&mut strace, &home.path(), 0, Durability::Disk).wait()?;
        assert!(Store::check(home.path(), |_| ())?.is_sound(), "after write {write}");
        runtime.block_on(async {
            let store = home.open();
            let lobby = room(&store, "lobby");
            assert_eq!(lobby.bounds().await.expect("a standing").epoch, epoch, "after write {write}");
            assert_eq!(all(&lobby).await, messages, "after write {write}");
            let search = Search { query: "word50".to_owned(), limit: 2, before: u64::MAX };
            let found = lobby.search(search).await.expect("found").messages;
            assert_eq!(found, messages[49..], "after write {write}");
            store.close();
        });
        if status.success() {
            assert!(write > 20, "there were only {write} writes");
            return Ok(());
        }
    }
    Err("no process gets through".into())
}

/// Takes a store back to the first version of its schema.
fn age(home: &Home) {
    let first = "
        BEGIN;
        ALTER TABLE rooms DROP COLUMN indexed;
        DROP TABLE search;
        CREATE VIRTUAL TABLE search USING fts5 (terms, content = '', contentless_delete = 1, tokenize = 'ascii');
        INSERT INTO search (rowid, terms) SELECT id, 'wor ord' FROM messages;
        PRAGMA user_version = 1;
        COMMIT;";
    home.database().execute_batch(first).expect("as it was");
}

/// Lets a process fail to bring to the disk what it has written, twice in a row, a little later each time. What was
/// refused then is not there, and all that is there was told.
fn fail_to_synchronize() -> Result<(), Failed> {
    let mut refused = 0;
    for first in 1..=12 {
        let home = Home::new();
        home.open().close();
        let mut strace = Command::new("strace");
        strace.args(["-f", "-o", "/dev/null", "-e"]);
        strace.arg(format!("inject=fdatasync,fsync:error=EIO:when={first}..{}", first + 1));
        let child = writer(strace.arg(env::current_exe()?).env(TELLS, ""), &home.path(), 1, Durability::Disk);
        let lines = killed(child, usize::MAX);
        let those = |what: &str| -> Vec<_> {
            lines.iter().filter_map(|line| line.strip_prefix(what)).map(str::to_owned).collect()
        };
        assert_eq!(those("told "), those("kept "), "after call {first}");
        refused += those("refused").len();
    }
    assert!(refused > 5, "only {refused} appends were refused");
    Ok(())
}

/// Looks at a process's calls to the system, in their order: a message reaches the write-ahead log, the log the
/// disk, and only then its sender hears of it.
fn watch(durability: Durability) -> Result<(), Failed> {
    let home = Home::new();
    home.open().close();
    let trace = home.file("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-s", "200", "-e", "trace=write,pwrite64,fsync,fdatasync", "-o"]).arg(&trace);
    strace.arg(env::current_exe()?);
    let mut child = writer(&mut strace, &home.path(), 1, durability);
    let pipe = child.stdout.take().expect("a pipe");
    let sent =
        BufReader::new(pipe).lines().map_while(Result::ok).filter(|line| line.starts_with("sent")).take(30);
    assert_eq!(sent.count(), 30);
    // With nobody to hear them, the process ends, and strace with it.
    child.wait().expect("ended");
    let trace = std::fs::read_to_string(trace)?;
    let (mut written, mut synced, mut syncs, mut acknowledged) = (None, None, 0, 0);
    for (at, call) in finished(&trace).into_iter().enumerate() {
        if call.contains("chat.db-wal>") && call.contains("write") {
            written = Some(at);
        } else if call.contains("chat.db-wal>") && call.contains("sync(") && call.ends_with("= 0") {
            synced = Some(at);
            syncs += 1;
        } else if call.contains("\"sent ") {
            assert!(written.is_some(), "{call}");
            assert!(durability == Durability::Process || synced > written, "{call} is ahead of its fsync");
            (written, synced) = (None, None);
            acknowledged += 1;
        }
        if acknowledged == 30 {
            break;
        }
    }
    // The log's own beginning is synchronized at either level.
    assert!(acknowledged == 30 && (durability == Durability::Disk) == (syncs > 2), "{acknowledged} {syncs}");
    Ok(())
}

/// The calls in the order in which they ended, each on one line.
fn finished(trace: &str) -> Vec<String> {
    let mut unfinished = BTreeMap::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let (process, call) = line.split_once(' ').unwrap_or((line, ""));
        let call = call.trim();
        if let Some(begun) = call.strip_suffix(" <unfinished ...>") {
            unfinished.insert(process.to_owned(), begun.to_owned());
        } else if let Some((_, rest)) = call.split_once(" resumed>") {
            calls.push(unfinished.remove(process).unwrap_or_default() + rest);
        } else {
            calls.push(call.to_owned());
        }
    }
    calls
}
