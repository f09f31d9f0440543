use std::collections::HashMap;

use chat_core::{AppendError, NewMessage, RoomName, StoredMessage, Unavailable, User};
use rusqlite::{ErrorCode, OptionalExtension, Transaction};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::database::row::{LAST_ROOM, LAST_SEQ, checksum, key_slot, message_id, seq_of, verified_frame};
use crate::write::clock::Now;
use crate::write::key_counts::KeyCounts;

/// Damaged messages at the end of a room that are skipped to find the time of its newest message.
const MAX_DAMAGED: usize = 16;

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

/// The position of a stored message. The room adds its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) seq: u64,
    /// The time of the commit, in milliseconds since the Unix epoch.
    pub(crate) at: u64,
    /// `true` if an earlier append with the same key has stored the message.
    pub(crate) duplicate: bool,
}

/// The result of an append, valid once its transaction is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Stored(Position, StoredMessage),
    /// An earlier append with the same key has stored the message.
    Duplicate(Position),
    Refused(AppendError),
}

/// The appends of one transaction.
pub(crate) struct AppendBatch<'t> {
    transaction: &'t Transaction<'t>,
    now: Now,
    limits: BatchLimits,
    key_counts: &'t mut KeyCounts,
    rooms: HashMap<RoomName, RoomRow>,
    bytes: usize,
}

/// The limits of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchLimits {
    /// Idempotency keys of one user in one room.
    pub(crate) max_keys: u64,
    /// `true` if the store has reached its quota, so that it stores no message.
    pub(crate) is_full: bool,
}

/// The messages that a batch has stored.
#[derive(Debug, Default)]
pub(crate) struct StoredBatch {
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
    /// Time of the newest message that this batch has stored, or `None` if there is none.
    last_at: Option<u64>,
}

impl<'t> AppendBatch<'t> {
    pub(crate) fn new(
        transaction: &'t Transaction<'t>,
        now: Now,
        limits: BatchLimits,
        key_counts: &'t mut KeyCounts,
    ) -> Self {
        Self { transaction, now, limits, key_counts, rooms: HashMap::new(), bytes: 0 }
    }

    /// Stores a message, unless its key shows that it is stored already.
    pub(crate) fn append(&mut self, message: &PreparedMessage) -> rusqlite::Result<Outcome> {
        let mut row = self.row(&message.room)?;
        let slot = match &message.key {
            Some(key) => {
                let slot = key_slot(row.id, &message.user.key(), &key.key);
                if let Some(outcome) = self.find_key(key, &slot)? {
                    return Ok(outcome);
                }
                if self.key_counts.get(self.transaction, &slot)? >= self.limits.max_keys {
                    return Ok(refused(
                        "the user has too many idempotency keys in the room; the oldest must expire",
                    ));
                }
                Some((slot, key))
            }
            None => None,
        };
        if self.limits.is_full {
            return Ok(refused("the store has reached its disk quota"));
        }
        if row.head >= LAST_SEQ || row.id >= LAST_ROOM {
            return Ok(refused("the room is full"));
        }
        let seq = row.head + 1;
        let last_at = match row.last_at {
            Some(at) => at,
            None => self.last_time(&message.room, row)?,
        };
        // The system clock may have been set back.
        let at = self.now.at.max(last_at);
        let draft = NewMessage::new(message.user.clone(), message.body.clone())
            .with_key(message.key.as_ref().map(|key| key.key.clone()));
        let stored = draft.into_stored(message.room.clone(), seq, at);
        let id = message_id(row.id, seq);
        let sum = checksum(&message.room, seq, &stored.frame);
        self.transaction
            .prepare_cached("INSERT INTO messages (id, at, sum, frame) VALUES (?1, ?2, ?3, ?4)")?
            .execute((id, at, sum, &*stored.frame))?;
        if let Some((slot, key)) = slot {
            row.keys += 1;
            self.insert_key(&mut row, id, &slot, at, key)?;
        }
        row.head = seq;
        row.last_at = Some(at);
        self.rooms.insert(message.room.clone(), row);
        self.bytes += stored.frame.len();
        Ok(Outcome::Stored(Position { seq, at, duplicate: false }, stored))
    }

