use chat_core::{Range, RoomName, RoomRules, Standing, StoredMessage};
use rusqlite::{Connection, OptionalExtension, Row, Rows};

use super::target::Targets;
use super::{UnreadableMessages, stored_message};
use crate::database::row::{LAST_SEQ, message_id, seq_of};
use crate::database::{read_rules, read_standing};

const NEWEST_FIRST: &str =
    "SELECT id, sum, frame FROM all_messages WHERE id > ?1 AND id <= ?2 ORDER BY id DESC";
const OLDEST_FIRST: &str = "SELECT id, sum, frame FROM all_messages WHERE id > ?1 AND id <= ?2 ORDER BY id";

/// The entries of a room, oldest first. The columns are those of a message, and the target of a change.
const ENTRIES: &str = "
    SELECT id, sum, frame, NULL FROM all_messages WHERE id > ?1 AND id <= ?2
    UNION ALL
    SELECT id, sum, entry, target FROM changes WHERE id > ?1 AND id <= ?2
    ORDER BY 1";

/// The acts of a room, oldest first.
const ACTS: &str = "SELECT id, sum, entry FROM changes WHERE id > ?1 AND id <= ?2 AND kind >= 5 ORDER BY id";

/// The messages of a JSON array of ids.
const SELECTED: &str =
    "SELECT id, sum, frame FROM all_messages WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY id";

/// The newest pinned messages.
const PINS: &str =
    "SELECT message FROM pins WHERE message > ?1 AND message <= ?2 ORDER BY message DESC LIMIT ?3";

/// The statements that read messages.
#[cfg(test)]
pub(super) const STATEMENTS: [&str; 4] = [NEWEST_FIRST, OLDEST_FIRST, ENTRIES, SELECTED];

/// A page of a room's entries, oldest first.
#[derive(Debug)]
pub(crate) struct MessagePage {
    pub(crate) messages: Vec<StoredMessage>,
    /// `true` if there are more entries in the direction of the read.
    pub(crate) more: bool,
}

/// The extent of a room.
#[derive(Debug)]
pub(crate) struct RoomBounds {
    /// The `seq` of the newest entry.
    pub(crate) head: u64,
    /// The `seq` of the oldest remaining entry.
    pub(crate) first: u64,
    /// The number of changes.
    pub(crate) changes: u64,
    /// The `seq`s of the newest pinned messages, at most those that were asked for.
    pub(crate) pins: Vec<u64>,
    /// `true` if the room has or had an act.
    pub(crate) governed: bool,
}

/// Returns the extent of a room, with at most `max_pins` pins.
pub(crate) fn bounds(
    connection: &Connection,
    room: &RoomName,
    max_pins: usize,
) -> rusqlite::Result<RoomBounds> {
    let bounds = connection
        .prepare_cached("SELECT id, head, first, changes, governed FROM rooms WHERE name = ?1")?
        .query_row([room.as_str()], |row| {
            let (head, first, changes) = (row.get(1)?, row.get(2)?, row.get(3)?);
            Ok((row.get(0)?, RoomBounds { head, first, changes, pins: Vec::new(), governed: row.get(4)? }))
        })
        .optional()?;
    let Some((id, mut bounds)) = bounds else {
        // The room may have existed before, with positions up to this one.
        let head: u64 =
            connection.prepare_cached("SELECT reserved_seq FROM store")?.query_row((), |row| row.get(0))?;
        return Ok(RoomBounds { head, first: head + 1, changes: 0, pins: Vec::new(), governed: false });
    };
    // A pin is a change.
    if bounds.changes > 0 {
        bounds.pins = connection
            .prepare_cached(PINS)?
            .query_map((message_id(id, 0), message_id(id, u64::MAX), max_pins), |row| row.get(0).map(seq_of))?
            .collect::<rusqlite::Result<_>>()?;
        bounds.pins.reverse();
    }
    Ok(bounds)
}

