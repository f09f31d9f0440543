use chat_core::{RoomName, User};
use chat_proto::user_record;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction};
use serde::{Deserialize, Serialize};

use super::connection::{open_writer, set_durability};
use super::row::checksum;
use super::{Paths, exists, private_file, remove_database};
use crate::{Durability, OpenError, Options};

/// The `application_id` of the list: `cher` in ASCII.
const APPLICATION_ID: u32 = 0x6368_6572;

/// The version of [`SCHEMA`].
const VERSION: u32 = 1;

/// Deletions that the list keeps. The oldest are forgotten first.
const MAX_DELETIONS: i64 = 1_000_000;

// `commits` is the number of the commit that contains the deletion. `at` is the time of the message, which tells it
// from a later message at the same position. The list has no text of a message.
const SCHEMA: &str = "
    CREATE TABLE source (store TEXT NOT NULL) STRICT;
    CREATE TABLE deletions (
        id INTEGER PRIMARY KEY,
        commits INTEGER NOT NULL,
        room TEXT NOT NULL,
        seq INTEGER NOT NULL,
        sum INTEGER NOT NULL,
        deletion BLOB NOT NULL
    ) STRICT;
";

/// The deletion of a message, or of all messages of a user in a range.
#[derive(Clone, Debug)]
pub(crate) struct Deletion {
    pub(crate) room: RoomName,
    /// The position of the message, or of the last one of a purge.
    pub(crate) seq: u64,
    /// The time of the message, or of the purge, in milliseconds since the Unix epoch.
    pub(crate) at: u64,
    /// The user who has deleted it.
    pub(crate) by: User,
    /// `None` for the deletion of one message.
    pub(crate) purged: Option<PurgedRange>,
}

/// The messages of an entry of a purge.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PurgedRange {
    /// The id of the author.
    pub(crate) user: String,
    /// The position of the first message.
    pub(crate) from: u64,
}

/// The content of the column `deletion`, which has a checksum.
#[derive(Serialize, Deserialize)]
struct Record {
    at: u64,
    #[serde(with = "user_record")]
    by: User,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    purged: Option<PurgedRange>,
}

/// The deletions of a store, in a database of their own beside that of the rooms.
///
/// A backup of the rooms contains messages that were deleted after it. When the backup is restored, the deletions of
/// the list are applied to it again.
#[derive(Debug)]
pub(crate) struct ErasureList(Connection);

impl ErasureList {
    /// Opens the list of a store. Creates it if it is missing, damaged or of another store.
    pub(crate) fn open(paths: &Paths, store: &str, options: &Options) -> Result<Self, OpenError> {
        let path = &paths.erasures;
        if exists(path)? {
            let reason = match open_existing(paths, store, options) {
                Ok(Ok(connection)) => return Ok(Self(connection)),
                Ok(Err(reason)) => reason.to_owned(),
                Err(error) if is_damage(&error) => error.to_string(),
                Err(error) => return Err(OpenError::sqlite(path)(error)),
            };
            tracing::warn!(
                reason, list = %path.display(),
                "erasure list begins again; a restored backup may contain messages that were deleted after it"
            );
            remove_database(path)?;
        }
        // SQLite gives its other files the permissions of this one.
        private_file().write(true).create_new(true).open(path).map_err(OpenError::io("create", path))?;
        create(paths, store, options).map(Self).map_err(OpenError::sqlite(path))
    }

    pub(crate) fn set_durability(&self, durability: Durability) -> rusqlite::Result<()> {
        set_durability(&self.0, durability)
    }

    /// Adds deletions that a transaction of the store is about to commit, and waits for the disk as a commit does.
    pub(crate) fn add(
        &mut self,
        transaction: &Transaction<'_>,
        deletions: &[Deletion],
    ) -> rusqlite::Result<()> {
        let before: u64 =
            transaction.prepare_cached("SELECT commits FROM store")?.query_row((), |row| row.get(0))?;
        let list = self.0.transaction()?;
        for Deletion { room, seq, at, by, purged } in deletions {
            let record = Record { at: *at, by: by.clone(), purged: purged.clone() };
            let record = serde_json::to_vec(&record).expect("texts and numbers are always JSON");
            let sum = checksum(room, *seq, &record);
            list.prepare_cached(
                "INSERT INTO deletions (commits, room, seq, sum, deletion) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute((before + 1, room.as_str(), seq, sum, record))?;
        }
        let newest = list.last_insert_rowid();
        list.prepare_cached("DELETE FROM deletions WHERE id <= ?1")?.execute([newest - MAX_DELETIONS])?;
        list.commit()
    }

    /// Returns the number of the newest commit with a deletion, 0 if there is none.
    pub(crate) fn newest_commit(&self) -> rusqlite::Result<u64> {
        let sql = "SELECT commits FROM deletions ORDER BY id DESC LIMIT 1";
        Ok(self.0.query_row(sql, (), |row| row.get(0)).optional()?.unwrap_or_default())
    }

    /// Reads up to `limit` deletions that are in later commits than `commits`, after the entry `id`. Returns the entry
    /// to continue after, `None` at the end. A damaged deletion is left out.
    pub(crate) fn after(
        &self,
        commits: u64,
        id: i64,
        limit: usize,
    ) -> rusqlite::Result<(Vec<Deletion>, Option<i64>)> {
        let sql = "SELECT id, room, seq, sum, deletion FROM deletions
                   WHERE id > ?1 AND commits > ?2 ORDER BY id LIMIT ?3";
        let mut statement = self.0.prepare_cached(sql)?;
        let mut rows = statement.query((id, commits, limit))?;
        let (mut deletions, mut last, mut count) = (Vec::new(), None, 0);
        while let Some(row) = rows.next()? {
            (last, count) = (Some(row.get(0)?), count + 1);
            let (room, seq, sum): (String, u64, i64) = (row.get(1)?, row.get(2)?, row.get(3)?);
            let record = row.get_ref(4)?.as_blob().unwrap_or_default();
            let Ok(room) = room.parse::<RoomName>() else { continue };
            if checksum(&room, seq, record) != sum {
                continue;
            }
            let record = serde_json::from_slice(record);
            let record: Option<Record> = record.ok();
            deletions.extend(record.map(|Record { at, by, purged }| Deletion { room, seq, at, by, purged }));
        }
        Ok((deletions, last.filter(|_| count == limit)))
    }
}

fn open_existing(
    paths: &Paths,
    store: &str,
    options: &Options,
) -> rusqlite::Result<Result<Connection, &'static str>> {
    let connection = open_writer(&paths.erasures, Durability::Disk, options.lock_wait)?;
    let found = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
    if (found("application_id")?, found("user_version")?) != (APPLICATION_ID, VERSION) {
        return Ok(Err("it has another format"));
    }
    let source: Option<String> =
        connection.query_row("SELECT store FROM source", (), |row| row.get(0)).optional()?;
    if source.is_none_or(|source| source != store) {
        return Ok(Err("it belongs to another store"));
    }
    let result: String = connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
    Ok(if result == "ok" { Ok(connection) } else { Err("it is damaged") })
}

fn create(paths: &Paths, store: &str, options: &Options) -> rusqlite::Result<Connection> {
    let mut connection = open_writer(&paths.erasures, Durability::Disk, options.lock_wait)?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    transaction.execute("INSERT INTO source VALUES (?1)", [store])?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(connection)
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        None | Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown)
    )
}
