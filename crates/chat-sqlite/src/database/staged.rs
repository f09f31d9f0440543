//! The messages that are stored in the order of their arrival, until they are moved to the tables ordered by room.

use std::collections::BTreeSet;

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
    for sql in [
        "INSERT INTO messages (id, at, sum, frame, guest, connection)
         SELECT id, at, sum, frame, guest, connection FROM staged WHERE id BETWEEN ?1 AND ?2
             AND id >> 36 NOT IN (SELECT value FROM json_each(?3)) ORDER BY id",
        "INSERT INTO keys (id, slot, at, open_ms, digest)
         SELECT id, slot, at, open_ms, digest FROM staged WHERE id BETWEEN ?1 AND ?2
             AND id >> 36 NOT IN (SELECT value FROM json_each(?3)) AND slot IS NOT NULL ORDER BY id",
    ] {
        transaction.prepare_cached(sql)?.execute((ids.0, ids.1, &rooms))?;
    }
    if ids == ALL && stuck.is_empty() {
        // Without a condition, SQLite frees the pages without a look at each row.
        return transaction.prepare_cached("DELETE FROM staged")?.execute(()).map(drop);
    }
    let sql = "DELETE FROM staged WHERE id BETWEEN ?1 AND ?2
        AND id >> 36 NOT IN (SELECT value FROM json_each(?3))";
    transaction.prepare_cached(sql)?.execute((ids.0, ids.1, &rooms)).map(drop)
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
