use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension};

use crate::OpenError;
use crate::database::connection::open_index_writer;
use crate::database::{verify_files, with_suffix};
use crate::open::create_dir;
use crate::search::{IndexFormat, format_mismatch, open_or_create};

/// The `application_id` and the version of an index. One of another version is built again.
const FORMAT: IndexFormat = IndexFormat {
    // `chlx` in ASCII.
    application_id: 0x6368_6c78,
    version: 1,
};

// `indexed` is the last position of a room that the index has, and `first` the one below which messages are removed.
// `record` is the id of the room's last record. `places` has the first position of each record, and `gaps` the first
// and the last of some positions that the index was not given. `search` and `must_erase` are those of the index of a
// store.
const SCHEMA: &str = "
    CREATE TABLE source (name TEXT NOT NULL, place INTEGER NOT NULL, must_erase INTEGER NOT NULL) STRICT;
    CREATE TABLE rooms (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, indexed INTEGER NOT NULL,
        first INTEGER NOT NULL, record INTEGER NOT NULL) STRICT;
    CREATE TABLE places (id INTEGER PRIMARY KEY, place INTEGER NOT NULL) STRICT;
    CREATE TABLE gaps (id INTEGER PRIMARY KEY, last INTEGER NOT NULL) STRICT;
    CREATE VIRTUAL TABLE search USING fts5
        (terms, content = '', contentless_delete = 1, tokenize = 'ascii', detail = 'none', prefix = '9 10');
";

/// The files of an index.
#[derive(Debug)]
pub(super) struct IndexFiles {
    pub(super) index: PathBuf,
    pub(super) lock: PathBuf,
}

impl IndexFiles {
    /// Creates the directory if it does not exist. Returns an error if other users can change its files.
    pub(super) fn prepare(dir: &Path, name: &str) -> Result<Self, OpenError> {
        create_dir(dir)?;
        let index = dir.join(format!("{name}.index"));
        let files = ["", "-lock", "-wal", "-shm"].map(|suffix| with_suffix(&index, suffix));
        verify_files(dir, &files)?;
        Ok(Self { lock: with_suffix(&index, "-lock"), index })
    }

    /// Opens the index of a log. Creates it if it is missing, damaged, or of another log.
    pub(super) fn open(&self, source: &str, is_damaged: bool) -> Result<Connection, OpenError> {
        let open = || {
            let connection = open_index_writer(&self.index)?;
            let reason = if is_damaged {
                Some("it is damaged, or differs from the log")
            } else {
                self.mismatch(&connection, source)?
            };
            Ok((connection, reason))
        };
        open_or_create(&self.index, open, || self.create(source))
    }

    fn mismatch(&self, connection: &Connection, source: &str) -> rusqlite::Result<Option<&'static str>> {
        if let Some(reason) = format_mismatch(connection, &self.index, FORMAT)? {
            return Ok(Some(reason));
        }
        let sql = "SELECT name FROM source";
        let found: Option<String> = connection.query_row(sql, (), |row| row.get(0)).optional()?;
        Ok((found.as_deref() != Some(source)).then_some("it belongs to another epoch"))
    }

    fn create(&self, source: &str) -> rusqlite::Result<Connection> {
        let mut connection = open_index_writer(&self.index)?;
        let transaction = connection.transaction()?;
        transaction.execute_batch(SCHEMA)?;
        transaction.execute("INSERT INTO source VALUES (?1, 0, 0)", [source])?;
        FORMAT.set(&transaction)?;
        transaction.commit()?;
        Ok(connection)
    }
}
