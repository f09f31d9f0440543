use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use chat_core::RoomName;
use chat_sqlite::{Compacted, Imported, Progress, Report, SqliteStore};

use crate::config::StoreTask;
use crate::status_line::{CountedWriter, StatusLine};
use crate::{refuse, show};

/// Bytes of an export that are read at once.
const READ_BUFFER: usize = 256 * 1024;

/// Runs a task on the store in a directory.
pub(crate) fn run(task: &StoreTask, dir: &Path) -> ExitCode {
    match task {
        StoreTask::Export { room } => export(dir, room.as_ref()),
        StoreTask::Import { file } => import(dir, file),
        StoreTask::Rooms => rooms(dir),
        StoreTask::Check => check(dir),
        StoreTask::Compact => compact(dir),
    }
}

fn export(dir: &Path, room: Option<&RoomName>) -> ExitCode {
    match (SqliteStore::rooms(dir), room) {
        (Ok(rooms), Some(room)) if !rooms.contains(room) => {
            return refuse(&format!("no message was ever written to the room {room}"));
        }
        (Ok(_), _) => {}
        (Err(problem), _) => return refuse(&problem.to_string()),
    }
    let out = io::stdout();
    // On a terminal, the messages themselves show the progress.
    let line = StatusLine::new(!out.is_terminal());
    let writer = CountedWriter { writer: BufWriter::new(out.lock()), line, bytes: 0 };
    let exported = match room {
        Some(room) => SqliteStore::export(dir, room, writer),
        None => SqliteStore::export_all(dir, writer),
    };
    match exported {
        Ok(exported) if exported.unreadable == 0 => ExitCode::SUCCESS,
        Ok(exported) => {
            let what = if room.is_some() { "messages" } else { "entries" };
            let problem = format!("{} {what} are damaged and were left out", exported.unreadable);
            let _ignored = writeln!(io::stderr(), "error: {problem}");
            ExitCode::from(1)
        }
        // The reader has seen enough.
        Err(problem) if problem.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(problem) => refuse(&format!("cannot export: {problem}")),
    }
}

fn import(dir: &Path, file: &Path) -> ExitCode {
    if file.as_os_str() == "-" {
        return import_from(dir, io::stdin().lock(), "standard input");
    }
    match File::open(file) {
        Ok(opened) => import_from(dir, BufReader::with_capacity(READ_BUFFER, opened), "the file"),
        Err(problem) => refuse(&format!("cannot open {}: {problem}", file.display())),
    }
}

fn import_from(dir: &Path, from: impl BufRead, name: &str) -> ExitCode {
    let mut line = StatusLine::new(true);
    let started = Instant::now();
    let imported = SqliteStore::import(dir, from, |progress: Imported| {
        line.show(|| format!("{} of {name} read, {} messages", mib(progress.bytes), progress.messages));
    });
    drop(line);
    let Imported { bytes, rooms, messages, lost, .. } = match imported {
        Ok(imported) => imported,
        Err(problem) => return refuse(&format!("cannot import: {problem}")),
    };
    let line = format!(
        "{}: imported; rooms {rooms}, messages {messages}, lost {lost}, read {} in {:.1} s\n",
        dir.display(),
        mib(bytes),
        started.elapsed().as_secs_f64()
    );
    // The reader may be gone.
    let _ignored = io::stdout().write_all(line.as_bytes());
    ExitCode::SUCCESS
}

#[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

fn rooms(dir: &Path) -> ExitCode {
    match SqliteStore::rooms(dir) {
        Ok(rooms) => show(&rooms.iter().map(|room| format!("{room}\n")).collect::<String>()),
        Err(problem) => refuse(&problem.to_string()),
    }
}

fn check(dir: &Path) -> ExitCode {
    let mut line = StatusLine::new(true);
    line.show(|| "verifying pages".to_owned());
    let report = SqliteStore::check(dir, |Progress { messages, total, .. }| {
        line.show(|| format!("{messages} of {total} messages verified"));
    });
    drop(line);
    let report = match report {
        Ok(report) => report,
        Err(problem) => return refuse(&problem.to_string()),
    };
    // The reader may be gone.
    let _ignored = io::stdout().write_all(summary(dir, &report).as_bytes());
    if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn compact(dir: &Path) -> ExitCode {
    let mut line = StatusLine::new(true);
    line.show(|| "compacting".to_owned());
    let compacted = SqliteStore::compact(dir);
    drop(line);
    let Compacted { bytes_before, bytes_after, .. } = match compacted {
        Ok(compacted) => compacted,
        Err(problem) => return refuse(&problem.to_string()),
    };
    let line = format!("{}: compacted from {bytes_before} to {bytes_after} bytes\n", dir.display());
    // The reader may be gone.
    let _ignored = io::stdout().write_all(line.as_bytes());
    ExitCode::SUCCESS
}

fn summary(dir: &Path, report: &Report) -> String {
    let Report { rooms, messages, unreadable, missing, problems, .. } = report;
    let mut text: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
    let verdict = if report.is_sound() { "sound" } else { "NOT SOUND" };
    text += &format!(
        "{}: {verdict}; rooms {rooms}, messages {messages}, unreadable {unreadable}, missing {missing}\n",
        dir.display()
    );
    text
}
