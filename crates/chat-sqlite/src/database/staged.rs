//! The messages that are stored in the order of their arrival, until they are moved to the tables ordered by room.

use std::collections::BTreeSet;

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use super::row::message_id;

/// Moves all staged messages and their keys, but not those of the rooms in `stuck`. A room whose messages cannot be
/// moved, because its pages are damaged, is added to `stuck`: they stay where they are, and can be read.
pub(crate) fn move_staged(transaction: &Transaction<'_>, stuck: &mut BTreeSet<i64>) -> rusqlite::Result<()> {
    let all = (0, i64::MAX);
    let moved = if stuck.is_empty() { attempt(transaction, all)? } else { false };
    if moved {
        return Ok(());
    }
    let rooms = "SELECT DISTINCT id >> 36 FROM staged";
    let rooms = transaction.prepare_cached(rooms)?.query_map((), |row| row.get(0))?.collect();
    let rooms: rusqlite::Result<Vec<i64>> = rooms;
    for room in rooms? {
        let range = (message_id(room, 0), message_id(room, u64::MAX));
        if !stuck.contains(&room) && !attempt(transaction, range)? {
            tracing::error!(room, "new messages of a room are not in its table, because that is damaged");
            stuck.insert(room);
        }
    }
    Ok(())
}

/// Moves the messages that an earlier process has staged.
pub(crate) fn move_left(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if transaction.query_row("SELECT EXISTS (SELECT 1 FROM staged)", (), |row| row.get(0))? {
        move_staged(&transaction, &mut BTreeSet::new())?;
        transaction.commit()?;
    }
    Ok(())
}

/// Moves the staged messages with these ids, or returns `false` and moves none if their tables are damaged.
fn attempt(transaction: &Transaction<'_>, ids: (i64, i64)) -> rusqlite::Result<bool> {
    transaction.execute_batch("SAVEPOINT staged")?;
    let moved = move_range(transaction, ids);
    match moved {
        Ok(()) => transaction.execute_batch("RELEASE staged").map(|()| true),
        Err(error) if is_damage(&error) => {
            transaction.execute_batch("ROLLBACK TO staged; RELEASE staged").map(|()| false)
        }
        Err(error) => Err(error),
    }
}

fn move_range(transaction: &Transaction<'_>, ids: (i64, i64)) -> rusqlite::Result<()> {
    let moves = [
        "INSERT INTO messages (id, at, sum, frame, guest, connection)
         SELECT id, at, sum, frame, guest, connection FROM staged WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
        "INSERT INTO keys (id, slot, at, open_ms, digest)
         SELECT id, slot, at, open_ms, digest FROM staged
         WHERE id BETWEEN ?1 AND ?2 AND slot IS NOT NULL ORDER BY id",
    ];
    for sql in moves {
        transaction.prepare_cached(sql)?.execute(ids)?;
    }
    if ids == (0, i64::MAX) {
        // Without a condition, SQLite frees the pages without a look at each row.
        return transaction.prepare_cached("DELETE FROM staged")?.execute(()).map(drop);
    }
    transaction.prepare_cached("DELETE FROM staged WHERE id BETWEEN ?1 AND ?2")?.execute(ids).map(drop)
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::ConstraintViolation | ErrorCode::Unknown)
    )
}