    /// Updates the rows of the rooms.
    pub(crate) fn finish(self) -> rusqlite::Result<StoredBatch> {
        let mut update = self
            .transaction
            .prepare_cached("UPDATE rooms SET head = ?2, keys = ?3, empty_ms = 0 WHERE id = ?1")?;
        for row in self.rooms.values() {
            update.execute((row.id, row.head, row.keys))?;
        }
        Ok(StoredBatch { bytes: self.bytes, rooms: self.rooms.values().map(|row| row.id).collect() })
    }

    fn row(&mut self, room: &RoomName) -> rusqlite::Result<RoomRow> {
        if let Some(row) = self.rooms.get(room) {
            return Ok(*row);
        }
        let row = self
            .transaction
            .prepare_cached("SELECT id, head, keys FROM rooms WHERE name = ?1")?
            .query_row([room.as_str()], |row| {
                Ok(RoomRow { id: row.get(0)?, head: row.get(1)?, keys: row.get(2)?, last_at: None })
            })
            .optional()?;
        if let Some(row) = row {
            return Ok(row);
        }
        // The room may have existed before, with positions up to this one.
        let head: u64 = self
            .transaction
            .prepare_cached("SELECT reserved_seq FROM store")?
            .query_row((), |row| row.get(0))?;
        self.transaction
            .prepare_cached("INSERT INTO rooms (name, head, first, keys) VALUES (?1, ?2, ?2 + 1, 0)")?
            .execute((room.as_str(), head))?;
        Ok(RoomRow { id: self.transaction.last_insert_rowid(), head, keys: 0, last_at: None })
    }

    /// Returns the time of a room's newest readable message, or 0 if there is none.
    ///
    /// The time is read from the frame, because the `at` column has no checksum. A damaged time in the future would
    /// become the time of all later messages.
    fn last_time(&self, room: &RoomName, row: RoomRow) -> rusqlite::Result<u64> {
        #[derive(Deserialize)]
        struct Message {
            at: u64,
        }
        if row.head == 0 {
            return Ok(0);
        }
        let read = || -> rusqlite::Result<u64> {
            let sql =
                "SELECT id, sum, frame FROM messages WHERE id > ?1 AND id <= ?2 ORDER BY id DESC LIMIT ?3";
            let mut statement = self.transaction.prepare_cached(sql)?;
            let range = (message_id(row.id, 0), message_id(row.id, row.head), MAX_DAMAGED);
            let mut rows = statement.query(range)?;
            while let Some(row) = rows.next()? {
                let (_, frame) = verified_frame(room, row)?;
                if let Some(Ok(Message { at })) = frame.map(serde_json::from_slice) {
                    return Ok(at);
                }
            }
            Ok(0)
        };
        match read() {
            // A damaged page of the previous message must not refuse the next one.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => Ok(0),
            result => result,
        }
    }

    /// Returns the result of an append with a known key, or `None` if the key is new or has expired.
    fn find_key(&self, key: &IdempotencyKey, slot: &[u8]) -> rusqlite::Result<Option<Outcome>> {
        let known = self
            .transaction
            .prepare_cached("SELECT id, at, open_ms, digest FROM keys WHERE slot = ?1")?
            .query_row([slot], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get::<_, u64>(2)?, row.get::<_, Vec<u8>>(3)?))
            })
            .optional()?;
        let Some((id, at, open_ms, digest)) = known else { return Ok(None) };
        if self.now.open_ms.saturating_sub(open_ms) >= key.window {
            return Ok(None);
        }
        Ok(Some(if digest == key.digest {
            Outcome::Duplicate(Position { seq: seq_of(id), at, duplicate: true })
        } else {
            Outcome::Refused(AppendError::KeyConflict)
        }))
    }

    /// Stores a key, in place of an expired one.
    fn insert_key(
        &mut self,
        row: &mut RoomRow,
        id: i64,
        slot: &[u8],
        at: u64,
        key: &IdempotencyKey,
    ) -> rusqlite::Result<()> {
        let replaced =
            self.transaction.prepare_cached("DELETE FROM keys WHERE slot = ?1")?.execute([slot])?;
        if replaced > 0 {
            row.keys -= 1;
            self.key_counts.remove(slot);
        }
        self.transaction
            .prepare_cached("INSERT INTO keys (id, slot, at, open_ms, digest) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute((id, slot, at, self.now.open_ms, key.digest))?;
        self.key_counts.add(slot);
        Ok(())
    }
}

fn refused(cause: &'static str) -> Outcome {
    Outcome::Refused(Unavailable::over_quota(cause).into())
}

#[cfg(test)]
mod tests;
