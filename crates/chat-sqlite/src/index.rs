use std::collections::BTreeSet;
use std::mem;
use std::time::{Duration, Instant};

use chat_core::RoomName;
use rusqlite::Transaction;

use crate::ledger::Added;
use crate::pages::{Unreadable, stored};
use crate::{record, terms};

/// Bytes of messages that are indexed in one transaction: so many that each costs little, so few that it is soon done.
const STEP: usize = 64 * 1024;

/// What it costs to look at a room, in bytes of messages.
const ROOM: usize = 128;

/// How long nothing is to be written until less is indexed.
const QUIET: Duration = Duration::from_secs(1);

/// What the search index lacks. Searches look at that message by message.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    /// The numbers of the rooms; none if they are not known.
    rooms: Option<BTreeSet<i64>>,
    /// Bytes that have come since there was nothing.
    bytes: usize,
    /// Those of them that have come since the last step, which is as long at least: the backlog never grows for long.
    new: usize,
    /// When it is to be worked off; none if there is nothing.
    due: Option<Instant>,
    /// The room that is being indexed.
    current: Option<i64>,
    /// The rooms that could not be indexed, and are to keep no other from it.
    given_up: BTreeSet<i64>,
}

impl Backlog {
    /// One of which nothing is known yet.
    pub(crate) fn unknown(due: Instant) -> Self {
        Self { due: Some(due), ..Self::default() }
    }

    /// When the next [`step`](Self::step) is to be taken; none if there is nothing to do.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Takes note of messages that are committed.
    pub(crate) fn grow(&mut self, added: Added, now: Instant) {
        let Some(rooms) = &mut self.rooms else { return };
        rooms.extend(added.rooms.into_iter().filter(|room| !self.given_up.contains(room)));
        self.bytes += added.bytes;
        self.new += added.bytes;
        self.due = Some(if self.bytes >= STEP { now } else { now + QUIET });
    }

    /// Takes note that a step has failed: it is tried again later, from what the store says. If it may have failed at
    /// the room, without that.
    pub(crate) fn fail(&mut self, is_particular: bool, now: Instant) {
        if let Some(room) = self.current.take()
            && is_particular
        {
            tracing::error!(room, "a room cannot be indexed: a search looks at all of its messages");
            self.given_up.insert(room);
        }
        *self = Self { given_up: mem::take(&mut self.given_up), ..Self::unknown(now + QUIET) };
    }

    /// Indexes the oldest messages of the first rooms; whether anything was written.
    pub(crate) fn step(
        &mut self,
        transaction: &Transaction<'_>,
        unreadable: &Unreadable,
    ) -> rusqlite::Result<bool> {
        if self.rooms.is_none() {
            self.look(transaction)?;
        }
        let rooms = self.rooms.get_or_insert_default();
        let mut left = STEP.max(mem::take(&mut self.new));
        let mut has_written = false;
        while left > 0
            && let Some(room) = rooms.first().copied()
        {
            self.current = Some(room);
            left = index(transaction, room, left, unreadable)?;
            has_written = true;
            if left > 0 {
                rooms.remove(&room);
                left = left.saturating_sub(ROOM);
            }
        }
        if rooms.is_empty() {
            self.bytes = 0;
            self.due = None;
        }
        Ok(has_written)
    }

    fn look(&mut self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let mut statement = transaction.prepare_cached("SELECT id FROM rooms WHERE indexed < head")?;
        let rooms = statement.query_map((), |row| row.get(0))?;
        let rooms = rooms.filter(|room| !room.as_ref().is_ok_and(|room| self.given_up.contains(room)));
        self.rooms = Some(rooms.collect::<rusqlite::Result<_>>()?);
        Ok(())
    }
}

/// Indexes so many bytes of a room's messages, and writes down how far it has got; the bytes left. With none left there
/// may be more.
fn index(
    transaction: &Transaction<'_>,
    room: i64,
    mut left: usize,
    unreadable: &Unreadable,
) -> rusqlite::Result<usize> {
    let (name, mut up_to, from): (String, u64, u64) = transaction
        .prepare_cached("SELECT name, head, indexed FROM rooms WHERE id = ?1")?
        .query_row([room], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    // A name that is none any more belongs to messages that cannot be read either.
    if let Ok(name) = name.parse::<RoomName>() {
        let scope = terms::scope(&name);
        let mut messages = transaction
            .prepare_cached("SELECT id, sum, frame FROM messages WHERE id > ?1 AND id <= ?2 ORDER BY id")?;
        let mut insert = transaction.prepare_cached("INSERT INTO search (rowid, terms) VALUES (?1, ?2)")?;
        let mut rows = messages.query((record::id(room, from), record::id(room, up_to)))?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            let length = row.get_ref(2)?.as_blob().map_or(0, <[u8]>::len);
            left = left.saturating_sub(length.max(1));
            if let Some(stored) = stored(&name, row, unreadable)? {
                let terms = terms::of_frame(&scope, &stored.frame);
                if !terms.is_empty() {
                    insert.execute((id, terms))?;
                }
            }
            if left == 0 {
                up_to = record::seq(id);
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
    use crate::schema::migrate;

    /// A database of which this has been done.
    fn database(sql: &str) -> Connection {
        let mut connection = Connection::open_in_memory().expect("a database");
        migrate(&mut connection).expect("a schema");
        connection.execute_batch(sql).expect("done");
        connection
    }

    fn step(backlog: &mut Backlog, connection: &mut Connection) -> u64 {
        let transaction = connection.transaction().expect("begun");
        backlog.step(&transaction, &Unreadable::default()).expect("no error");
        transaction.commit().expect("committed");
        connection.query_row("SELECT sum(head - indexed) FROM rooms", (), |row| row.get(0)).expect("a number")
    }

    #[test]
    fn rooms_in_which_nothing_is_left_are_indexed_in_steps_too() {
        let mut connection = database(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)
             INSERT INTO rooms (name, head, first, keys) SELECT 'room' || i, 1, 2, 0 FROM n",
        );
        let mut backlog = Backlog::unknown(Instant::now());
        for left in [1_200 - 512, 1_200 - 1_024, 0] {
            assert_eq!(step(&mut backlog, &mut connection), left);
        }
        assert_eq!(backlog.due(), None);
    }

    #[test]
    fn a_step_is_short_and_yet_keeps_up_with_batches_of_any_length() {
        let mut connection = database(
            "INSERT INTO rooms (name, head, first, keys) VALUES ('lobby', 500, 1, 0);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
             INSERT INTO messages (id, at, sum, frame) SELECT (1 << 36) + i, 0, 0, zeroblob(1024) FROM n",
        );
        let mut backlog = Backlog::unknown(Instant::now());
        assert_eq!(step(&mut backlog, &mut connection), 500 - 64);
        backlog.grow(Added { bytes: 400 * 1_024, rooms: vec![1] }, Instant::now());
        assert_eq!(step(&mut backlog, &mut connection), 500 - 64 - 400);
        assert_eq!(step(&mut backlog, &mut connection), 0);
        assert_eq!(backlog.due(), None);
    }
}
