use std::path::Path;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, OpenFlags, ffi};

use crate::Durability;

/// How long a read waits for another program, which it hardly ever has to.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// Pages in the write-ahead log before they are brought into the database, 16 MiB: a page written again meanwhile is
/// brought there once.
const CHECKPOINT: i64 = 4_096;

/// A connection is in one thread at a time, as its type sees to: it needs no lock around every step.
const UNSHARED: OpenFlags = OpenFlags::SQLITE_OPEN_NO_MUTEX;

/// KiB of pages that the writer remembers: where each of many rooms ends.
const CACHE: i64 = 16 * 1024;

/// A connection that writes to a database that is there.
pub(crate) fn writing(
    database: &Path,
    durability: Durability,
    lock_wait: Duration,
) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE | UNSHARED)?;
    // SQLite makes do with reading where it may not write.
    if connection.is_readonly(rusqlite::MAIN_DB)? {
        let why = "it can be read, but not written to".to_owned();
        return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CANTOPEN), Some(why)));
    }
    connection.busy_timeout(lock_wait)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    set_durability(&connection, durability)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT)?;
    connection.pragma_update(None, "cache_size", -CACHE)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

pub(crate) fn set_durability(connection: &Connection, durability: Durability) -> rusqlite::Result<()> {
    let synchronous = match durability {
        Durability::Disk => "full",
        Durability::Process => "normal",
    };
    connection.pragma_update(None, "synchronous", synchronous)
}

/// A connection that only reads.
pub(crate) fn reading(database: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY | UNSHARED)?;
    connection.busy_timeout(LOCK_WAIT)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.set_prepared_statement_cache_capacity(16);
    Ok(connection)
}

/// A connection that only reads, and that removes the files beside a database if it is the last to close it.
pub(crate) fn looking(database: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE | UNSHARED)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.busy_timeout(LOCK_WAIT)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    Ok(connection)
}

/// A connection to a database that nobody writes to and that has no write-ahead log: it makes no files.
pub(crate) fn immutable(path: &Path) -> rusqlite::Result<Connection> {
    let escaped = percent_encode(path.as_os_str().as_encoded_bytes(), NON_ALPHANUMERIC).to_string();
    let uri = format!("file:{}?immutable=1", escaped.replace("%2F", "/"));
    Connection::open_with_flags(uri, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | UNSHARED)
}
