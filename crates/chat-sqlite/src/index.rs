use std::collections::BTreeSet;
use std::mem;
use std::time::{Duration, Instant};

use chat_core::RoomName;
use rusqlite::Transaction;

use crate::ledger::Added;
use crate::pages::{Unreadable, stored};
use crate::{record, terms};

/// Messages that are indexed in one transaction, and rooms that it looks at: so many that each costs little, so few that
/// it is soon done.
const STEP: usize = 512;

/// How long nothing is to be written until fewer are indexed.
const QUIET: Duration = Duration::from_secs(1);

/// What the search index lacks. Searches look at that message by message.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    /// The numbers of the rooms; none if they are not known.
    rooms: Option<BTreeSet<i64>>,
    messages: u64,
    /// Those of them that have come since the last step, which is as long at least: it never grows for long.
    new: u64,
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
        self.messages += added.messages;
        self.new += added.messages;
        self.due = Some(if self.messages >= STEP as u64 { now } else { now + QUIET });
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
        let mut left = STEP.max(usize::try_from(mem::take(&mut self.new)).unwrap_or(STEP));
        let mut has_written = false;
        while left > 0
            && let Some(room) = rooms.first().copied()
        {
            self.current = Some(room);
            let indexed = index(transaction, room, left, unreadable)?;
            has_written = true;
            if indexed < left {
                rooms.remove(&room);
            }
            self.messages = self.messages.saturating_sub(indexed as u64);
            // A room costs something though nothing is left in it.
            left -= indexed.max(1);
        }
        if rooms.is_empty() {
            self.messages = 0;
            self.due = None;
        }
        Ok(has_written)
    }

    fn look(&mut self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let mut statement = transaction
            .prepare_cached("SELECT id, head - max(indexed, first - 1) FROM rooms WHERE indexed < head")?;
        let mut rows = statement.query(())?;
        let mut rooms = BTreeSet::new();
        self.messages = 0;
        while let Some(row) = rows.next()? {
            let room = row.get(0)?;
            if !self.given_up.contains(&room) {
                rooms.insert(room);
                self.messages += row.get::<_, u64>(1)?;
            }
        }
        self.rooms = Some(rooms);
        Ok(())
    }
}

/// Indexes so many messages of a room, if it has them, and writes down how far it has got; the number of them.
fn index(
    transaction: &Transaction<'_>,
    room: i64,
    limit: usize,
    unreadable: &Unreadable,
) -> rusqlite::Result<usize> {
    let (name, head, from): (String, u64, u64) = transaction
        .prepare_cached("SELECT name, head, indexed FROM rooms WHERE id = ?1")?
        .query_row([room], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let mut indexed = 0;
    let mut upto = head;
    // A name that is none any more belongs to messages that cannot be read either.
    if let Ok(name) = name.parse::<RoomName>() {
        let scope = terms::scope(&name);
        let mut messages = transaction.prepare_cached(
            "SELECT id, sum, frame FROM messages WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
        )?;
        let mut insert = transaction.prepare_cached("INSERT INTO search (rowid, terms) VALUES (?1, ?2)")?;
        let mut rows = messages.query((record::id(room, from), record::id(room, head), limit))?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            indexed += 1;
            if indexed == limit {
                upto = record::seq(id);
            }
            let Some(stored) = stored(&name, row, unreadable)? else { continue };
            let terms = terms::of_frame(&scope, &stored.frame);
            if !terms.is_empty() {
                insert.execute((id, terms))?;
            }
        }
    }
    transaction.prepare_cached("UPDATE rooms SET indexed = ?2 WHERE id = ?1")?.execute((room, upto))?;
    Ok(indexed)
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
    fn a_step_keeps_up_with_batches_of_any_length() {
        let mut connection = database(
            "INSERT INTO rooms (name, head, first, keys) VALUES ('lobby', 5000, 1, 0);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
             INSERT INTO messages (id, at, sum, frame) SELECT (1 << 36) + i, 0, 0, x'' FROM n",
        );
        let mut backlog = Backlog::unknown(Instant::now());
        assert_eq!(step(&mut backlog, &mut connection), 5_000 - 512);
        backlog.grow(Added { messages: 4_000, rooms: vec![1] }, Instant::now());
        assert_eq!(step(&mut backlog, &mut connection), 5_000 - 512 - 4_000);
        assert_eq!(step(&mut backlog, &mut connection), 0);
    }
}
