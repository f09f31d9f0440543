//! Tasks on the store of a directory that is not opened: check and export, also while another process uses the store,
//! compaction, and the import into a new store.

mod check;
mod check_markers;
mod compact;
mod export;
mod export_all;
mod import;
mod import_rows;

use std::fs;
use std::path::Path;

use rusqlite::{Connection, ErrorCode};

use crate::OpenError;
use crate::database::connection::{open_immutable, open_query_only, open_reader};
use crate::database::{APPLICATION_ID, Paths, VERSION, exists};

pub(crate) use check::check;
pub use check::{Progress, Report};
pub use compact::Compacted;
pub(crate) use compact::compact;
pub(crate) use export::{export, rooms};
pub(crate) use export_all::export_all;
pub use import::ImportError;
pub(crate) use import::import;

/// Opens a read-only connection to a store that a process may be using.
///
/// The database is read through SQLite only. If this process has the store open, closing another descriptor of the
/// file would release the store's POSIX locks.
fn connect(dir: &Path) -> Result<Connection, OpenError> {
    let paths = Paths::of(dir);
    let path = &paths.database;
    fs::metadata(path).map_err(OpenError::io("read", path))?;
    // SQLite creates a write-ahead log for the connection. If there was none, the last connection removes it again. If
    // there was one, it stays: a process that crashed may have left it.
    let is_closed = !exists(&paths.wal())?;
    let open = if is_closed { open_query_only } else { open_reader };
    let opened = open(path).and_then(|connection| Ok((Header::read(&connection)?, connection)));
    let has_wal = fs::metadata(paths.wal()).is_ok_and(|wal| wal.len() > 0);
    let (header, connection) = match opened {
        // If no files can be created beside the database, it has no writer either.
        Err(error) if !has_wal && is_unwritable(&error) => {
            let opened =
                open_immutable(path).and_then(|connection| Ok((Header::read(&connection)?, connection)));
            // If that fails as well, the first error names the path as the caller wrote it.
            opened.map_err(|second| if is_unwritable(&second) { error } else { second })
        }
        opened => opened,
    }
    .map_err(|source| match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::not_a_store(path, "the file is not a SQLite database"),
        _ => OpenError::sqlite(path)(source),
    })?;
    if header.application_id != APPLICATION_ID {
        return Err(OpenError::not_a_store(path, "the database is empty or belongs to another program"));
    }
    if header.version > VERSION {
        return Err(OpenError::Newer { path: path.clone(), found: header.version, supported: VERSION });
    }
    Ok(connection)
}

fn is_unwritable(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

struct Header {
    application_id: u32,
    version: u32,
}

impl Header {
    fn read(connection: &Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            application_id: connection.pragma_query_value(None, "application_id", |row| row.get(0))?,
            version: connection.pragma_query_value(None, "user_version", |row| row.get(0))?,
        })
    }
}
