use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use rusqlite::ErrorCode;

use crate::OpenError;
use crate::database::connection::{open_immutable, open_reader};
use crate::database::{APPLICATION_ID, FULL_CHECK_LIMIT, Identity, Paths, VERSION};

/// Checks a database without writing to it.
pub(crate) fn verify(paths: &Paths) -> Result<(), OpenError> {
    let path = &paths.database;
    let damaged = |reason: String| OpenError::Damaged { path: path.clone(), reason };
    let has_wal = fs::metadata(paths.wal()).is_ok_and(|wal| wal.len() > 0);
    verify_header(path, has_wal)?;
    let sqlite = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::CannotOpen) => OpenError::sqlite(path)(error),
        _ => damaged(error.to_string()),
    };
    let connection = if has_wal { open_reader(path) } else { open_immutable(path) }.map_err(sqlite)?;
    // The write-ahead log may contain a newer header than the database.
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(sqlite)?;
    if found > VERSION {
        return Err(OpenError::Newer { path: path.clone(), found, supported: VERSION });
    }
    Identity::read(&connection).map_err(sqlite)?;
    if fs::metadata(path).map_or(0, |database| database.len()) <= FULL_CHECK_LIMIT {
        let result: String =
            connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0)).map_err(sqlite)?;
        if result != "ok" {
            return Err(damaged(result.replace('\n', " ")));
        }
    }
    Ok(())
}

fn verify_header(path: &Path, has_wal: bool) -> Result<(), OpenError> {
    let not_a_store = |reason: &str| OpenError::not_a_store(path, reason);
    let mut header = [0; 100];
    let mut file = File::open(path).map_err(OpenError::io("open", path))?;
    let length = file.metadata().map_err(OpenError::io("read", path))?.len();
    if length == 0 {
        return Err(not_a_store("the file is empty"));
    }
    match file.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(not_a_store("the file is too short"));
        }
        read => read.map_err(OpenError::io("read", path))?,
    }
    // Offsets: <https://www.sqlite.org/fileformat.html#the_database_header>
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if !header.starts_with(b"SQLite format 3\0") {
        return Err(not_a_store("the file is not a SQLite database"));
    }
    if number(68) != APPLICATION_ID {
        return Err(not_a_store("the database belongs to another program"));
    }
    if number(60) > VERSION {
        return Err(OpenError::Newer { path: path.to_owned(), found: number(60), supported: VERSION });
    }
    let page_size = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        size => u64::from(size),
    };
    let expected = page_size * u64::from(number(28));
    // With a write-ahead log, the length in the header may be wrong.
    if !has_wal && length < expected {
        let reason = format!("the file has {length} of {expected} bytes");
        return Err(OpenError::Damaged { path: path.to_owned(), reason });
    }
    Ok(())
}
