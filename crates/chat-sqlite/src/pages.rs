use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chat_core::{Range, RoomName, Scan, SearchPage, StoredMessage};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension};

use crate::record;

/// So many messages are remembered to be unreadable; of more, each reading counts, and none is logged.
const REMEMBERED: usize = 10_000;

/// The messages that were found to be other than they were written.
#[derive(Debug, Default)]
pub(crate) struct Unreadable {
    seen: Mutex<BTreeSet<i64>>,
    count: AtomicU64,
}

/// A part of a room.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) messages: Vec<StoredMessage>,
    /// Whether there are more in that direction.
    pub(crate) more: bool,
}

impl Unreadable {
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    fn note(&self, room: &RoomName, id: i64) {
        let mut seen = self.seen.lock();
        if seen.contains(&id) {
            return;
        }
        let is_remembered = seen.len() < REMEMBERED && seen.insert(id);
        drop(seen);
        self.count.fetch_add(1, Ordering::Relaxed);
        if is_remembered {
            let seq = record::seq(id);
            tracing::error!(%room, seq, "a message is not as it was written: it is left out");
        }
    }
}

/// How far a room reaches: its newest message, and the oldest still there.
pub(crate) fn bounds(connection: &Connection, room: &RoomName) -> rusqlite::Result<(u64, u64)> {
    let bounds = connection
        .prepare_cached("SELECT head, first FROM rooms WHERE name = ?1")?
        .query_row([room.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(bounds.unwrap_or((0, 1)))
}

/// Reads part of a room, oldest message first.
pub(crate) fn read(
    connection: &Connection,
    room: &RoomName,
    range: Range,
    bytes: usize,
    unreadable: &Unreadable,
) -> rusqlite::Result<Rows> {
    let Some(number) = number(connection, room)? else {
        return Ok(Rows { messages: Vec::new(), more: false });
    };
    let (sql, from, to, limit) = match range {
        Range::Before { seq, limit } => (
            "SELECT id, sum, frame FROM messages WHERE id > ?1 AND id <= ?2 ORDER BY id DESC",
            0,
            seq.saturating_sub(1),
            limit,
        ),
        Range::After { seq, limit } => (
            "SELECT id, sum, frame FROM messages WHERE id > ?1 AND id <= ?2 ORDER BY id",
            seq,
            u64::MAX,
            limit,
        ),
    };
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query((record::id(number, from), record::id(number, to)))?;
    let mut rows = take(rows, room, limit, bytes, unreadable)?;
    if matches!(range, Range::Before { .. }) {
        rows.messages.reverse();
    }
    Ok(rows)
}

/// Finds the messages of a room before a position, newest first: those that are not indexed yet and those that
/// match in the index, as far as the scan agrees.
pub(crate) fn search(
    connection: &Connection,
    room: &RoomName,
    pattern: &str,
    before: u64,
    mut scan: Scan,
    unreadable: &Unreadable,
) -> rusqlite::Result<SearchPage> {
    let Some((number, indexed)) = connection
        .prepare_cached("SELECT id, indexed FROM rooms WHERE name = ?1")?
        .query_row([room.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
    else {
        return Ok(scan.finish());
    };
    let (indexed, last) = (record::id(number, indexed), record::id(number, before.saturating_sub(1)));
    let mut tail = connection
        .prepare_cached("SELECT id, sum, frame FROM messages WHERE id > ?1 AND id <= ?2 ORDER BY id DESC")?;
    if !look(tail.query((indexed, last))?, room, &mut scan, unreadable)? {
        return Ok(scan.finish());
    }
    let mut matching = connection.prepare_cached(
        "SELECT m.id, m.sum, m.frame FROM search s JOIN messages m ON m.id = s.rowid
         WHERE search MATCH ?1 AND s.rowid BETWEEN ?2 AND ?3 ORDER BY s.rowid DESC",
    )?;
    let rows = matching.query((pattern, record::id(number, 1), last.min(indexed)))?;
    look(rows, room, &mut scan, unreadable)?;
    Ok(scan.finish())
}

/// Shows messages to a scan; whether it wants more.
fn look(
    mut rows: rusqlite::Rows<'_>,
    room: &RoomName,
    scan: &mut Scan,
    unreadable: &Unreadable,
) -> rusqlite::Result<bool> {
    while let Some(row) = rows.next()? {
        if let Some(stored) = stored(room, row, unreadable)?
            && !scan.look(&stored)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn number(connection: &Connection, room: &RoomName) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM rooms WHERE name = ?1")?
        .query_row([room.as_str()], |row| row.get(0))
        .optional()
}

fn take(
    mut rows: rusqlite::Rows<'_>,
    room: &RoomName,
    limit: usize,
    max_bytes: usize,
    unreadable: &Unreadable,
) -> rusqlite::Result<Rows> {
    let mut messages = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let Some(stored) = stored(room, row, unreadable)? else { continue };
        bytes += stored.frame.len();
        if messages.len() >= limit || (!messages.is_empty() && bytes > max_bytes) {
            return Ok(Rows { messages, more: true });
        }
        messages.push(stored);
    }
    Ok(Rows { messages, more: false })
}

/// A message, if it is as it was written. If not, it is no more to be had than one that retention has taken.
pub(crate) fn stored(
    room: &RoomName,
    row: &rusqlite::Row<'_>,
    unreadable: &Unreadable,
) -> rusqlite::Result<Option<StoredMessage>> {
    let (id, sum): (i64, i64) = (row.get(0)?, row.get(1)?);
    let frame = row.get_ref(2)?.as_blob().unwrap_or_default();
    let seq = record::seq(id);
    if record::sum(room, seq, frame) != sum {
        unreadable.note(room, id);
        return Ok(None);
    }
    Ok(Some(StoredMessage { seq, frame: Bytes::copy_from_slice(frame) }))
}
