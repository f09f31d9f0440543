//! Full-text search: the index, and the query over indexed and recent messages.

mod index;
mod ngrams;

use chat_core::{RoomName, Scan, SearchPage};
use rusqlite::{Connection, OptionalExtension, Rows};

pub(crate) use index::IndexBacklog;
pub(crate) use ngrams::{match_expression, room_prefix};

use crate::database::row::message_id;
use crate::read::{UnreadableMessages, stored_message};

/// Finds the messages of a room, or those before a `seq`, newest first.
///
/// Candidates are the messages that are not indexed yet and those that match in the index. The scan decides.
pub(crate) fn search(
    connection: &Connection,
    room: &RoomName,
    expression: &str,
    before: Option<u64>,
    mut scan: Scan,
    unreadable: &UnreadableMessages,
) -> rusqlite::Result<SearchPage> {
    let Some((room_id, indexed)) = connection
        .prepare_cached("SELECT id, indexed FROM rooms WHERE name = ?1")?
        .query_row([room.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
    else {
        return Ok(scan.finish());
    };
    let last = before.map_or(u64::MAX, |before| before.saturating_sub(1));
    let (indexed, last) = (message_id(room_id, indexed), message_id(room_id, last));
    let mut recent = connection
        .prepare_cached("SELECT id, sum, frame FROM messages WHERE id > ?1 AND id <= ?2 ORDER BY id DESC")?;
    if !scan_rows(recent.query((indexed, last))?, room, &mut scan, unreadable)? {
        return Ok(scan.finish());
    }
    let mut matching = connection.prepare_cached(
        "SELECT m.id, m.sum, m.frame FROM search s JOIN messages m ON m.id = s.rowid
         WHERE search MATCH ?1 AND s.rowid BETWEEN ?2 AND ?3 ORDER BY s.rowid DESC",
    )?;
    let rows = matching.query((expression, message_id(room_id, 1), last.min(indexed)))?;
    scan_rows(rows, room, &mut scan, unreadable)?;
    Ok(scan.finish())
}

/// Passes messages to a scan. Returns `false` when the scan is full.
fn scan_rows(
    mut rows: Rows<'_>,
    room: &RoomName,
    scan: &mut Scan,
    unreadable: &UnreadableMessages,
) -> rusqlite::Result<bool> {
    while let Some(row) = rows.next()? {
        if let Some(stored) = stored_message(room, row, unreadable)?
            && !scan.look(&stored)
        {
            return Ok(false);
        }
    }
    Ok(true)
}
