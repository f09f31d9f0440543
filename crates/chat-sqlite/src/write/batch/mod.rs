mod act;
mod change;
mod keys;
mod links;
mod marker;
mod purge;
mod scrub;

use std::collections::{HashMap, HashSet};

use chat_core::{ChangeError, NewMessage, RoomName, StoredMessage, Unavailable};
use rusqlite::{CachedStatement, ErrorCode, OptionalExtension, Transaction};
use serde::Deserialize;

use self::change::ChangedMessages;
use crate::database::Deletion;
use crate::database::row::{LAST_ROOM, LAST_SEQ, checksum, message_id, verified_frame};
use crate::write::clock::Now;
use crate::write::key_counts::KeyCounts;
use crate::write::room_rows::{RoomRow, RoomRows};
use crate::write::staging::{NewStaged, Staging};

pub(crate) use self::act::PreparedAct;
pub(crate) use self::change::PreparedChange;
use self::keys::NewKey;
pub(crate) use self::marker::{PreparedFollow, PreparedMarker, delete_markers};

/// Damaged messages at the end of a room that are skipped to find the time of its newest message.
const MAX_DAMAGED: usize = 16;

/// A message that waits for its `seq`.
#[derive(Debug)]
pub(crate) struct PreparedMessage {
    pub(crate) room: RoomName,
    pub(crate) message: NewMessage,
    pub(crate) key: Option<IdempotencyKey>,
}

/// A write that waits for its transaction: an entry that waits for its `seq`, a marker, or a room to follow.
#[derive(Debug)]
pub(crate) enum Prepared {
    Message(PreparedMessage),
    Change(Box<PreparedChange>),
    Act(Box<PreparedAct>),
    Purge(Box<PreparedAct>),
    Marker(PreparedMarker),
    Follow(PreparedFollow),
}

impl Prepared {
    pub(crate) fn room(&self) -> &RoomName {
        match self {
            Self::Message(message) => &message.room,
            Self::Change(change) => &change.room,
            Self::Act(act) | Self::Purge(act) => &act.room,
            Self::Marker(marker) => &marker.room,
            Self::Follow(follow) => &follow.room,
        }
    }
}

/// The key by which a repeated message is recognized.
#[derive(Debug)]
pub(crate) struct IdempotencyKey {
    pub(crate) key: String,
    /// SHA-1 of the body, or of the edit.
    pub(crate) digest: [u8; 20],
    /// Time for which the key is remembered, in milliseconds.
    pub(crate) window: u64,
}

/// The position of a stored entry. The room adds its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// `None` for a change that changes nothing, a marker beyond the head, and a room that is one too many to follow.
    pub(crate) seq: Option<u64>,
    /// The time of the commit, in milliseconds since the Unix epoch.
    pub(crate) at: u64,
    /// `true` if an earlier append with the same key, or an earlier deletion, has stored the entry.
    pub(crate) duplicate: bool,
}

/// The result of an append or a change, valid once its transaction is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Stored(Position, StoredMessage),
    /// A change is stored. [`StoredBatch::take`] returns its entry.
    Changed(Position),
    /// Nothing is stored, because the log has it.
    Known(Position),
    /// A purge is accepted, of the messages up to a position.
    Purging {
        id: i64,
        up_to: u64,
    },
    Refused(ChangeError),
}

/// The appends and changes of one transaction.
pub(crate) struct AppendBatch<'t> {
    transaction: &'t Transaction<'t>,
    now: Now,
    limits: BatchLimits,
    key_counts: &'t mut KeyCounts,
    /// The rows that the batch has changed.
    rooms: HashMap<RoomName, RoomRow>,
    /// The rows that are known from earlier batches.
    known_rooms: Option<&'t RoomRows>,
    /// The place of new messages. `None` if they are stored in their tables.
    staging: Option<&'t mut Staging>,
    /// The statement that stages a message, from the first one on.
    stage: Option<CachedStatement<'t>>,
    changed: ChangedMessages,
    /// The ids of the rooms whose ended standings were removed.
    swept: HashSet<i64>,
    bytes: usize,
    has_marked: bool,
}

/// The limits of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchLimits {
    /// Idempotency keys of one user in one room.
    pub(crate) max_keys: u64,
    /// Markers of one room.
    pub(crate) max_markers: u64,
    /// Rooms that all guests together follow.
    pub(crate) max_guest_follows: u64,
    /// `true` if the store has reached its quota, so that it stores no message.
    pub(crate) is_full: bool,
    /// `true` if the batch repeats changes that were judged when they were made. Then no standing forbids them.
    pub(crate) is_repeat: bool,
}

