use std::time::Duration;

use chat_core::RoomLimits;
use rusqlite::Transaction;

use super::batch::delete_markers;
use super::clock::Now;
use super::key_counts::KeyCounts;
use crate::database::StuckRooms;
use crate::database::row::{message_id, seq_of};

/// The largest number of rows that one step deletes per room and table, and of rooms that it visits.
const STEP_ROWS: usize = 256;

/// The rules for the rows that a room keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetentionPolicy {
    pub(crate) age: Option<Duration>,
    pub(crate) messages: Option<u64>,
    /// Time for which keys are remembered, in milliseconds.
    pub(crate) key_window: Option<u64>,
}

/// One pass over all rooms that deletes expired rows. Its steps are short, so that appends can run in between.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RetentionSweep {
    /// Id of the last completed room.
    last_room: i64,
}

/// The result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SweepStep {
    pub(crate) deleted_rows: usize,
    /// `true` after the last room.
    pub(crate) is_last: bool,
}

#[derive(Clone, Copy)]
struct RoomRow {
    id: i64,
    head: u64,
    first: u64,
    keys: u64,
    changes: u64,
    empty_ms: u64,
    governed: bool,
}

impl RoomRow {
    /// Returns `true` if the room has no message, no key, and neither rules nor standings.
    fn is_empty(self) -> bool {
        self.first > self.head && self.keys == 0 && !self.governed
    }
}

impl RetentionSweep {
    /// Runs the next step. The rooms in `stuck` have staged messages, and keep all.
    pub(crate) fn step(
        &mut self,
        transaction: &Transaction<'_>,
        policy: RetentionPolicy,
        now: Now,
        key_counts: &mut KeyCounts,
        stuck: &StuckRooms,
        is_open: impl Fn(&str) -> bool,
    ) -> rusqlite::Result<SweepStep> {
        let mut rooms = transaction.prepare_cached(
            "SELECT id, head, first, keys, changes, empty_ms, governed FROM rooms WHERE id > ?1 ORDER BY id LIMIT ?2",
        )?;
        let rows = rooms
            .query_map((self.last_room, STEP_ROWS), |row| {
                Ok(RoomRow {
                    id: row.get(0)?,
                    head: row.get(1)?,
                    first: row.get(2)?,
                    keys: row.get(3)?,
                    changes: row.get(4)?,
                    empty_ms: row.get(5)?,
                    governed: row.get(6)?,
                })
            })?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        let visited = rows.len();
        let mut deleted_rows = 0;
        let mut last_room = self.last_room;
        for room in rows {
            // The table lacks messages of such a room.
            if stuck.contains_id(room.id) {
                last_room = room.id;
                continue;
            }
            let entries = delete_entries(transaction, room, policy, now)?;
            let reactions =
                if room.first == 1 && entries == 0 { 0 } else { delete_reactions(transaction, room)? };
            let keys = delete_keys(transaction, room, policy, now, key_counts)?;
            let expired = entries + reactions + keys;
            deleted_rows += expired;
            if expired == 0 && room.is_empty() {
                deleted_rows += delete_empty_room(transaction, room, policy, now, &is_open)?;
            }
            if deleted_rows >= STEP_ROWS {
                // This room may have more expired rows.
                self.last_room = last_room;
                return Ok(SweepStep { deleted_rows, is_last: false });
            }
            last_room = room.id;
        }
        self.last_room = last_room;
        Ok(SweepStep { deleted_rows, is_last: visited < STEP_ROWS })
    }
}

/// Deletes the oldest entries.
fn delete_entries(
    transaction: &Transaction<'_>,
    room: RoomRow,
    policy: RetentionPolicy,
    now: Now,
) -> rusqlite::Result<usize> {
    let entries = (room.head + 1).saturating_sub(room.first);
    let messages = entries.saturating_sub(room.changes);
    let max_entries = policy.messages.map(|kept| match room.changes {
        0 => kept,
        _ => RoomLimits::max_entries(kept),
    });
    let last_excess = max_entries.map_or(0, |kept| room.head.saturating_sub(kept));
    let mut excess = policy.messages.map_or(0, |kept| messages.saturating_sub(kept));
    if entries == 0 || (policy.age.is_none() && room.first > last_excess && excess == 0) {
        return Ok(0);
    }
    let age = policy.age.filter(|_| now.is_plausible);
    let is_old = |at| age.is_some_and(|age| Duration::from_millis(now.safe.saturating_sub(at)) >= age);
    let sql = match room.changes {
        0 => "SELECT id, at, 0 FROM messages WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
        _ => {
            "SELECT id, at, 0 FROM messages WHERE id > ?1 AND id <= ?2
             UNION ALL SELECT id, at, 1 FROM changes WHERE id > ?1 AND id <= ?2 ORDER BY 1 LIMIT ?3"
        }
    };
    let mut statement = transaction.prepare_cached(sql)?;
    let mut rows = statement.query((message_id(room.id, 0), message_id(room.id, u64::MAX), STEP_ROWS))?;
    let mut expired: Vec<(i64, bool)> = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, is_change): (i64, bool) = (row.get(0)?, row.get(2)?);
        // A negative time is damage. It counts as 0, so that the row does not keep all later ones.
        let at = u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default();
        if seq_of(id) > last_excess && excess == 0 && !is_old(at) {
            break;
        }
        excess = excess.saturating_sub(u64::from(!is_change));
        expired.push((id, is_change));
    }
    let Some((last, _)) = expired.last() else { return Ok(0) };
    for (id, is_change) in &expired {
        let table = if *is_change { "changes" } else { "messages" };
        transaction.prepare_cached(&format!("DELETE FROM {table} WHERE id = ?1"))?.execute([id])?;
        if room.changes > 0 && !is_change {
            transaction.prepare_cached("DELETE FROM pins WHERE message = ?1")?.execute([id])?;
        }
    }
    let changes = expired.iter().filter(|(_, is_change)| *is_change).count();
    transaction
        .prepare_cached("UPDATE rooms SET first = ?2, changes = max(changes - ?3, 0) WHERE id = ?1")?
        .execute((room.id, seq_of(*last) + 1, changes))?;
    Ok(expired.len())
}

