use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use chat_core::{Exported, Imported, RoomName};
use chat_sqlite::{Compacted, Progress, Report, SqliteStore};

use crate::cluster::ClusterTasks;
use crate::config::StoreTask;
use crate::status_line::{CountedWriter, StatusLine};
use crate::{refuse, show};

/// Bytes of an export that are read at once.
const READ_BUFFER: usize = 256 * 1024;

/// The place of the rooms of a task.
pub(crate) enum Place<'a> {
    Directory(&'a Path),
    Cluster(Box<ClusterTasks>),
}

/// The result of a check.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) rooms: u64,
    pub(crate) messages: u64,
    pub(crate) unreadable: u64,
    pub(crate) missing: u64,
    pub(crate) problems: Vec<String>,
}

impl Place<'_> {
    fn name(&self) -> String {
        match self {
            Self::Directory(dir) => dir.display().to_string(),
            Self::Cluster(cluster) => cluster.name(),
        }
    }

    fn rooms(&self) -> Result<Vec<RoomName>, String> {
        match self {
            Self::Directory(dir) => SqliteStore::rooms(dir).map_err(|problem| problem.to_string()),
            Self::Cluster(cluster) => cluster.rooms(),
        }
    }

    fn export(&self, room: Option<&RoomName>, to: impl Write) -> io::Result<Exported> {
        match (self, room) {
            (Self::Directory(dir), Some(room)) => SqliteStore::export(dir, room, to),
            (Self::Directory(dir), None) => SqliteStore::export_all(dir, to),
            (Self::Cluster(cluster), room) => cluster.export(room, to),
        }
    }

    fn import(&self, from: impl BufRead, progress: impl FnMut(Imported)) -> Result<Imported, String> {
        match self {
            Self::Directory(dir) => {
                SqliteStore::import(dir, from, progress).map_err(|problem| problem.to_string())
            }
            Self::Cluster(cluster) => cluster.import(from, progress),
        }
    }

    fn check(&self, mut progress: impl FnMut(String)) -> Result<Summary, String> {
        let dir = match self {
            Self::Directory(dir) => dir,
            Self::Cluster(cluster) => return cluster.check(progress),
        };
        progress("verifying pages".to_owned());
        let show =
            |Progress { messages, total, .. }| progress(format!("{messages} of {total} messages verified"));
        let report = SqliteStore::check(dir, show).map_err(|problem| problem.to_string())?;
        let Report { rooms, messages, unreadable, missing, problems, .. } = report;
        Ok(Summary { rooms, messages, unreadable, missing, problems })
    }
}

/// Runs a task on stored rooms.
pub(crate) fn run(task: &StoreTask, place: &Place<'_>) -> ExitCode {
    match (task, place) {
        (StoreTask::Export { room }, _) => export(place, room.as_ref()),
        (StoreTask::Import { file }, _) => import(place, file),
        (StoreTask::Rooms, _) => rooms(place),
        (StoreTask::Check, _) => check(place),
        (StoreTask::Compact, Place::Directory(dir)) => compact(dir),
        // A mistake would have been reported with those of the options.
        (StoreTask::Compact, Place::Cluster(_)) => {
            refuse("--cluster: compact is for the directory of --data")
        }
    }
}

fn export(place: &Place<'_>, room: Option<&RoomName>) -> ExitCode {
    if let Place::Directory(_) = place {
        match (place.rooms(), room) {
            (Ok(rooms), Some(room)) if !rooms.contains(room) => {
                return refuse(&format!("no message was ever written to the room {room}"));
            }
            (Ok(_), _) => {}
            (Err(problem), _) => return refuse(&problem),
        }
    }
    let out = io::stdout();
    // On a terminal, the messages themselves show the progress.
    let line = StatusLine::new(!out.is_terminal());
    let writer = CountedWriter { writer: BufWriter::new(out.lock()), line, bytes: 0 };
    match place.export(room, writer) {
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

fn import(place: &Place<'_>, file: &Path) -> ExitCode {
    if file.as_os_str() == "-" {
        return import_from(place, io::stdin().lock(), "standard input");
    }
    match File::open(file) {
        Ok(opened) => import_from(place, BufReader::with_capacity(READ_BUFFER, opened), "the file"),
        Err(problem) => refuse(&format!("cannot open {}: {problem}", file.display())),
    }
}

fn import_from(place: &Place<'_>, from: impl BufRead, name: &str) -> ExitCode {
    let mut line = StatusLine::new(true);
    let started = Instant::now();
    let imported = place.import(from, |progress: Imported| {
        line.show(|| format!("{} of {name} read, {} messages", mib(progress.bytes), progress.messages));
    });
    drop(line);
    let Imported { bytes, rooms, messages, lost, .. } = match imported {
        Ok(imported) => imported,
        Err(problem) => return refuse(&format!("cannot import: {problem}")),
    };
    let line = format!(
        "{}: imported; rooms {rooms}, messages {messages}, lost {lost}, read {} in {:.1} s\n",
        place.name(),
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

fn rooms(place: &Place<'_>) -> ExitCode {
    match place.rooms() {
        Ok(rooms) => show(&rooms.iter().map(|room| format!("{room}\n")).collect::<String>()),
        Err(problem) => refuse(&problem),
    }
}

fn check(place: &Place<'_>) -> ExitCode {
    let mut line = StatusLine::new(true);
    let summary = place.check(|progress| line.show(|| progress));
    drop(line);
    let summary = match summary {
        Ok(summary) => summary,
        Err(problem) => return refuse(&problem),
    };
    // The reader may be gone.
    let _ignored = io::stdout().write_all(text(&place.name(), &summary).as_bytes());
    if summary.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
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

fn text(place: &str, summary: &Summary) -> String {
    let Summary { rooms, messages, unreadable, missing, problems } = summary;
    let mut text: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
    let verdict = if problems.is_empty() { "sound" } else { "NOT SOUND" };
    text += &format!(
        "{place}: {verdict}; rooms {rooms}, messages {messages}, unreadable {unreadable}, missing {missing}\n"
    );
    text
}
