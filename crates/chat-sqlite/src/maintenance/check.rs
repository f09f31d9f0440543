use std::path::Path;

use chat_core::RoomName;
use rusqlite::Connection;

use super::connect;
use crate::OpenError;
use crate::database::row::{message_id, seq_of, verified_frame};

/// The largest number of problems in a [`Report`].
const MAX_PROBLEMS: usize = 100;

/// Messages between two reports of progress.
const PROGRESS_INTERVAL: u64 = 10_000;

/// The progress of [`SqliteStore::check`](crate::SqliteStore::check).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Messages checked so far.
    pub messages: u64,
    /// Messages in the store.
    pub total: u64,
}

/// The result of [`SqliteStore::check`](crate::SqliteStore::check).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Rooms that have or had messages.
    pub rooms: u64,
    /// Messages that can be read.
    pub messages: u64,
    /// Messages that differ from their checksum.
    pub unreadable: u64,
    /// Messages that are missing between others.
    pub missing: u64,
    /// Descriptions of the problems, one line each. The list contains the first hundred.
    pub problems: Vec<String>,
}

impl Report {
    /// Returns `true` if there are no problems.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    fn problem(&mut self, problem: impl FnOnce() -> String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem());
        }
    }
}

pub(crate) fn check(dir: &Path, mut progress: impl FnMut(Progress)) -> Result<Report, OpenError> {
    let connection = connect(dir)?;
    let mut report = Report::default();
    let mut check = || {
        let transaction = connection.unchecked_transaction()?;
        check_pages(&transaction, &mut report)?;
        let total = transaction.query_row("SELECT count(*) FROM messages", (), |row| row.get(0))?;
        for room in rooms(&transaction)? {
            report.rooms += 1;
            check_room(&transaction, &room, &mut report, |messages| progress(Progress { messages, total }))?;
        }
        transaction.finish()
    };
    if let Err(error) = check() {
        report.problem(|| format!("the check stopped, because the database cannot be read: {error}"));
    }
    Ok(report)
}

struct RoomRow {
    id: i64,
    name: String,
    head: u64,
    first: u64,
    keys: u64,
}

fn rooms(connection: &Connection) -> rusqlite::Result<Vec<RoomRow>> {
    let mut statement = connection.prepare("SELECT id, name, head, first, keys FROM rooms ORDER BY name")?;
    let rooms = statement.query_map((), |row| {
        let (id, name, head, first, keys) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
        Ok(RoomRow { id, name, head, first, keys })
    })?;
    rooms.collect()
}

fn check_pages(connection: &Connection, report: &mut Report) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("PRAGMA integrity_check(100)")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let result: String = row.get(0)?;
        if result != "ok" {
            report.problem(|| result.replace('\n', " "));
        }
    }
    Ok(())
}

fn check_room(
    connection: &Connection,
    room: &RoomRow,
    report: &mut Report,
    mut progress: impl FnMut(u64),
) -> rusqlite::Result<()> {
    let name = &room.name;
    let Ok(parsed) = name.parse::<RoomName>() else {
        report.problem(|| format!("room number {} has an invalid name", room.id));
        return Ok(());
    };
    let range = (message_id(room.id, 0), message_id(room.id, u64::MAX));
    let mut statement = connection
        .prepare_cached("SELECT id, sum, frame FROM messages WHERE id BETWEEN ?1 AND ?2 ORDER BY id")?;
    let mut rows = statement.query(range)?;
    let mut next = room.first;
    while let Some(row) = rows.next()? {
        let seq = seq_of(row.get(0)?);
        if verified_frame(&parsed, row)?.1.is_some() {
            report.messages += 1;
        } else {
            report.unreadable += 1;
            report.problem(|| format!("room {name}: message {seq} differs from its checksum"));
        }
        if seq > next {
            report.missing += seq - next;
            report.problem(|| format!("room {name}: messages {next} to {} are missing", seq - 1));
        }
        next = seq + 1;
        let checked = report.messages + report.unreadable;
        if checked.is_multiple_of(PROGRESS_INTERVAL) {
            progress(checked);
        }
    }
    if next != room.head + 1 {
        let head = room.head;
        report.problem(|| format!("room {name}: its head is {head}, but its next message would be {next}"));
    }
    let sql = "SELECT count(*) FROM keys WHERE id BETWEEN ?1 AND ?2";
    let keys: u64 = connection.query_row(sql, range, |row| row.get(0))?;
    if keys != room.keys {
        report.problem(|| format!("room {name}: it has {keys} keys, but {} are recorded", room.keys));
    }
    Ok(())
}
