use std::collections::HashMap;

use chat_core::{AppendError, AppendReceipt, NewMessage, RoomName, StoredMessage, User};
use rusqlite::{OptionalExtension, Transaction};
use serde_json::value::RawValue;

use super::clock::Now;
use crate::database::row::{LAST_ROOM, LAST_SEQ, checksum, key_slot, message_id, seq_of};

/// A message that waits for its `seq`.
#[derive(Debug)]
pub(crate) struct PreparedMessage {
    pub(crate) room: RoomName,
    pub(crate) user: User,
    pub(crate) key: Option<IdempotencyKey>,
    pub(crate) body: Box<RawValue>,
}

/// The key by which a repeated message is recognized.
#[derive(Debug)]
pub(crate) struct IdempotencyKey {
    pub(crate) key: String,
    /// SHA-1 of the body.
    pub(crate) digest: [u8; 20],
    /// Time for which the key is remembered, in milliseconds.
    pub(crate) window: u64,
}

/// The result of an append, valid once its transaction is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Stored(AppendReceipt, StoredMessage),
    /// An earlier append with the same key has stored the message.
    Duplicate(AppendReceipt),
    Refused(AppendError),
}

/// The appends of one transaction.
pub(crate) struct AppendBatch<'t> {
    transaction: &'t Transaction<'t>,
    now: Now,
    max_keys: u64,
    rooms: HashMap<RoomName, RoomRow>,
    bytes: usize,
}

/// The messages that a batch has stored.
#[derive(Debug, Default)]
pub(crate) struct Appended {
    /// Bytes of the messages, or 0 if there are none.
    pub(crate) bytes: usize,
    /// Ids of their rooms.
    pub(crate) rooms: Vec<i64>,
}

#[derive(Clone, Copy, Debug)]
struct RoomRow {
    id: i64,
    head: u64,
    keys: u64,
}

impl<'t> AppendBatch<'t> {
    pub(crate) fn new(transaction: &'t Transaction<'t>, now: Now, max_keys: u64) -> Self {
        Self { transaction, now, max_keys, rooms: HashMap::new(), bytes: 0 }
    }

