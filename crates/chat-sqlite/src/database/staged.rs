//! The messages that are stored in the order of their arrival, until they are moved to the tables ordered by room.

use std::collections::BTreeSet;

use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use super::row::message_id;

/// The ids of all messages.
const ALL: (i64, i64) = (0, i64::MAX);

/// Moves all staged messages and their keys, but not those of the rooms in `stuck`. A room whose messages cannot be
/// moved, because its pages are damaged, is added to `stuck`: they stay where they are, and can be read.
pub(crate) fn move_staged(transaction: &Transaction<'_>, stuck: &mut BTreeSet<i64>) -> rusqlite::Result<()> {
    if attempt(transaction, ALL, stuck)? {
        return Ok(());
    }
    for room in staged_rooms(transaction)?.difference(&stuck.clone()) {
        let range = (message_id(*room, 0), message_id(*room, u64::MAX));
        if !attempt(transaction, range, stuck)? {
            tracing::error!(
                room,
                "room damaged: its new messages are not in its table, and it takes no writes"
            );
            stuck.insert(*room);
        }
    }
    Ok(())
}

/// Moves the messages that an earlier process has staged. Returns the rooms whose messages cannot be moved.
pub(crate) fn move_left(connection: &mut Connection) -> rusqlite::Result<BTreeSet<i64>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut stuck = BTreeSet::new();
    if transaction.query_row("SELECT EXISTS (SELECT 1 FROM staged)", (), |row| row.get(0))? {
        move_staged(&transaction, &mut stuck)?;
        transaction.commit()?;
    }
    Ok(stuck)
}

fn staged_rooms(transaction: &Transaction<'_>) -> rusqlite::Result<BTreeSet<i64>> {
    let mut rooms = transaction.prepare_cached("SELECT DISTINCT id >> 36 FROM staged")?;
    rooms.query_map((), |row| row.get(0))?.collect()
}

/// Moves the staged messages with these ids, or returns `false` and moves none if their tables are damaged.
fn attempt(transaction: &Transaction<'_>, ids: (i64, i64), stuck: &BTreeSet<i64>) -> rusqlite::Result<bool> {
    transaction.execute_batch("SAVEPOINT staged")?;
    match move_range(transaction, ids, stuck) {
        Ok(()) => transaction.execute_batch("RELEASE staged").map(|()| true),
        Err(error) if is_damage(&error) => {
            // SQLite has ended the whole transaction after some errors of the disk.
            let undone = transaction.execute_batch("ROLLBACK TO staged; RELEASE staged");
            undone.map(|()| false).map_err(|_| error)
        }
        Err(error) => Err(error),
    }
}

fn move_range(transaction: &Transaction<'_>, ids: (i64, i64), stuck: &BTreeSet<i64>) -> rusqlite::Result<()> {
    let rooms: Vec<_> = stuck.iter().map(ToString::to_string).collect();
    let rooms = format!("[{}]", rooms.join(","));
    let sql = "INSERT INTO keys (id, slot, at, open_ms, digest)
        SELECT id, slot, at, open_ms, digest FROM staged WHERE id BETWEEN ?1 AND ?2
            AND id >> 36 NOT IN (SELECT value FROM json_each(?3)) AND slot IS NOT NULL ORDER BY id";
    transaction.prepare_cached(sql)?.execute((ids.0, ids.1, &rooms))?;
    let messages = staged_messages(transaction, ids, &rooms)?;
    // The pages that this frees become pages of the other table, so that each is written once.
    if ids == ALL && stuck.is_empty() {
        // Without a condition, SQLite frees the pages without a look at each row.
        transaction.prepare_cached("DELETE FROM staged")?.execute(())?;
    } else {
        let sql = "DELETE FROM staged WHERE id BETWEEN ?1 AND ?2
            AND id >> 36 NOT IN (SELECT value FROM json_each(?3))";
        transaction.prepare_cached(sql)?.execute((ids.0, ids.1, &rooms))?;
    }
    let mut insert = transaction.prepare_cached(
        "INSERT INTO messages (id, at, sum, frame, guest, connection) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for message in messages {
        insert.execute(message)?;
    }
    Ok(())
}

/// Returns the columns of the staged messages with these ids, in the order of the ids, but not those of the rooms of a
/// JSON array.
fn staged_messages(
    transaction: &Transaction<'_>,
    ids: (i64, i64),
    rooms: &str,
) -> rusqlite::Result<Vec<[Value; 6]>> {
    let sql = "SELECT id, at, sum, frame, guest, connection FROM staged WHERE id BETWEEN ?1 AND ?2
        AND id >> 36 NOT IN (SELECT value FROM json_each(?3))";
    let mut messages = transaction
        .prepare_cached(sql)?
        .query_map((ids.0, ids.1, rooms), |row| {
            Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?])
        })?
        .collect::<rusqlite::Result<Vec<[Value; 6]>>>()?;
    messages.sort_unstable_by_key(|[id, ..]| match id {
        Value::Integer(id) => *id,
        // The table takes no other ids.
        _ => 0,
    });
    Ok(messages)
}

/// Returns `true` if the error may be that of some pages only.
fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseCorrupt
                | ErrorCode::ConstraintViolation
                | ErrorCode::SystemIoFailure
                | ErrorCode::Unknown
        )
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Durability;
    use crate::database::connection::{checkpoint, open_writer};
    use crate::database::migrate;

    const ROOMS: i64 = 64;

    /// Bytes of a page in the write-ahead log.
    const FRAME: u64 = 4_096 + 24;

    /// The pages of the staged messages must not be written empty, and then again with moved messages.
    #[test]
    fn a_move_writes_the_pages_of_the_staged_messages_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("chat.db");
        let created = Connection::open(&path).and_then(|mut created| migrate(&mut created));
        created.expect("a database");
        let mut connection = open_writer(&path, Durability::Process, Duration::ZERO).expect("a connection");
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