/// The entries that a batch has stored.
#[derive(Debug, Default)]
pub(crate) struct StoredBatch {
    /// Bytes of the entries, or 0 if there are none.
    pub(crate) bytes: usize,
    /// The rows of their rooms.
    pub(crate) rooms: HashMap<RoomName, RoomRow>,
    /// The messages that were deleted.
    pub(crate) deletions: Vec<Deletion>,
    /// `true` if a marker, a followed room, or the row of a purge was written.
    pub(crate) has_marked: bool,
    /// The changes of the batch and the messages that they have changed, in their present form.
    altered: HashMap<(RoomName, u64), AlteredEntry>,
}

/// An entry in its present form.
#[derive(Debug)]
pub(crate) struct AlteredEntry {
    pub(crate) stored: StoredMessage,
    /// The present form of the entries that this deletion has erased.
    pub(crate) erased: Vec<StoredMessage>,
}

impl StoredBatch {
    /// Returns an entry in its present form, if a change has made or altered it. Returns it only once: several
    /// reactions may be one entry.
    pub(crate) fn take(&mut self, room: &RoomName, seq: Option<u64>) -> Option<AlteredEntry> {
        if self.altered.is_empty() {
            return None;
        }
        self.altered.remove(&(room.clone(), seq?))
    }
}

impl<'t> AppendBatch<'t> {
    pub(crate) fn new(
        transaction: &'t Transaction<'t>,
        now: Now,
        limits: BatchLimits,
        key_counts: &'t mut KeyCounts,
    ) -> Self {
        let (rooms, changed, swept) = Default::default();
        let (known_rooms, staging, stage, bytes, has_marked) = (None, None, None, 0, false);
        Self {
            transaction,
            now,
            limits,
            key_counts,
            rooms,
            known_rooms,
            staging,
            stage,
            changed,
            swept,
            bytes,
            has_marked,
        }
    }

    /// Uses rows that are known from earlier batches.
    pub(crate) fn with_rows(mut self, rows: &'t RoomRows) -> Self {
        self.known_rooms = Some(rows);
        self
    }

    /// Stages new messages, if there is a staging.
    pub(crate) fn with_staging(mut self, staging: Option<&'t mut Staging>) -> Self {
        self.staging = staging;
        self
    }

