use chat_core::{Linked, Range, RoomName};
use rusqlite::{Connection, OptionalExtension};

use super::history::{room_row, take};
use super::{MessagePage, UnreadableMessages, stored_message};
use crate::database::row::{message_id, seq_of};

const NEWEST_FIRST: &str =
    "SELECT id, sum, frame FROM messages WHERE thread = ?1 AND id > ?2 AND id <= ?3 ORDER BY id DESC";
const OLDEST_FIRST: &str =
    "SELECT id, sum, frame FROM messages WHERE thread = ?1 AND id > ?2 AND id <= ?3 ORDER BY id";

/// The thread of a message.
const LINK: &str = "SELECT thread FROM all_messages WHERE id = ?1";

/// The statements that read messages.
#[cfg(test)]
pub(super) const STATEMENTS: [&str; 3] = [NEWEST_FIRST, OLDEST_FIRST, LINK];

/// Reads a page of the thread that begins with the message `root`, of at most `max_bytes` bytes, or of one message that
/// is longer. Returns `None` if no thread can begin with that message.
pub(crate) fn read_thread(
    connection: &Connection,
    room: &RoomName,
    (root, range): (u64, Range),
    max_bytes: usize,
    unreadable: &UnreadableMessages,
) -> rusqlite::Result<Option<MessagePage>> {
    let Some((room_id, _)) = room_row(connection, room)? else { return Ok(None) };
    let id = message_id(room_id, root);
    // A position above the last one would have the id of that.
    let linked = if seq_of(id) == root { read_linked(connection, id)? } else { None };
    if !linked.is_some_and(Linked::is_root) {
        return Ok(None);
    }
    let (sql, from, to, limit) = match range {
        Range::Newest { limit } => (NEWEST_FIRST, 0, u64::MAX, limit),
        Range::Before { seq, limit } => (NEWEST_FIRST, 0, seq.saturating_sub(1), limit),
        Range::After { seq, limit } | Range::Entries { after: seq, limit } => {
            (OLDEST_FIRST, seq, u64::MAX, limit)
        }
        _ => return Err(rusqlite::Error::InvalidQuery),
    };
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query((id, message_id(room_id, from), message_id(room_id, to)))?;
    let mut page = take(rows, limit, max_bytes, |row| stored_message(room, row, unreadable))?;
    if sql == NEWEST_FIRST {
        page.messages.reverse();
    }
    Ok(Some(page))
}

/// Returns the message of an id as a link sees it, or `None` if there is none.
pub(crate) fn read_linked(connection: &Connection, id: i64) -> rusqlite::Result<Option<Linked>> {
    connection
        .prepare_cached(LINK)?
        .query_row([id], |row| Ok(Linked { thread: row.get::<_, Option<i64>>(0)?.map(seq_of) }))
        .optional()
}
