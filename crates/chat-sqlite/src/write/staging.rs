use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use rusqlite::Transaction;

use super::batch::{NewKey, Prepared};
use super::connection::WriteConnection;
use super::error::WriteError;
use super::queue::AppendRequest;
use super::room_rows::RoomRows;
use crate::database::{ErasureList, move_staged};
use crate::search::Indexer;

/// Messages that are staged before they are moved. A read of a room looks at all of them.
const MAX_MESSAGES: usize = 1_024;

/// Bytes of staged messages above which they are moved.
const MAX_BYTES: usize = 1024 * 1024;

/// Mean bytes of the bodies of a batch up to which it is staged. A longer message has pages of its own in either place.
const MAX_MEAN_BYTES: usize = 1_024;

/// The longest time for which a message is staged, as long as the disk can be written to.
const MAX_TIME: Duration = Duration::from_secs(1);

/// The messages that are committed, but not in the tables which are ordered by room.
///
/// A new message of each of 64 rooms, with its key, belongs on some 200 pages of those tables. As rows of the table
/// `staged`, in the order of their arrival, they are on few pages, so a commit of them costs a fraction. Later many are
/// moved at once, and then each page gets several of them. Reads look at both.
///
/// Only new messages without links are staged. Every other write needs the tables, and moves what is staged first, in
/// its transaction.
#[derive(Debug, Default)]
pub(crate) struct Staging {
    /// The keys of the staged messages, by their slots.
    keys: HashMap<Box<[u8]>, StoredKey>,
    /// The ids of the rooms.
    rooms: BTreeSet<i64>,
    messages: usize,
    bytes: usize,
    /// The time since which there are staged messages.
    since: Option<Instant>,
    /// The rooms whose messages cannot be moved.
    stuck: BTreeSet<i64>,
    /// `true` after a failure: what is staged must be moved before anything else.
    is_unknown: bool,
}

/// The key of a stored message.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoredKey {
    /// The id of the message.
    pub(super) id: i64,
    pub(super) at: u64,
    pub(super) open_ms: u64,
    pub(super) digest: [u8; 20],
}

/// A message to stage.
pub(super) struct NewStaged<'m> {
    pub(super) room: i64,
    pub(super) id: i64,
    pub(super) at: u64,
    pub(super) sum: i64,
    pub(super) frame: &'m [u8],
    pub(super) is_guest: bool,
    pub(super) connection: Option<i64>,
}

impl Staging {
    /// Returns `true` if the appends of a transaction need no table that is ordered by room: they are new messages
    /// without links to rooms whose rows are known, markers, and rooms to follow.
    pub(super) fn admits(&self, requests: &[AppendRequest], rows: &RoomRows) -> bool {
        let body = |request: &AppendRequest| match &request.entry {
            Prepared::Message(prepared) => prepared.message.body.get().len(),
            _ => 0,
        };
        let has_place = self.messages < MAX_MESSAGES && self.bytes < MAX_BYTES && !self.is_unknown;
        has_place
            && requests.iter().map(body).sum::<usize>() <= MAX_MEAN_BYTES * requests.len()
            && requests.iter().all(|request| match &request.entry {
                Prepared::Message(prepared) => {
                    prepared.message.links.is_none()
                        && rows
                            .get(&prepared.room)
                            .is_some_and(|row| row.last_at.is_some() && !self.stuck.contains(&row.id))
                }
                Prepared::Marker(_) | Prepared::Follow(_) => true,
                Prepared::Change(_) | Prepared::Act(_) | Prepared::Purge(_) => false,
            })
    }

    /// Returns the staged message with a key.
    pub(super) fn key(&self, slot: &[u8]) -> Option<StoredKey> {
        self.keys.get(slot).copied()
    }

    /// Stages a message with its key. `open_ms` is the time for which the store has been open.
    pub(super) fn add(
        &mut self,
        transaction: &Transaction<'_>,
        message: &NewStaged<'_>,
        key: Option<&NewKey>,
        open_ms: u64,
    ) -> rusqlite::Result<()> {
        let &NewStaged { room, id, at, sum, frame, is_guest, connection } = message;
        let (slot, digest) = key.map(|key| (&*key.slot, key.digest)).unzip();
        transaction
            .prepare_cached(
                "INSERT INTO staged (id, at, sum, frame, guest, connection, slot, open_ms, digest)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute((id, at, sum, frame, is_guest, connection, slot, slot.map(|_| open_ms), digest))?;
        if let Some((slot, digest)) = slot.zip(digest) {
            self.keys.insert(slot.into(), StoredKey { id, at, open_ms, digest });
        }
        self.rooms.insert(room);
        self.since.get_or_insert_with(Instant::now);
        self.messages += 1;
        self.bytes += frame.len();
        Ok(())
    }

    /// Forgets the key of a staged message, because it has expired.
    pub(super) fn remove_key(&mut self, transaction: &Transaction<'_>, slot: &[u8]) -> rusqlite::Result<()> {
        let sql = "UPDATE staged SET slot = NULL, open_ms = NULL, digest = NULL WHERE slot = ?1";
        transaction.prepare_cached(sql)?.execute([slot])?;
        self.keys.remove(slot);
        Ok(())
    }

    /// Runs a transaction that stages messages. See [`WriteConnection::transact`].
    pub(super) fn stage<T>(
        &mut self,
        connection: &mut WriteConnection,
        work: impl FnOnce(&Transaction<'_>, &mut Self) -> rusqlite::Result<(bool, T)>,
    ) -> Result<T, WriteError> {
        let written = connection.transact(|transaction, _| work(transaction, self));
        self.is_unknown |= written.is_err();
        written
    }

    /// Runs a transaction that finds all messages in their tables. See [`WriteConnection::transact`].
    pub(super) fn transact<T>(
        &mut self,
        connection: &mut WriteConnection,
        indexer: &Indexer,
        work: impl FnOnce(&Transaction<'_>, &mut ErasureList) -> rusqlite::Result<(bool, T)>,
    ) -> Result<T, WriteError> {
        let must_move = self.messages > 0 || self.is_unknown;
        let stuck = &mut self.stuck;
        let value = connection.transact(|transaction, erasures| {
            if must_move {
                move_staged(transaction, stuck)?;
            }
            let (has_written, value) = work(transaction, erasures)?;
            Ok((has_written || must_move, value))
        });
        match &value {
            Ok(_) if must_move => {
                let stuck = std::mem::take(&mut self.stuck);
                let moved = std::mem::replace(self, Self { stuck, ..Self::default() });
                indexer.add(moved.bytes, moved.rooms, false);
            }
            Ok(_) => {}
            // The next sweep tries again.
            Err(_) => (self.is_unknown, self.since) = (must_move, None),
        }
        value
    }

    /// Returns the time until the staged messages must be moved.
    pub(super) fn due(&self) -> Option<Duration> {
        self.since.map(|since| MAX_TIME.saturating_sub(since.elapsed()))
    }

    /// Moves all staged messages to their tables.
    pub(super) fn move_all(
        &mut self,
        connection: &mut WriteConnection,
        indexer: &Indexer,
    ) -> Result<(), WriteError> {
        self.transact(connection, indexer, |_, _| Ok((false, ())))
    }
}
