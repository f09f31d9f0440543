use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use chat_core::RoomName;
use chat_sqlite::{Compacted, Progress, Report, SqliteStore};

use crate::config::StoreTask;
use crate::status_line::{CountedWriter, StatusLine};
use crate::{refuse, show};

/// Runs a task on the store in a directory.
pub(crate) fn run(task: &StoreTask, dir: &Path) -> ExitCode {
    match task {
        StoreTask::Export { room } => export(dir, room),
        StoreTask::Rooms => rooms(dir),
        StoreTask::Check => check(dir),
        StoreTask::Compact => compact(dir),
    }
}

fn export(dir: &Path, room: &RoomName) -> ExitCode {
    match SqliteStore::rooms(dir) {
        Ok(rooms) if !rooms.contains(room) => {
            return refuse(&format!("no message was ever written to the room {room}"));
        }
        Ok(_) => {}
        Err(problem) => return refuse(&problem.to_string()),
    }
    let out = io::stdout();
    // On a terminal, the messages themselves show the progress.
    let line = StatusLine::new(!out.is_terminal());
    let writer = CountedWriter { writer: BufWriter::new(out.lock()), line, bytes: 0 };
    let exported = SqliteStore::export(dir, room, writer);
    match exported {
        Ok(exported) if exported.unreadable == 0 => ExitCode::SUCCESS,
        Ok(exported) => {
            let problem = format!("{} messages are damaged and were left out", exported.unreadable);
            let _ignored = writeln!(io::stderr(), "error: {problem}");
            ExitCode::from(1)
        }
        // The reader has seen enough.
        Err(problem) if problem.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(problem) => refuse(&format!("cannot export: {problem}")),
    }
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
