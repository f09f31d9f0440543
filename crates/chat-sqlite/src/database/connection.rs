//! Connections to the database and their settings.

use std::path::Path;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, OpenFlags, ffi};

use crate::Durability;

/// Time that a reader waits for a lock of another program. In WAL mode this is rare.
const READ_LOCK_WAIT: Duration = Duration::from_secs(1);

/// Pages in the write-ahead log that start a checkpoint, 16 MiB. A page that is written several times in between is
/// copied to the database once.
const CHECKPOINT_PAGES: i64 = 4_096;

/// Size at which a checkpoint truncates the write-ahead log, in bytes.
const WAL_LIMIT: i64 = 64 * 1024 * 1024;

/// Page cache of the writer in KiB. It contains the last page of each of many rooms.
const WRITER_CACHE: i64 = 16 * 1024;

/// SQLite needs no mutex, because `Connection` is not `Sync`.
const NO_MUTEX: OpenFlags = OpenFlags::SQLITE_OPEN_NO_MUTEX;

/// Opens a connection that writes to an existing database.
pub(crate) fn open_writer(
    database: &Path,
    durability: Durability,
    lock_wait: Duration,
) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE | NO_MUTEX)?;
    // Without write permission SQLite opens the database read-only instead of failing.
    if connection.is_readonly(rusqlite::MAIN_DB)? {
        let reason = "the database is read-only: change its permissions or those of its disk".to_owned();
        return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CANTOPEN), Some(reason)));
    }
    connection.busy_timeout(lock_wait)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    set_durability(&connection, durability)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "journal_size_limit", WAL_LIMIT)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE)?;
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

/// Opens a connection that only reads.
pub(crate) fn open_reader(database: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY | NO_MUTEX)?;
    connection.busy_timeout(READ_LOCK_WAIT)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.set_prepared_statement_cache_capacity(16);
    Ok(connection)
}

/// Opens a connection that only reads. The last such connection to close removes the files beside the database.
pub(crate) fn open_query_only(database: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE | NO_MUTEX)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.busy_timeout(READ_LOCK_WAIT)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    Ok(connection)
}

/// Opens a connection to a database without writers and without a write-ahead log. It creates no files.
pub(crate) fn open_immutable(database: &Path) -> rusqlite::Result<Connection> {
    let escaped = percent_encode(database.as_os_str().as_encoded_bytes(), NON_ALPHANUMERIC).to_string();
    let uri = format!("file:{}?immutable=1", escaped.replace("%2F", "/"));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | NO_MUTEX;
    Connection::open_with_flags(uri, flags)
}

/// Copies the write-ahead log into the database and synchronizes the disk. Returns `false` if a reader prevents it.
pub(crate) fn checkpoint(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA wal_checkpoint(truncate)", (), |row| Ok(row.get::<_, i64>(0)? == 0))
}