/// Returns the rules of a room, and the standing that it keeps for the id of a user.
pub(crate) fn standing(
    connection: &Connection,
    room: &RoomName,
    user: &str,
) -> rusqlite::Result<(RoomRules, Standing)> {
    let unset = || RoomRules::unset(room);
    let Some((id, _)) = room_row(connection, room)? else { return Ok((unset(), Standing::default())) };
    let rules = read_rules(connection, room, id)?.unwrap_or_else(unset);
    Ok((rules, read_standing(connection, room, id, user)?))
}

/// Reads a page of at most `max_bytes` bytes, or of one message that is longer.
pub(crate) fn read_page(
    connection: &Connection,
    room: &RoomName,
    range: Range,
    max_bytes: usize,
    unreadable: &UnreadableMessages,
) -> rusqlite::Result<MessagePage> {
    let Some((id, changes)) = room_row(connection, room)? else {
        return Ok(MessagePage { messages: Vec::new(), more: false });
    };
    let (sql, from, to, limit) = match range {
        Range::Newest { limit } => (NEWEST_FIRST, 0, u64::MAX, limit),
        Range::Before { seq, limit } => (NEWEST_FIRST, 0, seq.saturating_sub(1), limit),
        Range::After { seq, limit } => (OLDEST_FIRST, seq, u64::MAX, limit),
        // Without changes, the entries are the messages.
        Range::Entries { after, limit } => {
            (if changes > 0 { ENTRIES } else { OLDEST_FIRST }, after, u64::MAX, limit)
        }
        Range::Acts { after, limit } => (ACTS, after, u64::MAX, limit),
        _ => return Err(rusqlite::Error::InvalidQuery),
    };
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query((message_id(id, from), message_id(id, to)))?;
    let mut targets = Targets::new(connection, room);
    let mut page = take(rows, limit, max_bytes, |row| {
        let Some(stored) = stored_message(room, row, unreadable)? else { return Ok(None) };
        let target = if sql == ENTRIES { row.get::<_, Option<i64>>(3)? } else { None };
        // An act has no message, and is its own event.
        let target = target.filter(|target| *target != 0);
        target.map_or(Ok(Some(stored.clone())), |target| targets.encode(&stored, target))
    })?;
    if sql == NEWEST_FIRST {
        page.messages.reverse();
    }
    Ok(page)
}

/// Reads the messages at these positions, up to `max_bytes` bytes, or one message that is longer.
pub(crate) fn read_messages(
    connection: &Connection,
    room: &RoomName,
    seqs: &[u64],
    max_bytes: usize,
    unreadable: &UnreadableMessages,
) -> rusqlite::Result<MessagePage> {
    let Some((id, _)) = room_row(connection, room)? else {
        return Ok(MessagePage { messages: Vec::new(), more: false });
    };
    let ids: Vec<_> =
        seqs.iter().filter(|seq| (1..=LAST_SEQ).contains(*seq)).map(|seq| message_id(id, *seq)).collect();
    let ids = serde_json::to_string(&ids).expect("numbers are always JSON");
    let mut statement = connection.prepare_cached(SELECTED)?;
    let rows = statement.query([ids])?;
    take(rows, usize::MAX, max_bytes, |row| stored_message(room, row, unreadable))
}

/// Returns the number of a room and the number of its changes.
pub(super) fn room_row(connection: &Connection, room: &RoomName) -> rusqlite::Result<Option<(i64, u64)>> {
    connection
        .prepare_cached("SELECT id, changes FROM rooms WHERE name = ?1")?
        .query_row([room.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

pub(super) fn take(
    mut rows: Rows<'_>,
    limit: usize,
    max_bytes: usize,
    mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<Option<StoredMessage>>,
) -> rusqlite::Result<MessagePage> {
    let mut messages = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let Some(stored) = read(row)? else { continue };
        bytes += stored.frame.len();
        if messages.len() >= limit || (!messages.is_empty() && bytes > max_bytes) {
            return Ok(MessagePage { messages, more: true });
        }
        messages.push(stored);
    }
    Ok(MessagePage { messages, more: false })
}
