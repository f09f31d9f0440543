use std::io::{self, Write};
use std::path::Path;

use chat_core::RoomName;
use rusqlite::{Connection, OptionalExtension};

use crate::error::OpenError;
use crate::open::Paths;
use crate::verify::look;
use crate::{Store, record};

/// Problems that a [`Report`] lists; of more it has the number.
const LISTED: usize = 100;

/// Messages between two calls of `progress`.
const PACE: u64 = 10_000;

/// How far a [`check`](Store::check) has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Messages looked at.
    pub messages: u64,
    /// Messages there are.
    pub of: u64,
}

/// What a [`check`](Store::check) has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Rooms that were ever written to.
    pub rooms: u64,
    /// Messages that can be read.
    pub messages: u64,
    /// Messages that are not as they were written.
    pub unreadable: u64,
    /// Messages that are missing between others.
    pub missing: u64,
    /// What is wrong, in words, each on one line: the first hundred.
    pub problems: Vec<String>,
}

/// What an [`export`](Store::export) has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Messages written.
    pub messages: u64,
    /// Messages left out because they are not as they were written.
    pub unreadable: u64,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    fn problem(&mut self, problem: impl FnOnce() -> String) {
        if self.problems.len() < LISTED {
            self.problems.push(problem());
        }
    }
}

impl Store {
    /// Looks at everything in the store of a directory, and changes nothing. A process may be using it meanwhile;
    /// its write-ahead log grows for as long.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if there is no store, or none that can be read at all.
    pub fn check(dir: impl AsRef<Path>, mut progress: impl FnMut(Progress)) -> Result<Report, OpenError> {
        let paths = Paths::of(dir.as_ref());
        let connection = look(&paths)?;
        let mut report = Report::default();
        let mut check = || {
            let transaction = connection.unchecked_transaction()?;
            check_pages(&transaction, &mut report)?;
            let of = transaction.query_row("SELECT count(*) FROM messages", (), |row| row.get(0))?;
            for room in rooms(&transaction)? {
                report.rooms += 1;
                check_room(&transaction, &room, &mut report, |messages| progress(Progress { messages, of }))?;
            }
            transaction.finish()
        };
        if let Err(error) = check() {
            report.problem(|| format!("it cannot be read on: {error}"));
        }
        Ok(report)
    }

    /// Writes a room's messages, oldest first, each as the text of its event on a line of its own. A process may
    /// be using the store meanwhile. A room that was never written to has none.
    ///
    /// # Errors
    ///
    /// Those of the writer; those of [`check`](Self::check) as [`io::ErrorKind::Other`].
    pub fn export(dir: impl AsRef<Path>, room: &RoomName, mut to: impl Write) -> io::Result<Exported> {
        let paths = Paths::of(dir.as_ref());
        let connection = look(&paths).map_err(io::Error::other)?;
        let mut exported = Exported::default();
        let Some(number) = number(&connection, room).map_err(io::Error::other)? else {
            return Ok(exported);
        };
        let sql = "SELECT id, sum, frame FROM messages WHERE id BETWEEN ?1 AND ?2 ORDER BY id";
        let mut statement = connection.prepare(sql).map_err(io::Error::other)?;
        let range = (record::id(number, 0), record::id(number, u64::MAX));
        let mut rows = statement.query(range).map_err(io::Error::other)?;
        while let Some(row) = rows.next().map_err(io::Error::other)? {
            match frame(room, row).map_err(io::Error::other)? {
                Some(frame) => {
                    to.write_all(frame)?;
                    to.write_all(b"\n")?;
                    exported.messages += 1;
                }
                None => exported.unreadable += 1,
            }
        }
        to.flush()?;
        Ok(exported)
    }

    /// The rooms of the store of a directory that were ever written to, in the order of their names.
    ///
    /// # Errors
    ///
    /// Those of [`check`](Self::check).
    pub fn rooms(dir: impl AsRef<Path>) -> Result<Vec<RoomName>, OpenError> {
        let paths = Paths::of(dir.as_ref());
        let connection = look(&paths)?;
        let rooms =
            rooms(&connection).map_err(|source| OpenError::Sqlite { path: paths.database, source })?;
        // A name that is none any more belongs to messages that cannot be read either.
        Ok(rooms.iter().filter_map(|room| room.name.parse().ok()).collect())
    }
}

struct Room {
    id: i64,
    name: String,
    head: u64,
    first: u64,
    keys: u64,
}

fn rooms(connection: &Connection) -> rusqlite::Result<Vec<Room>> {
    let mut statement = connection.prepare("SELECT id, name, head, first, keys FROM rooms ORDER BY name")?;
    let rooms = statement.query_map((), |row| {
        let (id, name, head, first, keys) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
        Ok(Room { id, name, head, first, keys })
    })?;
    rooms.collect()
}

fn number(connection: &Connection, room: &RoomName) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT id FROM rooms WHERE name = ?1";
    connection.query_row(sql, [room.as_str()], |row| row.get(0)).optional()
}

/// The frame of a message, if it is as it was written.
fn frame<'r>(room: &RoomName, row: &'r rusqlite::Row<'_>) -> rusqlite::Result<Option<&'r [u8]>> {
    let (id, sum): (i64, i64) = (row.get(0)?, row.get(1)?);
    let frame = row.get_ref(2)?.as_blob()?;
    Ok((record::sum(room, record::seq(id), frame) == sum).then_some(frame))
}

fn check_pages(connection: &Connection, report: &mut Report) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("PRAGMA integrity_check(100)")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let verdict: String = row.get(0)?;
        if verdict != "ok" {
            report.problem(|| verdict.replace('\n', " "));
        }
    }
    Ok(())
}

fn check_room(
    connection: &Connection,
    room: &Room,
    report: &mut Report,
    mut progress: impl FnMut(u64),
) -> rusqlite::Result<()> {
    let name = &room.name;
    let Ok(parsed) = name.parse::<RoomName>() else {
        report.problem(|| format!("room number {} has a name that is none", room.id));
        return Ok(());
    };
    let range = (record::id(room.id, 0), record::id(room.id, u64::MAX));
    let mut statement = connection
        .prepare_cached("SELECT id, sum, frame FROM messages WHERE id BETWEEN ?1 AND ?2 ORDER BY id")?;
    let mut rows = statement.query(range)?;
    let mut next = room.first;
    while let Some(row) = rows.next()? {
        let seq = record::seq(row.get(0)?);
        if frame(&parsed, row)?.is_some() {
            report.messages += 1;
        } else {
            report.unreadable += 1;
            report.problem(|| format!("room {name}: message {seq} is not as it was written"));
        }
        if seq > next {
            report.missing += seq - next;
            report.problem(|| format!("room {name}: messages {next} to {} are missing", seq - 1));
        }
        next = seq + 1;
        let looked_at = report.messages + report.unreadable;
        if looked_at.is_multiple_of(PACE) {
            progress(looked_at);
        }
    }
    if next != room.head + 1 {
        report
            .problem(|| format!("room {name}: its head is {}, the next message would be {next}", room.head));
    }
    let keys: u64 =
        connection
            .query_row("SELECT count(*) FROM keys WHERE id BETWEEN ?1 AND ?2", range, |row| row.get(0))?;
    if keys != room.keys {
        report.problem(|| format!("room {name}: it has {keys} keys, not {}", room.keys));
    }
    Ok(())
}
