use std::collections::BTreeSet;
use std::mem;
use std::time::{Duration, Instant};

use chat_core::RoomName;
use rusqlite::Transaction;

use super::ngrams::{index_terms, room_prefix};
use crate::database::row::{message_id, seq_of};
use crate::read::{UnreadableMessages, stored_message};

/// Bytes of messages that one transaction indexes. More bytes cost less per message, but delay appends longer.
const STEP_BYTES: usize = 64 * 1024;

/// Cost of one room, expressed in bytes of messages.
const ROOM_COST: usize = 128;

/// Time without appends after which a smaller backlog is indexed.
const QUIET_TIME: Duration = Duration::from_secs(1);

/// The messages that are not in the search index yet. A search scans them one by one.
#[derive(Debug, Default)]
pub(crate) struct IndexBacklog {
    /// Ids of the rooms with such messages. `None` until the database was queried.
    rooms: Option<BTreeSet<i64>>,
    /// Bytes appended since the backlog was empty.
    bytes: usize,
    /// Bytes appended since the last step. The next step indexes at least as many, so the backlog shrinks.
    new_bytes: usize,
    /// Time of the next step. `None` if there is nothing to index.
    due: Option<Instant>,
    /// The room that the current step indexes.
    current: Option<i64>,
    /// Rooms that cannot be indexed. They are skipped, so that they do not block other rooms.
    failed: BTreeSet<i64>,
}

impl IndexBacklog {
    /// Creates a backlog whose first step queries the database.
    pub(crate) fn unknown(due: Instant) -> Self {
        Self { due: Some(due), ..Self::default() }
    }

    /// Returns the time of the next [`step`](Self::step), or `None` if there is nothing to index.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Adds committed messages: their number of bytes and the ids of their rooms.
    pub(crate) fn add(&mut self, bytes: usize, rooms: impl IntoIterator<Item = i64>, now: Instant) {
        let Some(known) = &mut self.rooms else { return };
        known.extend(rooms.into_iter().filter(|room| !self.failed.contains(room)));
        self.bytes += bytes;
        self.new_bytes += bytes;
        self.due = Some(if self.bytes >= STEP_BYTES { now } else { now + QUIET_TIME });
    }

    /// Records a failed step. A later step queries the database again. If the room may be the cause, it is skipped from
    /// then on.
    pub(crate) fn step_failed(&mut self, room_may_be_cause: bool, now: Instant) {
        if let Some(room) = self.current.take()
            && room_may_be_cause
        {
            tracing::error!(room, "room not indexed until the next start; searches in it scan all messages");
            self.failed.insert(room);
        }
        *self = Self { failed: mem::take(&mut self.failed), ..Self::unknown(now + QUIET_TIME) };
    }

    /// Indexes the oldest messages of the first rooms. Returns `true` if it wrote to the database.
    pub(crate) fn step(
        &mut self,
        transaction: &Transaction<'_>,
        unreadable: &UnreadableMessages,
    ) -> rusqlite::Result<bool> {
        if self.rooms.is_none() {
            self.query_rooms(transaction)?;
        }
        let rooms = self.rooms.get_or_insert_default();
        let mut left = STEP_BYTES.max(mem::take(&mut self.new_bytes));
        let mut has_written = false;
        while left > 0
            && let Some(room) = rooms.first().copied()
        {
            self.current = Some(room);
            left = index_room(transaction, room, left, unreadable)?;
            has_written = true;
            if left > 0 {
                rooms.remove(&room);
                left = left.saturating_sub(ROOM_COST);
            }
        }
        if rooms.is_empty() {
            self.bytes = 0;
            self.due = None;
        }
        Ok(has_written)
    }

