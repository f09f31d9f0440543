use std::collections::HashMap;

use chat_core::{AppendError, AppendReceipt, NewMessage, RoomName, StoredMessage, User};
use rusqlite::{OptionalExtension, Transaction};
use serde_json::value::RawValue;

use crate::clock::Now;
use crate::record::{self, LAST_ROOM, LAST_SEQ};

/// A message on its way into a room, with all that can be known of it beforehand.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) room: RoomName,
    pub(crate) user: User,
    pub(crate) key: Option<Key>,
    pub(crate) body: Box<RawValue>,
}

/// What makes a repeated message known.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) key: String,
    pub(crate) digest: [u8; 20],
    /// How long it is remembered, in milliseconds.
    pub(crate) window: u64,
}

/// What has come of an append, once its transaction is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Stored(AppendReceipt, StoredMessage),
    Known(AppendReceipt),
    Refused(AppendError),
}

/// One transaction that adds messages.
pub(crate) struct Ledger<'t> {
    transaction: &'t Transaction<'t>,
    now: Now,
    max_keys: u64,
    rooms: HashMap<RoomName, Row>,
    bytes: usize,
}

/// What a transaction has added.
#[derive(Debug, Default)]
pub(crate) struct Added {
    /// Bytes of messages; 0 if there are none.
    pub(crate) bytes: usize,
    /// The numbers of the rooms that have got any.
    pub(crate) rooms: Vec<i64>,
}

/// What is known of a room.
#[derive(Clone, Copy, Debug)]
struct Row {
    id: i64,
    head: u64,
    keys: u64,
}

impl<'t> Ledger<'t> {
    pub(crate) fn new(transaction: &'t Transaction<'t>, now: Now, max_keys: u64) -> Self {
        Self { transaction, now, max_keys, rooms: HashMap::new(), bytes: 0 }
    }

    /// Adds a message, unless its key says that it is here.
    pub(crate) fn append(&mut self, message: &Prepared) -> rusqlite::Result<Outcome> {
        let mut row = self.row(&message.room)?;
        let at = self.now.at;
        let slot = match &message.key {
            Some(key) => {
                let slot = record::slot(row.id, &message.user.key(), &key.key);
                if let Some(outcome) = self.known(key, &slot)? {
                    return Ok(outcome);
                }
                Some((slot, key))
            }
            None => None,
        };
        if row.head >= LAST_SEQ || row.id >= LAST_ROOM {
            return Ok(Outcome::Refused(AppendError::Unavailable("the room is full".to_owned())));
        }
        let seq = row.head + 1;
        let draft = NewMessage {
            user: message.user.clone(),
            key: message.key.as_ref().map(|key| key.key.clone()),
            body: message.body.clone(),
        };
        let stored = draft.into_stored(message.room.clone(), seq, at);
        let id = record::id(row.id, seq);
        let sum = record::sum(&message.room, seq, &stored.frame);
        self.transaction
            .prepare_cached("INSERT INTO messages (id, at, sum, frame) VALUES (?1, ?2, ?3, ?4)")?
            .execute((id, at, sum, &*stored.frame))?;
        if let Some((slot, key)) = slot {
            row.keys += 1;
            self.remember(&mut row, id, &slot, key)?;
        }
        row.head = seq;
        self.rooms.insert(message.room.clone(), row);
        self.bytes += stored.frame.len();
        Ok(Outcome::Stored(AppendReceipt { seq, at, duplicate: false }, stored))
    }

    /// Writes down how far the rooms have got.
    pub(crate) fn finish(self) -> rusqlite::Result<Added> {
        let mut update =
            self.transaction.prepare_cached("UPDATE rooms SET head = ?2, keys = ?3 WHERE id = ?1")?;
        for row in self.rooms.values() {
            update.execute((row.id, row.head, row.keys))?;
        }
        Ok(Added { bytes: self.bytes, rooms: self.rooms.values().map(|row| row.id).collect() })
    }

    fn row(&mut self, room: &RoomName) -> rusqlite::Result<Row> {
        if let Some(row) = self.rooms.get(room) {
            return Ok(*row);
        }
        let row = self
            .transaction
            .prepare_cached("SELECT id, head, keys FROM rooms WHERE name = ?1")?
            .query_row([room.as_str()], |row| {
                Ok(Row { id: row.get(0)?, head: row.get(1)?, keys: row.get(2)? })
            })
            .optional()?;
        if let Some(row) = row {
            return Ok(row);
        }
        self.transaction
            .prepare_cached("INSERT INTO rooms (name, head, first, keys) VALUES (?1, 0, 1, 0)")?
            .execute([room.as_str()])?;
        Ok(Row { id: self.transaction.last_insert_rowid(), head: 0, keys: 0 })
    }

