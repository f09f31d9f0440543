//! The messages that are stored in the order of their arrival, until they are moved to the tables ordered by room.

use std::collections::{BTreeMap, BTreeSet};

use chat_core::RoomName;
use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, ffi};

use super::row::room_of;

/// The rooms whose staged messages cannot be moved, because their tables are damaged. They take no writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StuckRooms {
    /// Their names by their ids, `None` for a name that could not be read.
    names: BTreeMap<i64, Option<RoomName>>,
}

/// The messages that were moved.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    /// The ids of their rooms.
    pub(crate) rooms: BTreeSet<i64>,
    /// Bytes of their frames.
    pub(crate) bytes: usize,
}

/// A row of the table `staged`: the columns of `messages`, then those of a key.
struct StagedRow {
    id: i64,
    message: [Value; 5],
    key: [Value; 3],
}

impl StuckRooms {
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Returns `true` if the room with this id is one of them.
    pub(crate) fn contains_id(&self, room: i64) -> bool {
        self.names.contains_key(&room)
    }

    /// Returns `true` if each of these rooms is one of `others`.
    pub(crate) fn are_among(&self, others: &Self) -> bool {
        self.names.keys().all(|room| others.contains_id(*room))
    }

    /// Returns `true` if the room with this name is one of them, as far as their names are known.
    pub(crate) fn contains_known(&self, room: &RoomName) -> bool {
        self.names.values().flatten().any(|name| name == room)
    }

    /// Returns `true` if the room with this name is one of them.
    ///
    /// A name that could not be read once may be readable now. A message that such a room took without its staged ones
    /// could be one that it has already.
    pub(crate) fn contains(&self, transaction: &Transaction<'_>, room: &RoomName) -> rusqlite::Result<bool> {
        if self.contains_known(room) || self.names.values().all(Option::is_some) {
            return Ok(self.contains_known(room));
        }
        let mut select = transaction.prepare_cached("SELECT id FROM rooms WHERE name = ?1")?;
        let id: Option<i64> = select.query_row([room.as_str()], |row| row.get(0)).optional()?;
        Ok(id.is_some_and(|id| self.contains_id(id)))
    }

    /// Logs the rooms that were not among these rooms before, and those that are no longer among them.
    pub(crate) fn log_changes(&self, before: &Self) {
        for room in self.names.keys().filter(|room| !before.contains_id(**room)) {
            tracing::error!(
                room,
                "room damaged: its new messages are not in its table, and it takes no writes"
            );
        }
        for room in before.names.keys().filter(|room| !self.contains_id(**room)) {
            tracing::info!(room, "room takes writes again: its new messages are in its table");
        }
    }

    /// Returns the ids as a JSON array.
    fn ids(&self) -> String {
        let ids: Vec<_> = self.names.keys().map(ToString::to_string).collect();
        format!("[{}]", ids.join(","))
    }
}

impl StagedRow {
    fn frame_bytes(&self) -> usize {
        match &self.message[2] {
            Value::Blob(frame) => frame.len(),
            // The table takes only blobs.
            _ => 0,
        }
    }
}

/// Moves all staged messages and their keys, but not those of the rooms in `stuck`. A room whose messages cannot be
/// moved, because its pages are damaged, is added to `stuck`: they stay where they are, and can be read.
///
/// The transaction must have written nothing yet: another one takes its place for each damaged room, because SQLite
/// either ends a transaction that has met damage, or lets it write nothing more.
pub(crate) fn move_staged(transaction: &Transaction<'_>, stuck: &mut StuckRooms) -> rusqlite::Result<Moved> {
    loop {
        let rows = take_staged(transaction, stuck)?;
        match insert(transaction, &rows)? {
            None => {
                let rooms = rows.iter().map(|row| room_of(row.id)).collect();
                let bytes = rows.iter().map(StagedRow::frame_bytes).sum();
                return Ok(Moved { rooms, bytes });
            }
            Some((room, error)) if is_damage(&error) => {
                stuck.names.insert(room, room_name(transaction, room));
                if !transaction.is_autocommit() {
                    transaction.execute_batch("ROLLBACK")?;
                }
                transaction.execute_batch("BEGIN IMMEDIATE")?;
            }
            Some((_, error)) => return Err(error),
        }
    }
}

/// Moves the messages that an earlier process has staged. Returns the rooms whose messages cannot be moved.
pub(crate) fn move_left(connection: &mut Connection) -> rusqlite::Result<StuckRooms> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut stuck = StuckRooms::default();
    if transaction.query_row("SELECT EXISTS (SELECT 1 FROM staged)", (), |row| row.get(0))? {
        move_staged(&transaction, &mut stuck)?;
        transaction.commit()?;
    }
    stuck.log_changes(&StuckRooms::default());
    Ok(stuck)
}

/// Removes the staged messages, but not those of the rooms in `stuck`, and returns them in the order of their ids.
fn take_staged(transaction: &Transaction<'_>, stuck: &StuckRooms) -> rusqlite::Result<Vec<StagedRow>> {
    let sql = "SELECT id, at, sum, frame, guest, connection, slot, open_ms, digest FROM staged";
    let mut select = transaction.prepare_cached(sql)?;
    let mut rows = select.query(())?;
    let mut taken = Vec::new();
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        if !stuck.contains_id(room_of(id)) {
            let message = [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?];
            taken.push(StagedRow { id, message, key: [row.get(6)?, row.get(7)?, row.get(8)?] });
        }
    }
    // The pages that this frees become pages of the other tables, so that each is written once.
    if stuck.is_empty() {
        // Without a condition, SQLite frees the pages without a look at each row.
        transaction.prepare_cached("DELETE FROM staged")?.execute(())?;
    } else {
        let sql = "DELETE FROM staged WHERE id >> 36 NOT IN (SELECT value FROM json_each(?1))";
        transaction.prepare_cached(sql)?.execute([stuck.ids()])?;
    }
    taken.sort_unstable_by_key(|row| row.id);
    Ok(taken)
}

