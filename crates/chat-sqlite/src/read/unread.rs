use chat_core::{RoomName, Unread, UnreadCount, UserKey};
use rusqlite::{Connection, OptionalExtension};

use super::{UnreadableMessages, bounds, stored_message};
use crate::database::row::{message_id, user_column};

pub(super) const NEWEST_FIRST: &str =
    "SELECT id, sum, frame, guest FROM all_messages WHERE id > ?1 AND id <= ?2 ORDER BY id DESC";

/// Returns the marker of a user in a room, and the numbers of unread messages up to `up_to`. `epoch` is that of the
/// room.
pub(crate) fn unread(
    connection: &Connection,
    (room, epoch): (&RoomName, String),
    user: &UserKey,
    up_to: u64,
    unreadable: &UnreadableMessages,
) -> rusqlite::Result<Unread> {
    let head = bounds(connection, room, 0)?.head;
    let marker = connection
        .prepare_cached(
            "SELECT r.id, coalesce(m.seq, 0) FROM rooms r
             LEFT JOIN markers m ON m.room = r.id AND m.user = ?2 WHERE r.name = ?1",
        )?
        .query_row((room.as_str(), user_column(user)), |row| Ok((row.get(0)?, row.get::<_, u64>(1)?)))
        .optional()?;
    let Some((id, read)) = marker else { return Ok(Unread::new(epoch, head, 0)) };
    // A damaged position must not be beyond the log.
    let read = read.min(head);
    let mut count = UnreadCount::new(user);
    let mut statement = connection.prepare_cached(NEWEST_FIRST)?;
    let mut rows = statement.query((message_id(id, read), message_id(id, up_to)))?;
    while let Some(row) = rows.next()? {
        let Some(stored) = stored_message(room, row, unreadable)? else { continue };
        if !count.look(&stored, row.get(3)?) {
            break;
        }
    }
    Ok(Unread::new(epoch, head, read).with_count(&count))
}

/// Returns the rooms that a user follows, in the order of their names.
pub(crate) fn followed(connection: &Connection, user: &UserKey) -> rusqlite::Result<Vec<RoomName>> {
    let mut statement =
        connection.prepare_cached("SELECT room FROM follows WHERE user = ?1 ORDER BY room")?;
    let names = statement.query_map([user_column(user)], |row| row.get::<_, String>(0))?;
    let rooms = names.map(|name| Ok(name?.parse().ok()));
    rooms.filter_map(Result::transpose).collect()
}