    fn query_rooms(&mut self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let mut statement = transaction.prepare_cached("SELECT id FROM rooms WHERE indexed < head")?;
        let rooms = statement.query_map((), |row| row.get(0))?;
        let rooms = rooms.filter(|room| !room.as_ref().is_ok_and(|room| self.failed.contains(room)));
        self.rooms = Some(rooms.collect::<rusqlite::Result<_>>()?);
        Ok(())
    }
}

/// Indexes at most about `left` bytes of a room's messages and records the last indexed `seq`.
///
/// Returns the bytes left. If they are 0, the room may have more messages to index.
fn index_room(
    transaction: &Transaction<'_>,
    room: i64,
    mut left: usize,
    unreadable: &UnreadableMessages,
) -> rusqlite::Result<usize> {
    let (name, mut up_to, from): (String, u64, u64) = transaction
        .prepare_cached("SELECT name, head, indexed FROM rooms WHERE id = ?1")?
        .query_row([room], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    // The checksums of a room with a damaged name do not match either, so its messages cannot be read.
    if let Ok(name) = name.parse::<RoomName>() {
        let prefix = room_prefix(&name);
        let mut messages = transaction
            .prepare_cached("SELECT id, sum, frame FROM messages WHERE id > ?1 AND id <= ?2 ORDER BY id")?;
        let mut insert = transaction.prepare_cached("INSERT INTO search (rowid, terms) VALUES (?1, ?2)")?;
        let mut rows = messages.query((message_id(room, from), message_id(room, up_to)))?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            let length = row.get_ref(2)?.as_blob().map_or(0, <[u8]>::len);
            left = left.saturating_sub(length.max(1));
            if let Some(stored) = stored_message(&name, row, unreadable)? {
                let terms = index_terms(&prefix, &stored.frame);
                if !terms.is_empty() {
                    insert.execute((id, terms))?;
                }
            }
            if left == 0 {
                up_to = seq_of(id);
                break;
            }
        }
    }
    transaction.prepare_cached("UPDATE rooms SET indexed = ?2 WHERE id = ?1")?.execute((room, up_to))?;
    Ok(left)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::database::migrate;

    fn database(sql: &str) -> Connection {
        let mut connection = Connection::open_in_memory().expect("a database");
        migrate(&mut connection).expect("a schema");
        connection.execute_batch(sql).expect("executed");
        connection
    }

    fn step(backlog: &mut IndexBacklog, connection: &mut Connection) -> u64 {
        let transaction = connection.transaction().expect("a transaction");
        backlog.step(&transaction, &UnreadableMessages::default()).expect("no error");
        transaction.commit().expect("committed");
        connection.query_row("SELECT sum(head - indexed) FROM rooms", (), |row| row.get(0)).expect("a number")
    }

    #[test]
    fn rooms_without_messages_are_indexed_in_limited_steps() {
        let mut connection = database(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)
             INSERT INTO rooms (name, head, first, keys) SELECT 'room' || i, 1, 2, 0 FROM n",
        );
        let mut backlog = IndexBacklog::unknown(Instant::now());
        for left in [1_200 - 512, 1_200 - 1_024, 0] {
            assert_eq!(step(&mut backlog, &mut connection), left);
        }
        assert_eq!(backlog.due(), None);
    }

    #[test]
    fn a_step_is_limited_but_indexes_at_least_the_bytes_appended_since_the_last_step() {
        let mut connection = database(
            "INSERT INTO rooms (name, head, first, keys) VALUES ('lobby', 500, 1, 0);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
             INSERT INTO messages (id, at, sum, frame) SELECT (1 << 36) + i, 0, 0, zeroblob(1024) FROM n",
        );
        let mut backlog = IndexBacklog::unknown(Instant::now());
        assert_eq!(step(&mut backlog, &mut connection), 500 - 64);
        backlog.add(400 * 1_024, [1], Instant::now());
        assert_eq!(step(&mut backlog, &mut connection), 500 - 64 - 400);
        assert_eq!(step(&mut backlog, &mut connection), 0);
        assert_eq!(backlog.due(), None);
    }
}