/// Adds messages and their keys to the tables of their rooms. Returns the first room whose tables do not take one, with
/// the error.
fn insert(
    transaction: &Transaction<'_>,
    rows: &[StagedRow],
) -> rusqlite::Result<Option<(i64, rusqlite::Error)>> {
    let mut insert_message = transaction.prepare_cached(
        "INSERT INTO messages (id, at, sum, frame, guest, connection) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let mut insert_key = transaction
        .prepare_cached("INSERT INTO keys (id, at, slot, open_ms, digest) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for row in rows {
        let StagedRow { id, message: [at, sum, frame, guest, connection], key: [slot, open_ms, digest] } =
            row;
        let mut inserted = insert_message.execute((id, at, sum, frame, guest, connection));
        if inserted.is_ok() && *slot != Value::Null {
            inserted = insert_key.execute((id, at, slot, open_ms, digest));
        }
        if let Err(error) = inserted {
            return Ok(Some((room_of(*id), error)));
        }
    }
    Ok(None)
}

/// Returns the name of a room, or `None` if it cannot be read.
fn room_name(transaction: &Transaction<'_>, room: i64) -> Option<RoomName> {
    let mut name = transaction.prepare_cached("SELECT name FROM rooms WHERE id = ?1").ok()?;
    let name: String = name.query_row([room], |row| row.get(0)).ok()?;
    name.parse().ok()
}

/// Returns `true` if the error may be that of some pages only.
fn is_damage(error: &rusqlite::Error) -> bool {
    let Some(error) = error.sqlite_error() else { return false };
    match error.code {
        ErrorCode::DatabaseCorrupt | ErrorCode::ConstraintViolation | ErrorCode::Unknown => true,
        // A page that cannot be written may be one of any room. SQLite reports EIO of a read as a corrupt page.
        ErrorCode::SystemIoFailure => matches!(
            error.extended_code,
            ffi::SQLITE_IOERR_READ | ffi::SQLITE_IOERR_SHORT_READ | ffi::SQLITE_IOERR_DATA
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tempfile::TempDir;

    use super::*;
    use crate::Durability;
    use crate::database::connection::{checkpoint, open_writer};
    use crate::database::migrate;
    use crate::database::row::message_id;

    const ROOMS: i64 = 64;

    /// Bytes of a page in the write-ahead log.
    const FRAME: u64 = 4_096 + 24;

    /// Returns a database in a directory of its own.
    fn database() -> (TempDir, Connection) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("chat.db");
        let created = Connection::open(&path).and_then(|mut created| migrate(&mut created));
        created.expect("a database");
        let connection = open_writer(&path, Durability::Process, Duration::ZERO).expect("a connection");
        (dir, connection)
    }

    #[test]
    fn a_room_whose_name_could_not_be_read_takes_no_writes() {
        let (_dir, mut connection) = database();
        // No room has the first name.
        let damaged =
            "INSERT INTO rooms (id, name, head, first, keys) VALUES (1, '?', 1, 1, 0), (2, 'hall', 0, 1, 0);
            INSERT INTO staged (id, at, sum, frame) VALUES ((1 << 36) + 1, 1, 1, x'7b7d');
            CREATE TRIGGER fail BEFORE INSERT ON messages BEGIN SELECT RAISE(ABORT, 'damaged'); END";
        connection.execute_batch(damaged).expect("executed");
        let stuck = move_left(&mut connection).expect("opened");
        connection.execute_batch("UPDATE rooms SET name = 'lobby' WHERE id = 1").expect("executed");
        let transaction = connection.transaction().expect("a transaction");
        for (room, is_stuck) in [("lobby", true), ("hall", false), ("new", false)] {
            let room = room.parse().expect("a name");
            assert_eq!(stuck.contains(&transaction, &room), Ok(is_stuck), "{room}");
        }
    }

    /// The pages of the staged messages must not be written empty, and then again with moved messages.
    #[test]
    fn a_move_writes_the_pages_of_the_staged_messages_once() {
        let (dir, mut connection) = database();
        let mut frames = 0;
        for round in 0..4_u64 {
            let staged = connection.transaction().expect("a transaction");
            for nth in 0..16 {
                for room in 1..=ROOMS {
                    let id = message_id(room, round * 16 + nth + 1);
                    let sql = "INSERT INTO staged (id, at, sum, frame) VALUES (?1, 1, 1, zeroblob(300))";
                    staged.prepare_cached(sql).and_then(|mut insert| insert.execute([id])).expect("staged");
                }
            }
            staged.commit().expect("committed");
            assert_eq!(checkpoint(&connection), Ok(true));
            let moved = move_left(&mut connection).expect("moved");
            assert!(moved.is_empty());
            let log = std::fs::metadata(dir.path().join("chat.db-wal")).expect("a log");
            frames = log.len() / FRAME;
        }
        let count = |table| {
            let sql = format!("SELECT count(*) FROM {table}");
            connection.query_row(&sql, (), |row| row.get::<_, i64>(0)).expect("counted")
        };
        assert_eq!((count("staged"), count("messages")), (0, 64 * ROOMS));
        assert!(frames < 300, "{frames} frames");
    }
}
