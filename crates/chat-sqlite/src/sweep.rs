use std::time::Duration;

use rusqlite::Transaction;

use crate::clock::Now;
use crate::record;

/// Rows that one step takes out, and rooms that it looks at.
const STEP: usize = 256;

/// What of a room is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep {
    pub(crate) age: Option<Duration>,
    pub(crate) messages: Option<u64>,
    /// How long keys are remembered, in milliseconds.
    pub(crate) key_window: Option<u64>,
}

/// One round through all rooms that forgets what is old, in steps short enough to stand between two appends.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sweep {
    /// The room that was looked at last.
    room: i64,
}

/// What a step has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Rows taken out.
    pub(crate) rows: usize,
    /// Whether the round is over.
    pub(crate) over: bool,
}

#[derive(Clone, Copy)]
struct Row {
    id: i64,
    head: u64,
    first: u64,
    keys: u64,
}

impl Sweep {
    /// Takes the next step.
    pub(crate) fn step(
        &mut self,
        transaction: &Transaction<'_>,
        keep: Keep,
        now: Now,
    ) -> rusqlite::Result<Swept> {
        let mut rooms = transaction
            .prepare_cached("SELECT id, head, first, keys FROM rooms WHERE id > ?1 ORDER BY id LIMIT ?2")?;
        let rooms = rooms
            .query_map((self.room, STEP), |row| {
                Ok(Row { id: row.get(0)?, head: row.get(1)?, first: row.get(2)?, keys: row.get(3)? })
            })?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        let looked_at = rooms.len();
        let mut rows = 0;
        let mut last = self.room;
        for room in rooms {
            rows += forget_messages(transaction, room, keep, now)?;
            rows += forget_keys(transaction, room, keep, now)?;
            if rows >= STEP {
                // This room may have more.
                self.room = last;
                return Ok(Swept { rows, over: false });
            }
            last = room.id;
        }
        self.room = last;
        Ok(Swept { rows, over: looked_at < STEP })
    }
}

fn forget_messages(
    transaction: &Transaction<'_>,
    room: Row,
    keep: Keep,
    now: Now,
) -> rusqlite::Result<usize> {
    let spared = keep.messages.map_or(0, |messages| room.head.saturating_sub(messages));
    if room.first > room.head || (keep.age.is_none() && room.first > spared) {
        return Ok(0);
    }
    let is_old = |at| keep.age.is_some_and(|age| Duration::from_millis(now.sure.saturating_sub(at)) >= age);
    let sql = "SELECT id, at FROM messages WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3";
    let ids = oldest(transaction, sql, room, |id, at| record::seq(id) <= spared || is_old(at))?;
    let Some(last) = ids.last() else { return Ok(0) };
    for id in &ids {
        transaction.prepare_cached("DELETE FROM messages WHERE id = ?1")?.execute([id])?;
        transaction.prepare_cached("DELETE FROM search WHERE rowid = ?1")?.execute([id])?;
    }
    let first = record::seq(*last) + 1;
    transaction.prepare_cached("UPDATE rooms SET first = ?2 WHERE id = ?1")?.execute((room.id, first))?;
    Ok(ids.len())
}

fn forget_keys(transaction: &Transaction<'_>, room: Row, keep: Keep, now: Now) -> rusqlite::Result<usize> {
    let Some(window) = keep.key_window.filter(|_| room.keys > 0) else {
        return Ok(0);
    };
    let sql = "SELECT id, at FROM keys WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3";
    let ids = oldest(transaction, sql, room, |_, at| now.sure.saturating_sub(at) >= window)?;
    for id in &ids {
        transaction.prepare_cached("DELETE FROM keys WHERE id = ?1")?.execute([id])?;
    }
    if !ids.is_empty() {
        transaction
            .prepare_cached("UPDATE rooms SET keys = keys - ?2 WHERE id = ?1")?
            .execute((room.id, ids.len()))?;
    }
    Ok(ids.len())
}

/// The ids with which a room begins, up to the first that stays.
fn oldest(
    transaction: &Transaction<'_>,
    sql: &str,
    room: Row,
    goes: impl Fn(i64, u64) -> bool,
) -> rusqlite::Result<Vec<i64>> {
    let mut statement = transaction.prepare_cached(sql)?;
    let mut rows = statement.query((record::id(room.id, 0), record::id(room.id, u64::MAX), STEP))?;
    let mut ids = Vec::new();
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        // What no clock has said is damage, and is not to keep all that follows.
        if !goes(id, u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default()) {
            break;
        }
        ids.push(id);
    }
    Ok(ids)
}
