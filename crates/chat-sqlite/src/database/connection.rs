//! Connections to the database and their settings.

use std::path::Path;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, ffi};

use crate::Durability;

/// Time that a reader waits for a lock of another program. In WAL mode this is rare.
const READ_LOCK_WAIT: Duration = Duration::from_secs(1);

/// Pages in the write-ahead log that start a checkpoint, 16 MiB. A page that is written several times in between is
/// copied to the database once.
pub(crate) const CHECKPOINT_PAGES: u64 = 4_096;

/// Size at which a checkpoint truncates the write-ahead log, in bytes.
const WAL_LIMIT: i64 = 64 * 1024 * 1024;

/// Page cache of the writer in KiB. It contains the last page of each of many rooms.
const WRITER_CACHE: i64 = 16 * 1024;

/// SQLite needs no mutex, because `Connection` is not `Sync`.
const NO_MUTEX: OpenFlags = OpenFlags::SQLITE_OPEN_NO_MUTEX;

/// Opens a connection on which the schema of a database that someone else has prepared is not trusted: its views and
/// triggers call no unsafe function, and no statement writes to internal tables.
fn open_hardened(path: impl AsRef<Path>, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // Otherwise SQLite compiles a statement with a range of ids again each time that it gets other ids.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

/// Opens a connection that writes to an existing database.
pub(crate) fn open_writer(
    database: &Path,
    durability: Durability,
    lock_wait: Duration,
) -> rusqlite::Result<Connection> {
    let connection = open_hardened(database, OpenFlags::SQLITE_OPEN_READ_WRITE | NO_MUTEX)?;
    // Without write permission SQLite opens the database read-only instead of failing.
    if connection.is_readonly(rusqlite::MAIN_DB)? {
        let reason = "the database is read-only: change its permissions or those of its disk".to_owned();
        return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CANTOPEN), Some(reason)));
    }
    connection.busy_timeout(lock_wait)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    set_durability(&connection, durability)?;
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "journal_size_limit", WAL_LIMIT)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Opens a connection that writes to the search index.
pub(crate) fn open_index_writer(index: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_URI | NO_MUTEX;
    let connection = open_hardened(uri(index), flags)?;
    connection.busy_timeout(READ_LOCK_WAIT)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // After a power failure the index may lack the newest messages. They are then indexed again.
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "journal_size_limit", WAL_LIMIT)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE)?;
    Ok(connection)
}

/// Attaches a database to read it.
pub(crate) fn attach_read_only(connection: &Connection, path: &Path, name: &str) -> rusqlite::Result<()> {
    connection.execute(&format!("ATTACH ?1 AS {name}"), [format!("{}?mode=ro", uri(path))])?;
    Ok(())
}

fn uri(path: &Path) -> String {
    let escaped = percent_encode(path.as_os_str().as_encoded_bytes(), NON_ALPHANUMERIC).to_string();
    format!("file:{}", escaped.replace("%2F", "/"))
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
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | NO_MUTEX;
    let connection = open_hardened(uri(database), flags)?;
    connection.busy_timeout(READ_LOCK_WAIT)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.set_prepared_statement_cache_capacity(16);
    Ok(connection)
}

/// Opens a connection that only reads. The last such connection to close removes the files beside the database.
pub(crate) fn open_query_only(database: &Path) -> rusqlite::Result<Connection> {
    let connection = open_hardened(database, OpenFlags::SQLITE_OPEN_READ_WRITE | NO_MUTEX)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.busy_timeout(READ_LOCK_WAIT)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    Ok(connection)
}

/// Opens a connection to a database without writers and without a write-ahead log. It creates no files.
pub(crate) fn open_immutable(database: &Path) -> rusqlite::Result<Connection> {
    let uri = format!("{}?immutable=1", uri(database));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | NO_MUTEX;
    open_hardened(uri, flags)
}

/// Copies the write-ahead log into the database and synchronizes the disk. Returns `false` if a reader prevents it.
pub(crate) fn checkpoint(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA main.wal_checkpoint(truncate)", (), |row| Ok(row.get::<_, i64>(0)? == 0))
}

/// Returns the bytes of the pages of a database that contain data.
pub(crate) fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let number = |name| connection.pragma_query_value(Some("main"), name, |row| row.get::<_, u64>(0));
    Ok((number("page_count")? - number("freelist_count")?) * number("page_size")?)
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn no_statement_is_compiled_again_for_other_values() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("chat.db");
        let schema = "PRAGMA journal_mode = wal; CREATE TABLE t (id INTEGER PRIMARY KEY);";
        Connection::open(&path).and_then(|created| created.execute_batch(schema)).expect("a database");
        for connection in [open_writer(&path, Durability::Disk, Duration::ZERO), open_reader(&path)] {
            let connection = connection.expect("a connection");
            let sql = "SELECT id FROM t WHERE id > ?1 AND id <= ?2 ORDER BY id DESC LIMIT 1";
            let mut statement = connection.prepare(sql).expect("a statement");
            for last in 1..4 {
                assert_eq!(statement.exists((0, last)), Ok(false));
            }
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
        }
    }

    #[test]
    fn no_connection_trusts_the_schema_or_writes_to_internal_tables() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("chat.db");
        let schema = "PRAGMA journal_mode = wal; CREATE VIRTUAL TABLE t USING fts5 (a);";
        Connection::open(&path).and_then(|created| created.execute_batch(schema)).expect("a database");
        let connections = [
            open_writer(&path, Durability::Disk, Duration::ZERO),
            open_reader(&path),
            open_query_only(&path),
            open_immutable(&path),
        ];
        for (n, connection) in connections.into_iter().enumerate() {
            let connection = connection.expect("a connection");
            let trusted = connection.pragma_query_value(None, "trusted_schema", |row| row.get(0));
            assert_eq!(trusted, Ok(0), "{n}");
            let write = connection.execute("DELETE FROM t_config", ()).expect_err("an internal table");
            assert!(write.to_string().contains("may not be modified"), "{n}: {write}");
        }
    }
}
