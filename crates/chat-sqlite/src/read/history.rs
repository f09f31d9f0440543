use chat_core::{Range, RoomName, StoredMessage};
use rusqlite::{Connection, OptionalExtension, Rows};

use super::{UnreadableMessages, stored_message};
use crate::database::row::message_id;

const NEWEST_FIRST: &str = "SELECT id, sum, frame FROM messages WHERE id > ?1 AND id <= ?2 ORDER BY id DESC";
const OLDEST_FIRST: &str = "SELECT id, sum, frame FROM messages WHERE id > ?1 AND id <= ?2 ORDER BY id";

/// A page of a room's messages, oldest first.
#[derive(Debug)]
pub(crate) struct MessagePage {
    pub(crate) messages: Vec<StoredMessage>,
    /// `true` if there are more messages in the direction of the read.
    pub(crate) more: bool,
}

/// Returns the `seq` of a room's newest message and of its oldest remaining one.
pub(crate) fn bounds(connection: &Connection, room: &RoomName) -> rusqlite::Result<(u64, u64)> {
    let bounds = connection
        .prepare_cached("SELECT head, first FROM rooms WHERE name = ?1")?
        .query_row([room.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match bounds {
        Some(bounds) => Ok(bounds),
        // The room may have existed before, with positions up to this one.
        None => connection
            .prepare_cached("SELECT reserved_seq, reserved_seq + 1 FROM store")?
            .query_row((), |row| Ok((row.get(0)?, row.get(1)?))),
    }
}

/// Reads a page of at most `max_bytes` bytes, or of one message that is longer.
pub(crate) fn read_page(
    connection: &Connection,
    room: &RoomName,
    range: Range,
    max_bytes: usize,
    unreadable: &UnreadableMessages,
) -> rusqlite::Result<MessagePage> {
    let id: Option<i64> = connection
        .prepare_cached("SELECT id FROM rooms WHERE name = ?1")?
        .query_row([room.as_str()], |row| row.get(0))
        .optional()?;
    let Some(id) = id else {
        return Ok(MessagePage { messages: Vec::new(), more: false });
    };
    let (sql, from, to, limit) = match range {
        Range::Newest { limit } => (NEWEST_FIRST, 0, u64::MAX, limit),
        Range::Before { seq, limit } => (NEWEST_FIRST, 0, seq.saturating_sub(1), limit),
        Range::After { seq, limit } => (OLDEST_FIRST, seq, u64::MAX, limit),
        _ => return Err(rusqlite::Error::InvalidQuery),
    };
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query((message_id(id, from), message_id(id, to)))?;
    let mut page = take(rows, room, limit, max_bytes, unreadable)?;
    if sql == NEWEST_FIRST {
        page.messages.reverse();
    }
    Ok(page)
}

fn take(
    mut rows: Rows<'_>,
    room: &RoomName,
    limit: usize,
    max_bytes: usize,
    unreadable: &UnreadableMessages,
) -> rusqlite::Result<MessagePage> {
    let mut messages = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let Some(stored) = stored_message(room, row, unreadable)? else { continue };
        bytes += stored.frame.len();
        if messages.len() >= limit || (!messages.is_empty() && bytes > max_bytes) {
            return Ok(MessagePage { messages, more: true });
        }
        messages.push(stored);
    }
    Ok(MessagePage { messages, more: false })
}
