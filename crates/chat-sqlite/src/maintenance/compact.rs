use std::fs;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use crate::database::connection::{checkpoint, open_immutable, open_writer};
use crate::database::{
    FileLock, Identity, Paths, exists, private_file, remove_database, sync_dir, verify_access, with_suffix,
};
use crate::open::verify;
use crate::search::open_index_for_compaction;
use crate::{Durability, OpenError};

/// Time to wait for a program that has locked the database.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// The result of [`SqliteStore::compact`](crate::SqliteStore::compact).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compacted {
    /// Bytes of the files before.
    pub bytes_before: u64,
    /// Bytes of the files after.
    pub bytes_after: u64,
}

/// The content that a compaction must keep.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    identity: Identity,
    /// Numbers of rooms, messages, keys, changes, reactions, rules and standings, and sums of the rooms' positions.
    counts: Vec<u64>,
}

pub(crate) fn compact(dir: &Path) -> Result<Compacted, OpenError> {
    let paths = Paths::of(dir);
    fs::metadata(&paths.database).map_err(OpenError::io("read", &paths.database))?;
    verify_access(&paths)?;
    let _lock = FileLock::acquire(&paths.lock)?;
    verify(&paths)?;
    let bytes_before = file_bytes(&paths);
    let copy = with_suffix(&paths.database, ".compact");
    remove(&copy)?;
    // SQLite writes into an empty file, and keeps its permissions.
    private_file().write(true).create_new(true).open(&copy).map_err(OpenError::io("create", &copy))?;
    let replaced = copy_into(&paths, &copy).and_then(|()| replace(&paths, &copy));
    if replaced.is_err() {
        // The store itself is unchanged.
        let _removed = fs::remove_file(&copy);
    }
    replaced?;
    compact_index(&paths)?;
    Ok(Compacted { bytes_before, bytes_after: file_bytes(&paths) })
}

/// Copies the content of the database without its free pages, and checks the copy.
fn copy_into(paths: &Paths, copy: &Path) -> Result<(), OpenError> {
    let path = &paths.database;
    let sqlite = OpenError::sqlite(path);
    let damaged = |reason: String| OpenError::Damaged { path: path.clone(), reason };
    let connection = open_writer(path, Durability::Disk, LOCK_WAIT).map_err(&sqlite)?;
    let result: String =
        connection.query_row("PRAGMA integrity_check(1)", (), |row| row.get(0)).map_err(&sqlite)?;
    if result != "ok" {
        return Err(damaged(result.replace('\n', " ")));
    }
    let summary = Summary::read(&connection).map_err(&sqlite)?;
    // A write-ahead log that remains beside the database would be applied to the copy.
    if !checkpoint(&connection).map_err(&sqlite)? {
        return Err(OpenError::InUse(path.clone()));
    }
    let target = copy.to_str().ok_or_else(|| damaged("its path is not UTF-8".to_owned()))?;
    connection.execute("VACUUM INTO ?1", [target]).map_err(&sqlite)?;
    connection.close().map_err(|(_, error)| sqlite(error))?;
    let compacted = open_immutable(copy).map_err(OpenError::sqlite(copy))?;
    let result: String = compacted
        .query_row("PRAGMA integrity_check(1)", (), |row| row.get(0))
        .map_err(OpenError::sqlite(copy))?;
    if result != "ok" || Summary::read(&compacted).map_err(OpenError::sqlite(copy))? != summary {
        return Err(damaged("its copy differs from it".to_owned()));
    }
    Ok(())
}

fn replace(paths: &Paths, copy: &Path) -> Result<(), OpenError> {
    if fs::metadata(paths.wal()).is_ok_and(|wal| wal.len() > 0) {
        return Err(OpenError::InUse(paths.wal()));
    }
    let replace = || {
        fs::File::open(copy)?.sync_all()?;
        fs::rename(copy, &paths.database)?;
        sync_dir(&paths.dir)
    };
    replace().map_err(OpenError::io("replace", &paths.database))
}

/// Compacts the search index. An index that is damaged is removed: the next start builds it again.
fn compact_index(paths: &Paths) -> Result<(), OpenError> {
    let Some(connection) = open_index_for_compaction(paths)? else { return remove_database(&paths.index) };
    let compact = || {
        connection.execute("INSERT INTO search (search) VALUES ('optimize')", ())?;
        connection.execute_batch("PRAGMA temp_store = file; VACUUM")?;
        checkpoint(&connection)
    };
    compact().map(|_| ()).map_err(OpenError::sqlite(&paths.index))
}

fn remove(path: &Path) -> Result<(), OpenError> {
    if exists(path)? { fs::remove_file(path).map_err(OpenError::io("remove", path)) } else { Ok(()) }
}

fn file_bytes(paths: &Paths) -> u64 {
    let files = [&paths.database, &paths.index];
    let files = files.into_iter().flat_map(|path| ["", "-wal"].map(|suffix| with_suffix(path, suffix)));
    files.filter_map(|file| fs::metadata(file).ok()).map(|file| file.len()).sum()
}

impl Summary {
    fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let sql = "SELECT count(*), coalesce(sum(head), 0), coalesce(sum(first), 0),
            (SELECT count(*) FROM all_messages), (SELECT count(*) FROM all_keys), (SELECT reserved_seq FROM store),
            (SELECT count(*) FROM changes), (SELECT count(*) FROM reactions), (SELECT count(*) FROM rules),
            (SELECT count(*) FROM standings) FROM rooms";
        let counts = connection.query_row(sql, (), |row| (0..10).map(|column| row.get(column)).collect())?;
        Ok(Self { identity: Identity::read(connection)?, counts })
    }
}
