use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use chat_core::RoomName;
use chat_sqlite::{Progress, Report, Store};
use indicatif::{ProgressBar, ProgressStyle};

use crate::config::Task;
use crate::refuse;

/// How often a terminal sees that something is done.
const TICK: Duration = Duration::from_millis(100);

/// Carries out a task on the store in a directory.
pub(crate) fn run(task: &Task, dir: &Path) -> ExitCode {
    match task {
        Task::Export { room } => export(dir, room),
        Task::Check => check(dir),
    }
}

fn export(dir: &Path, room: &RoomName) -> ExitCode {
    match Store::rooms(dir) {
        Ok(rooms) if !rooms.contains(room) => return refuse(&format!("nothing was ever written to {room}")),
        Ok(_) => {}
        Err(problem) => return refuse(&problem.to_string()),
    }
    let out = io::stdout();
    let bar =
        if out.is_terminal() { ProgressBar::hidden() } else { bar("{spinner} {bytes}, {bytes_per_sec}") };
    let exported = Store::export(dir, room, bar.wrap_write(BufWriter::new(out.lock())));
    bar.finish_and_clear();
    match exported {
        Ok(exported) if exported.unreadable == 0 => ExitCode::SUCCESS,
        Ok(exported) => {
            let problem =
                format!("left out, as they are not as they were written: {} messages", exported.unreadable);
            let _unread = writeln!(io::stderr(), "error: {problem}");
            ExitCode::from(1)
        }
        // Whoever reads has seen enough.
        Err(problem) if problem.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(problem) => refuse(&format!("cannot export: {problem}")),
    }
}

fn check(dir: &Path) -> ExitCode {
    let bar = bar("{spinner} {msg}");
    bar.set_message("looking at the pages");
    let report = Store::check(dir, |Progress { messages, total, .. }| {
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
    // Nobody may be reading.
    let _unread = io::stdout().write_all(summary(dir, &report).as_bytes());
    if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(1) }
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

/// What a terminal shows while something takes long; nothing is shown elsewhere.
fn bar(template: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_style(style(template));
    bar.enable_steady_tick(TICK);
    bar
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
