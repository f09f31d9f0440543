use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use rusqlite::{Connection, ErrorCode};

use crate::OpenError;
use crate::connect;
use crate::error::io_error;
use crate::open::Paths;
use crate::schema::{self, APPLICATION, VERSION};

/// Databases up to this size are looked through whenever they are opened.
const LOOKED_THROUGH: u64 = 256 * 1024 * 1024;

/// Looks at a database without writing to it, before anything else is done with it.
pub(crate) fn verify(paths: &Paths) -> Result<(), OpenError> {
    let path = &paths.database;
    let damaged = |why: String| OpenError::Damaged { path: path.clone(), why };
    let wal = fs::metadata(paths.wal()).map_or(0, |wal| wal.len());
    verify_header(path, wal == 0)?;
    let sqlite = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::CannotOpen) => {
            OpenError::Sqlite { path: path.clone(), source: error }
        }
        _ => damaged(error.to_string()),
    };
    let connection =
        if wal == 0 { connect::immutable(path) } else { connect::reading(path) }.map_err(sqlite)?;
    // The write-ahead log may know better than the header.
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(sqlite)?;
    if found > VERSION {
        return Err(OpenError::Newer { path: path.clone(), found });
    }
    schema::identity(&connection).map_err(sqlite)?;
    if fs::metadata(path).map_or(0, |database| database.len()) <= LOOKED_THROUGH {
        let verdict: String =
            connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0)).map_err(sqlite)?;
        if verdict != "ok" {
            return Err(damaged(verdict.replace('\n', " ")));
        }
    }
    Ok(())
}

fn verify_header(path: &Path, whole: bool) -> Result<(), OpenError> {
    let not_a_store = |why: &str| OpenError::NotAStore { path: path.to_owned(), why: why.to_owned() };
    let mut header = [0; 100];
    let mut file = File::open(path).map_err(io_error("open", path))?;
    let length = file.metadata().map_err(io_error("read", path))?.len();
    if length == 0 {
        return Err(not_a_store("it is empty"));
    }
    match file.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(not_a_store("it is too short"));
        }
        read => read.map_err(io_error("read", path))?,
    }
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if !header.starts_with(b"SQLite format 3\0") {
        return Err(not_a_store("it does not begin as a SQLite database"));
    }
    if number(68) != APPLICATION {
        return Err(not_a_store("it is the database of another program"));
    }
    if number(60) > VERSION {
        return Err(OpenError::Newer { path: path.to_owned(), found: number(60) });
    }
    let page = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        size => u64::from(size),
    };
    let expected = page * u64::from(number(28));
    // Without a write-ahead log the header is right about the length.
    if whole && length < expected {
        let why = format!("it has {length} of {expected} bytes");
        return Err(OpenError::Damaged { path: path.to_owned(), why });
    }
    Ok(())
}

/// A connection to a store that somebody may be using, for looking into it.
///
/// The database is touched by way of SQLite alone: closing a file of one's own would take the locks from a store
/// that this process has open.
pub(crate) fn look(paths: &Paths) -> Result<Connection, OpenError> {
    let path = &paths.database;
    let not_a_store = |why: &str| OpenError::NotAStore { path: path.clone(), why: why.to_owned() };
    fs::metadata(path).map_err(io_error("look at", path))?;
    // Whoever looks last at a store that was closed in order takes away what SQLite made for looking; where there is a
    // log, it is left alone, since it may be what a process that ended without closing has left.
    let is_closed = !fs::exists(paths.wal()).map_err(io_error("look at", &paths.wal()))?;
    let open = if is_closed { connect::looking } else { connect::reading };
    let opened = open(path).and_then(|connection| Ok((header(&connection)?, connection)));
    let wal = fs::metadata(paths.wal()).map_or(0, |wal| wal.len());
    let ((application, found), connection) = match opened {
        // Where no files can be made beside it, nobody writes to it either.
        Err(error) if wal == 0 && is_unwritable(&error) => {
            let opened =
                connect::immutable(path).and_then(|connection| Ok((header(&connection)?, connection)));
            // Nor can it be read, and this says so with a name that whoever asked knows.
            opened.map_err(|worse| if is_unwritable(&worse) { error } else { worse })
        }
        opened => opened,
    }
    .map_err(|source| match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => not_a_store("it does not begin as a SQLite database"),
        _ => OpenError::Sqlite { path: path.clone(), source },
    })?;
    if application != APPLICATION {
        return Err(not_a_store("it is empty, or the database of another program"));
    }
    if found > VERSION {
        return Err(OpenError::Newer { path: path.clone(), found });
    }
    Ok(connection)
}

fn is_unwritable(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

/// What the database says of itself: whose it is, and its schema's version.
fn header(connection: &Connection) -> rusqlite::Result<(u32, u32)> {
    let application = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok((application, version))
}
