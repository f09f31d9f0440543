use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use chat_core::RoomName;
use chat_sqlite::{Compacted, Progress, Report, SqliteStore};
use indicatif::{ProgressBar, ProgressStyle};

use crate::config::Task;
use crate::refuse;

/// Time between two updates of a progress bar.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);

/// Runs a task on the store in a directory.
pub(crate) fn run(task: &Task, dir: &Path) -> ExitCode {
    match task {
        Task::Export { room } => export(dir, room),
        Task::Check => check(dir),
        Task::Compact => compact(dir),
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
    let bar =
        if out.is_terminal() { ProgressBar::hidden() } else { bar("{spinner} {bytes}, {bytes_per_sec}") };
    let exported = SqliteStore::export(dir, room, bar.wrap_write(BufWriter::new(out.lock())));
    bar.finish_and_clear();
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

fn check(dir: &Path) -> ExitCode {
    let bar = bar("{spinner} {msg}");
    bar.set_message("verifying pages");
    let report = SqliteStore::check(dir, |Progress { messages, total, .. }| {
        if bar.length().is_none() {
            bar.set_style(style("{spinner} [{wide_bar}] {human_pos}/{human_len} messages, {eta} left"));
        }
        bar.set_length(total);
        bar.set_position(messages);
    });
    bar.finish_and_clear();
    let report = match report {
        Ok(report) => report,
        Err(problem) => return refuse(&problem.to_string()),
    };
    // The reader may be gone.
    let _ignored = io::stdout().write_all(summary(dir, &report).as_bytes());
    if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn compact(dir: &Path) -> ExitCode {
    let bar = bar("{spinner} {msg}");
    bar.set_message("compacting");
    let compacted = SqliteStore::compact(dir);
    bar.finish_and_clear();
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

/// Returns a progress bar, which is visible on a terminal only.
fn bar(template: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_style(style(template));
    bar.enable_steady_tick(REDRAW_INTERVAL);
    bar
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