    /// Stores a message, unless its key shows that it is stored already.
    pub(crate) fn append(&mut self, prepared: &PreparedMessage) -> rusqlite::Result<Outcome> {
        let PreparedMessage { room, message, key: given } = prepared;
        let known = self.row(room)?;
        let key = known.zip(given.as_ref()).map(|(row, key)| self.look_up(row, &message.user, key));
        let key = match key.transpose()?.transpose() {
            Ok(key) => key,
            Err(outcome) => return Ok(outcome),
        };
        let role = match known {
            Some(row) if row.governed => {
                let at = self.next_time(room, row)?;
                match self.check_send(room, row, (&message.user, message.role), at)? {
                    Ok(role) => role,
                    Err(denied) => return Ok(Outcome::Refused(denied.into())),
                }
            }
            // Nobody is in a direct room before it is opened.
            _ if room.is_direct() => return Ok(Outcome::Refused(ChangeError::Forbidden)),
            _ => message.role,
        };
        if let Err(error) = self.judge_links(room, known, (message, role))? {
            return Ok(Outcome::Refused(error));
        }
        if self.limits.is_full {
            return Ok(refused("the store has reached its disk quota"));
        }
        let mut row = match known {
            Some(row) => row,
            None => self.create_row(room)?,
        };
        if row.head >= LAST_SEQ || row.id >= LAST_ROOM {
            return Ok(refused("the room is full"));
        }
        let key = match (key, given) {
            // A new room has no keys.
            (None, Some(given)) => Some(NewKey::of_new_room(row.id, &message.user, given)),
            (key, _) => key,
        };
        let seq = row.head + 1;
        let at = self.next_time(room, row)?;
        let stored = message.folded(room, seq, at, None);
        let id = message_id(row.id, seq);
        let sum = checksum(room, seq, &stored.frame);
        let is_guest = message.user.is_guest();
        let connection = message.connection.filter(|_| is_guest).map(u64::cast_signed);
        let thread = message.thread().map(|root| message_id(row.id, root));
        if let Some(key) = &key {
            self.count_key(&mut row, key)?;
        }
        if let Some(staging) = &mut self.staging {
            let frame = &*stored.frame;
            let message = NewStaged { id, at, sum, frame, is_guest, connection };
            let key = key.as_ref().map(|key| (&*key.slot, key.digest));
            let stage = match &mut self.stage {
                Some(stage) => stage,
                none => none.insert(Staging::prepare(self.transaction)?),
            };
            staging.add(stage, &message, key, self.now.open_ms)?;
        } else {
            self.transaction
                .prepare_cached(
                    "INSERT INTO messages (id, at, sum, frame, guest, connection, thread)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute((id, at, sum, &*stored.frame, is_guest, connection, thread))?;
            if let Some(key) = &key {
                self.insert_key(id, at, key)?;
            }
        }
        if let Some(root) = thread {
            self.count_reply(root, seq);
        }
        row.head = seq;
        row.last_at = Some(at);
        self.rooms.insert(room.clone(), row);
        self.bytes += stored.frame.len();
        Ok(Outcome::Stored(Position { seq: Some(seq), at, duplicate: false }, stored))
    }

    /// Updates the rows of the rooms and of the changed messages.
    pub(crate) fn finish(mut self) -> rusqlite::Result<StoredBatch> {
        let (altered, deletions) = self.finish_changes()?;
        let mut update = self.transaction.prepare_cached(
            "UPDATE rooms SET head = ?2, keys = ?3, changes = ?4, governed = ?5, empty_ms = 0 WHERE id = ?1",
        )?;
        for row in self.rooms.values() {
            update.execute((row.id, row.head, row.keys, row.changes, row.governed))?;
        }
        let Self { bytes, rooms, has_marked, .. } = self;
        Ok(StoredBatch { bytes, rooms, deletions, has_marked, altered })
    }

    /// Returns the time of a room's next entry.
    fn next_time(&self, room: &RoomName, row: RoomRow) -> rusqlite::Result<u64> {
        let last_at = match row.last_at {
            Some(at) => at,
            None => self.last_time(room, row)?,
        };
        // The system clock may have been set back.
        Ok(self.now.at.max(last_at))
    }

    fn row(&self, room: &RoomName) -> rusqlite::Result<Option<RoomRow>> {
        let known = || self.known_rooms.and_then(|known| known.get(room));
        match self.rooms.get(room).copied().or_else(known) {
            None => self.stored_row(room),
            known => Ok(known),
        }
    }

    fn stored_row(&self, room: &RoomName) -> rusqlite::Result<Option<RoomRow>> {
        self.transaction
            .prepare_cached("SELECT id, head, keys, changes, governed FROM rooms WHERE name = ?1")?
            .query_row([room.as_str()], |row| {
                Ok(RoomRow {
                    id: row.get(0)?,
                    head: row.get(1)?,
                    keys: row.get(2)?,
                    changes: row.get(3)?,
                    governed: row.get(4)?,
                    last_at: None,
                })
            })
            .optional()
    }

    fn create_row(&self, room: &RoomName) -> rusqlite::Result<RoomRow> {
        // The room may have existed before, with positions up to this one.
        let head = self.reserved_seq()?;
        self.transaction
            .prepare_cached("INSERT INTO rooms (name, head, first, keys) VALUES (?1, ?2, ?2 + 1, 0)")?
            .execute((room.as_str(), head))?;
        let id = self.transaction.last_insert_rowid();
        Ok(RoomRow { id, head, keys: 0, changes: 0, governed: false, last_at: None })
    }

    /// Returns the highest `seq` of all deleted rooms.
    fn reserved_seq(&self) -> rusqlite::Result<u64> {
        self.transaction.prepare_cached("SELECT reserved_seq FROM store")?.query_row((), |row| row.get(0))
    }

    /// Returns the time of a room's newest readable entry, or 0 if there is none.
    ///
    /// The time is read from the frame, because the `at` column has no checksum. A damaged time in the future would
    /// become the time of all later messages.
    fn last_time(&self, room: &RoomName, row: RoomRow) -> rusqlite::Result<u64> {
        // A message, a change, or an act.
        #[derive(Deserialize)]
        struct Entry {
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
                if let Some(Ok(Entry { at })) = frame.map(serde_json::from_slice) {
                    return Ok(at);
                }
            }
            Ok(0)
        };
        // The `seq` and the time of the newest change.
        let last_change = || -> rusqlite::Result<(u64, u64)> {
            if row.changes == 0 {
                return Ok((0, 0));
            }
            let sql =
                "SELECT id, sum, entry FROM changes WHERE id > ?1 AND id <= ?2 ORDER BY id DESC LIMIT 1";
            let range = (message_id(row.id, 0), message_id(row.id, row.head));
            let mut statement = self.transaction.prepare_cached(sql)?;
            let mut rows = statement.query(range)?;
            let Some(row) = rows.next()? else { return Ok((0, 0)) };
            let (seq, text) = verified_frame(room, row)?;
            let entry = text.and_then(|text| serde_json::from_slice(text).ok());
            Ok(entry.map_or((0, 0), |Entry { at }| (seq, at)))
        };
        let newest = || -> rusqlite::Result<u64> {
            match last_change()? {
                // The newest entry has the newest time.
                (seq, at) if seq == row.head => Ok(at),
                (_, at) => Ok(at.max(read()?)),
            }
        };
        match newest() {
            // A damaged page of the previous message must not refuse the next one.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => Ok(0),
            result => result,
        }
    }
}

fn refused(cause: &'static str) -> Outcome {
    Outcome::Refused(Unavailable::over_quota(cause).into())
}

#[cfg(test)]
mod tests;