    /// Stores a message, unless its key shows that it is stored already.
    pub(crate) fn append(&mut self, message: &PreparedMessage) -> rusqlite::Result<Outcome> {
        let mut row = self.row(&message.room)?;
        let at = self.now.at;
        let slot = match &message.key {
            Some(key) => {
                let slot = key_slot(row.id, &message.user.key(), &key.key);
                if let Some(outcome) = self.find_key(key, &slot)? {
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
        let id = message_id(row.id, seq);
        let sum = checksum(&message.room, seq, &stored.frame);
        self.transaction
            .prepare_cached("INSERT INTO messages (id, at, sum, frame) VALUES (?1, ?2, ?3, ?4)")?
            .execute((id, at, sum, &*stored.frame))?;
        if let Some((slot, key)) = slot {
            row.keys += 1;
            self.insert_key(&mut row, id, &slot, key)?;
        }
        row.head = seq;
        self.rooms.insert(message.room.clone(), row);
        self.bytes += stored.frame.len();
        Ok(Outcome::Stored(AppendReceipt { seq, at, duplicate: false }, stored))
    }

    /// Updates the rows of the rooms.
    pub(crate) fn finish(self) -> rusqlite::Result<Appended> {
        let mut update =
            self.transaction.prepare_cached("UPDATE rooms SET head = ?2, keys = ?3 WHERE id = ?1")?;
        for row in self.rooms.values() {
            update.execute((row.id, row.head, row.keys))?;
        }
        Ok(Appended { bytes: self.bytes, rooms: self.rooms.values().map(|row| row.id).collect() })
    }

    fn row(&mut self, room: &RoomName) -> rusqlite::Result<RoomRow> {
        if let Some(row) = self.rooms.get(room) {
            return Ok(*row);
        }
        let row = self
            .transaction
            .prepare_cached("SELECT id, head, keys FROM rooms WHERE name = ?1")?
            .query_row([room.as_str()], |row| {
                Ok(RoomRow { id: row.get(0)?, head: row.get(1)?, keys: row.get(2)? })
            })
            .optional()?;
        if let Some(row) = row {
            return Ok(row);
        }
        self.transaction
            .prepare_cached("INSERT INTO rooms (name, head, first, keys) VALUES (?1, 0, 1, 0)")?
            .execute([room.as_str()])?;
        Ok(RoomRow { id: self.transaction.last_insert_rowid(), head: 0, keys: 0 })
    }

    /// Returns the result of an append with a known key, or `None` if the key is new or has expired.
    fn find_key(&self, key: &IdempotencyKey, slot: &[u8]) -> rusqlite::Result<Option<Outcome>> {
        let known = self
            .transaction
            .prepare_cached("SELECT id, at, digest FROM keys WHERE slot = ?1")?
            .query_row([slot], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, Vec<u8>>(2)?)))
            .optional()?;
        let Some((id, at, digest)) = known else { return Ok(None) };
        if self.now.safe.saturating_sub(at) >= key.window {
            return Ok(None);
        }
        Ok(Some(if digest == key.digest {
            Outcome::Duplicate(AppendReceipt { seq: seq_of(id), at, duplicate: true })
        } else {
            Outcome::Refused(AppendError::KeyConflict)
        }))
    }

    /// Stores a key. If the room has too many, deletes up to two of its oldest keys, so that a lowered limit is reached.
    fn insert_key(
        &self,
        row: &mut RoomRow,
        id: i64,
        slot: &[u8],
        key: &IdempotencyKey,
    ) -> rusqlite::Result<()> {
        row.keys -=
            self.transaction.prepare_cached("DELETE FROM keys WHERE slot = ?1")?.execute([slot])? as u64;
        self.transaction
            .prepare_cached("INSERT INTO keys (id, slot, at, digest) VALUES (?1, ?2, ?3, ?4)")?
            .execute((id, slot, self.now.at, key.digest))?;
        for _ in 0..row.keys.saturating_sub(self.max_keys).min(2) {
            row.keys -= self
                .transaction
                .prepare_cached("DELETE FROM keys WHERE id = (SELECT min(id) FROM keys WHERE id > ?1)")?
                .execute([message_id(row.id, 0)])? as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chat_core::User;
    use rusqlite::Connection;

    use super::*;
    use crate::database::migrate;
    use crate::write::retention::{RetentionPolicy, RetentionSweep, SweepStep};

    const DAY: u64 = 24 * 60 * 60 * 1_000;

    fn say(connection: &mut Connection, now: Now, key: &str, max_keys: u64) -> (u64, bool) {
        let transaction = connection.transaction().expect("begun");
        let key = IdempotencyKey { key: key.to_owned(), digest: [0; 20], window: DAY };
        let message = PreparedMessage {
            room: "lobby".parse().expect("a room name"),
            user: User::guest("ann").expect("a name"),
            key: Some(key),
            body: RawValue::from_string("{}".to_owned()).expect("JSON"),
        };
        let mut batch = AppendBatch::new(&transaction, now, max_keys);
        let outcome = batch.append(&message).expect("no error");
        batch.finish().expect("no error");
        transaction.commit().expect("committed");
        match outcome {
            Outcome::Stored(receipt, _) | Outcome::Duplicate(receipt) => (receipt.seq, receipt.duplicate),
            Outcome::Refused(error) => panic!("{error}"),
        }
    }

    fn sweep(connection: &mut Connection, now: Now) -> usize {
        let policy =
            RetentionPolicy { age: Some(Duration::from_millis(DAY)), messages: None, key_window: Some(DAY) };
        let transaction = connection.transaction().expect("begun");
        let step = RetentionSweep::default().step(&transaction, policy, now).expect("no error");
        let SweepStep { deleted_rows, is_last } = step;
        assert!(is_last);
        transaction.commit().expect("committed");
        deleted_rows
    }

    #[test]
    fn a_clock_jump_expires_no_message_or_key_early() {
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
        assert_eq!(
            sweep(&mut connection, later),
            2,
            "the first message and its key; the next ones seem younger"
        );
        assert_eq!(say(&mut connection, later, "a", 9), (5, false));
    }

    #[test]
    fn a_lowered_key_limit_is_reached_by_later_appends() {
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
