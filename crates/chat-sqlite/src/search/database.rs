use std::fs;
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OptionalExtension};

use crate::OpenError;
use crate::database::connection::{attach_read_only, open_index_writer, open_reader};
use crate::database::{FULL_CHECK_LIMIT, Identity, Paths, exists, private_file, remove_database};

/// The format of the index.
const FORMAT: IndexFormat = IndexFormat {
    // `chsx` in ASCII.
    application_id: 0x6368_7378,
    version: 3,
};

/// The `application_id` of an index, and the version of its schema and of the folding of texts. An index of another
/// version is built again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexFormat {
    pub(crate) application_id: u32,
    pub(crate) version: u32,
}

// The index contains a room's messages up to `indexed`, without those before `first`. It stores no positions
// (`detail = 'none'`), because they are most of its cost. A term begins with the 8 characters of its room's prefix; so
// the prefix indexes contain the terms of one and of two characters. `must_erase` is 1 while the index may contain terms
// of a message that was deleted.
const SCHEMA: &str = "
    CREATE TABLE source (store TEXT NOT NULL, epoch TEXT NOT NULL, must_erase INTEGER NOT NULL) STRICT;
    CREATE TABLE progress (id INTEGER PRIMARY KEY, indexed INTEGER NOT NULL, first INTEGER NOT NULL) STRICT;
    CREATE VIRTUAL TABLE search USING fts5
        (terms, content = '', contentless_delete = 1, tokenize = 'ascii', detail = 'none', prefix = '9 10');
";

/// Opens the search index of a store, with the messages attached as `chat`.
///
/// An index that is missing, damaged or of another store is created again. The indexer fills it while the store runs.
pub(crate) fn open_index(paths: &Paths, identity: &Identity) -> Result<Connection, OpenError> {
    open_or_create(&paths.index, || open_existing(paths, identity), || create(paths, identity))
}

/// Opens an index, or creates it again if `open` returns the reason why it cannot be used.
pub(crate) fn open_or_create(
    path: &Path,
    open: impl FnOnce() -> rusqlite::Result<(Connection, Option<&'static str>)>,
    create: impl FnOnce() -> rusqlite::Result<Connection>,
) -> Result<Connection, OpenError> {
    if exists(path)? {
        match open() {
            Ok((connection, None)) => return Ok(connection),
            Ok((_, Some(reason))) => {
                tracing::warn!(reason, index = %path.display(), "search index is built again while the store runs");
            }
            Err(error) if is_unusable(&error) => {
                tracing::warn!(reason = %error, index = %path.display(), "search index is built again while the store runs");
            }
            Err(error) => return Err(OpenError::sqlite(path)(error)),
        }
    }
    remove_database(path)?;
    // SQLite gives its other files the permissions of this one.
    private_file().write(true).create_new(true).open(path).map_err(OpenError::io("create", path))?;
    create().map_err(OpenError::sqlite(path))
}

/// Opens an index that no store uses, or returns `None` if it is missing or damaged.
pub(crate) fn open_index_for_compaction(paths: &Paths) -> Result<Option<Connection>, OpenError> {
    if !exists(&paths.index)? {
        return Ok(None);
    }
    let opened = open_index_writer(&paths.index).and_then(|connection| {
        Ok((connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?, connection))
    });
    let (result, connection): (String, _) = match opened {
        Err(error) if is_unusable(&error) => return Ok(None),
        opened => opened.map_err(OpenError::sqlite(&paths.index))?,
    };
    Ok((result == "ok").then_some(connection))
}

/// Opens a connection that searches: it reads the messages, and the index as `idx`.
pub(crate) fn open_search_reader(paths: &Paths) -> rusqlite::Result<Connection> {
    let connection = open_reader(&paths.database)?;
    attach_read_only(&connection, &paths.index, "idx")?;
    Ok(connection)
}

/// Returns `true` if the error shows that the content of a database is damaged.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Returns `true` if the error shows that a file is not an index: a table or a value is not as expected.
fn is_unusable(error: &rusqlite::Error) -> bool {
    is_damage(error) || matches!(error.sqlite_error_code(), None | Some(ErrorCode::Unknown))
}

/// Returns the reason why an index cannot be used: it has another format, or is damaged.
pub(crate) fn format_mismatch(
    connection: &Connection,
    path: &Path,
    format: IndexFormat,
) -> rusqlite::Result<Option<&'static str>> {
    let found = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
    let (application_id, version) = (found("application_id")?, found("user_version")?);
    if (IndexFormat { application_id, version }) != format {
        return Ok(Some("it has another format"));
    }
    if fs::metadata(path).map_or(0, |index| index.len()) <= FULL_CHECK_LIMIT {
        let result: String = connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
        return Ok((result != "ok").then_some("it is damaged"));
    }
    Ok(None)
}

impl IndexFormat {
    /// Records the format in a new index.
    pub(crate) fn set(self, connection: &Connection) -> rusqlite::Result<()> {
        connection.pragma_update(None, "application_id", self.application_id)?;
        connection.pragma_update(None, "user_version", self.version)
    }
}

/// Opens the index, and returns the reason if it cannot be used.
fn open_existing(paths: &Paths, identity: &Identity) -> rusqlite::Result<(Connection, Option<&'static str>)> {
    let connection = open_index_writer(&paths.index)?;
    if let Some(reason) = format_mismatch(&connection, &paths.index, FORMAT)? {
        return Ok((connection, Some(reason)));
    }
    let source: Option<(String, String)> = connection
        .query_row("SELECT store, epoch FROM source", (), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if source.is_none_or(|(store, epoch)| store != identity.store || epoch != identity.epoch) {
        return Ok((connection, Some("it belongs to another epoch")));
    }
    attach_read_only(&connection, &paths.database, "chat")?;
    let sql = "SELECT count(*) FROM progress p JOIN chat.rooms r ON r.id = p.id WHERE p.indexed > r.head";
    let ahead: u64 = connection.query_row(sql, (), |row| row.get(0))?;
    Ok((connection, (ahead > 0).then_some("it has messages that the store does not have")))
}

fn create(paths: &Paths, identity: &Identity) -> rusqlite::Result<Connection> {
    let mut connection = open_index_writer(&paths.index)?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    transaction.execute("INSERT INTO source VALUES (?1, ?2, 0)", (&identity.store, &identity.epoch))?;
    FORMAT.set(&transaction)?;
    transaction.commit()?;
    attach_read_only(&connection, &paths.database, "chat")?;
    Ok(connection)
}