/// Deletes reactions to messages that were deleted. A message can have many more of them than a step deletes.
fn delete_reactions(transaction: &Transaction<'_>, room: RoomRow) -> rusqlite::Result<usize> {
    transaction
        .prepare_cached(
            "DELETE FROM reactions WHERE (message, reaction, user) IN (
                SELECT message, reaction, user FROM reactions
                WHERE message > ?1 AND message < ?1 + (SELECT first FROM rooms WHERE id = ?2) LIMIT ?3)",
        )?
        .execute((message_id(room.id, 0), room.id, STEP_ROWS))
}

fn delete_keys(
    transaction: &Transaction<'_>,
    room: RoomRow,
    policy: RetentionPolicy,
    now: Now,
    key_counts: &mut KeyCounts,
) -> rusqlite::Result<usize> {
    let Some(window) = policy.key_window.filter(|_| room.keys > 0) else {
        return Ok(0);
    };
    let sql = "SELECT id, open_ms FROM keys WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3";
    let ids = expired(transaction, sql, room, |_, open_ms| now.open_ms.saturating_sub(open_ms) >= window)?;
    for id in &ids {
        let mut delete = transaction.prepare_cached("DELETE FROM keys WHERE id = ?1 RETURNING slot")?;
        key_counts.remove(&delete.query_row([id], |row| row.get::<_, Vec<u8>>(0))?);
    }
    if !ids.is_empty() {
        transaction
            .prepare_cached("UPDATE rooms SET keys = keys - ?2 WHERE id = ?1")?
            .execute((room.id, ids.len()))?;
    }
    Ok(ids.len())
}

/// Deletes the row of a room that has been empty for the key window and is not open. If the room is created again, it
/// continues above all its positions.
fn delete_empty_room(
    transaction: &Transaction<'_>,
    room: RoomRow,
    policy: RetentionPolicy,
    now: Now,
    is_open: impl Fn(&str) -> bool,
) -> rusqlite::Result<usize> {
    if room.empty_ms == 0 {
        return transaction
            .prepare_cached("UPDATE rooms SET empty_ms = ?2 WHERE id = ?1")?
            .execute((room.id, now.open_ms.max(1)));
    }
    if policy.key_window.is_none_or(|window| now.open_ms.saturating_sub(room.empty_ms) < window) {
        return Ok(0);
    }
    let name: String = transaction
        .prepare_cached("SELECT name FROM rooms WHERE id = ?1")?
        .query_row([room.id], |row| row.get(0))?;
    if is_open(&name) {
        return Ok(0);
    }
    // A later room may get the same number.
    let markers = delete_markers(transaction, room.id, STEP_ROWS)?;
    if markers > 0 {
        return Ok(markers);
    }
    transaction
        .prepare_cached("UPDATE store SET reserved_seq = max(reserved_seq, ?1)")?
        .execute([room.head])?;
    transaction.prepare_cached("DELETE FROM rooms WHERE id = ?1")?.execute([room.id])
}

/// Returns the ids of a room's oldest rows, up to the first that is not expired.
fn expired(
    transaction: &Transaction<'_>,
    sql: &str,
    room: RoomRow,
    is_expired: impl Fn(i64, u64) -> bool,
) -> rusqlite::Result<Vec<i64>> {
    let mut statement = transaction.prepare_cached(sql)?;
    let mut rows = statement.query((message_id(room.id, 0), message_id(room.id, u64::MAX), STEP_ROWS))?;
    let mut ids = Vec::new();
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        // A negative time is damage. It counts as 0, so that the row does not keep all later ones.
        if !is_expired(id, u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default()) {
            break;
        }
        ids.push(id);
    }
    Ok(ids)
}