    /// What a key was used for before, if that is not too long ago.
    fn known(&self, key: &Key, slot: &[u8]) -> rusqlite::Result<Option<Outcome>> {
        let known = self
            .transaction
            .prepare_cached("SELECT id, at, digest FROM keys WHERE slot = ?1")?
            .query_row([slot], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, Vec<u8>>(2)?)))
            .optional()?;
        let Some((id, at, digest)) = known else { return Ok(None) };
        if self.now.sure.saturating_sub(at) >= key.window {
            return Ok(None);
        }
        Ok(Some(if digest == key.digest {
            Outcome::Known(AppendReceipt { seq: record::seq(id), at, duplicate: true })
        } else {
            Outcome::Refused(AppendError::KeyConflict)
        }))
    }

    /// Keeps a key, in place of the room's oldest if there are too many; two go for one that comes, so that a
    /// lowered bound is reached.
    fn remember(&self, row: &mut Row, id: i64, slot: &[u8], key: &Key) -> rusqlite::Result<()> {
        row.keys -=
            self.transaction.prepare_cached("DELETE FROM keys WHERE slot = ?1")?.execute([slot])? as u64;
        self.transaction
            .prepare_cached("INSERT INTO keys (id, slot, at, digest) VALUES (?1, ?2, ?3, ?4)")?
            .execute((id, slot, self.now.at, key.digest))?;
        for _ in 0..row.keys.saturating_sub(self.max_keys).min(2) {
            row.keys -= self
                .transaction
                .prepare_cached("DELETE FROM keys WHERE id = (SELECT min(id) FROM keys WHERE id > ?1)")?
                .execute([record::id(row.id, 0)])? as u64;
        }
        Ok(())
    }
}

/// Counts one transaction more, in it; the number of those so far.
pub(crate) fn count(transaction: &Transaction<'_>) -> rusqlite::Result<u64> {
    transaction
        .prepare_cached("UPDATE store SET commits = commits + 1 RETURNING commits")?
        .query_row((), |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chat_core::User;
    use rusqlite::Connection;

    use super::*;
    use crate::schema::migrate;
    use crate::sweep::{Keep, Sweep, Swept};

    const DAY: u64 = 24 * 60 * 60 * 1_000;

    fn say(connection: &mut Connection, now: Now, key: &str, max_keys: u64) -> (u64, bool) {
        let transaction = connection.transaction().expect("begun");
        let key = Key { key: key.to_owned(), digest: [0; 20], window: DAY };
        let message = Prepared {
            room: "lobby".parse().expect("a room name"),
            user: User::guest("ann").expect("a name"),
            key: Some(key),
            body: RawValue::from_string("{}".to_owned()).expect("JSON"),
        };
        let mut ledger = Ledger::new(&transaction, now, max_keys);
        let outcome = ledger.append(&message).expect("no error");
        ledger.finish().expect("no error");
        transaction.commit().expect("committed");
        match outcome {
            Outcome::Stored(appended, _) | Outcome::Known(appended) => (appended.seq, appended.duplicate),
            Outcome::Refused(error) => panic!("{error}"),
        }
    }

    fn sweep(connection: &mut Connection, now: Now) -> usize {
        let keep = Keep { age: Some(Duration::from_millis(DAY)), messages: None, key_window: Some(DAY) };
        let transaction = connection.transaction().expect("begun");
        let Swept { rows, over } = Sweep::default().step(&transaction, keep, now).expect("no error");
        assert!(over);
        transaction.commit().expect("committed");
        rows
    }

    #[test]
    fn a_clock_that_jumps_makes_nothing_old_before_its_time() {
        let mut connection = Connection::open_in_memory().expect("a database");
        migrate(&mut connection).expect("a schema");
        let start = 100 * DAY;
        let jumps = |at, passed| Now::new(at, start + passed);
        assert_eq!(say(&mut connection, jumps(start, 0), "a", 9), (1, false));
        for (n, at) in (2..).zip([start + 50 * DAY, start - 50 * DAY, 0]) {
            let now = jumps(at, DAY - 1);
            assert_eq!(say(&mut connection, now, "a", 9), (1, true), "{at}");
            assert_eq!(say(&mut connection, now, &n.to_string(), 9), (n, false), "{at}");
            assert_eq!(say(&mut connection, now, &n.to_string(), 9), (n, true), "{at}");
            assert_eq!(sweep(&mut connection, now), 0, "{at}");
        }
        let later = jumps(start + DAY, DAY);
        assert_eq!(sweep(&mut connection, later), 2, "the first and its key: what follows seems younger");
        assert_eq!(say(&mut connection, later, "a", 9), (5, false));
    }

    #[test]
    fn a_lowered_bound_on_keys_is_reached_in_time() {
        let mut connection = Connection::open_in_memory().expect("a database");
        migrate(&mut connection).expect("a schema");
        let now = Now::new(DAY, DAY);
        for n in 0..20 {
            say(&mut connection, now, &n.to_string(), 20);
        }
        let count = |connection: &Connection| {
            let sql = "SELECT (SELECT count(*) FROM keys), keys FROM rooms";
            connection.query_row(sql, (), |row| Ok((row.get(0)?, row.get(1)?))).expect("counted")
        };
        for n in 20..35 {
            say(&mut connection, now, &n.to_string(), 10);
        }
        assert_eq!(count(&connection), (10_u64, 10_u64));
        assert_eq!(say(&mut connection, now, "25", 10), (26, true));
    }
}
