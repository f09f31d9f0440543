use std::collections::HashMap;
use std::time::{Duration, Instant};

use rusqlite::{CachedStatement, Statement, Transaction};

use crate::database::StuckRooms;
use crate::database::row::slot_owner;

/// The longest time for which a message is staged, as long as the disk can be written to.
const MAX_TIME: Duration = Duration::from_secs(1);

/// The pauses, at first and at most, between two attempts to move the messages of a damaged room.
const RETRY_PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The pause after which the damage of a room counts as lasting.
const LASTING: Duration = Duration::from_secs(8);

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
    pub(super) messages: usize,
    pub(super) bytes: usize,
    /// The time since which there are staged messages.
    pub(super) since: Option<Instant>,
    /// The rooms whose messages cannot be moved.
    pub(super) stuck: StuckRooms,
    /// The next attempt to move them, if there are any.
    pub(super) retry: Option<Retry>,
    /// `true` after a failure: what is staged must be moved before anything else.
    pub(super) is_unknown: bool,
}

/// An attempt to move the messages of rooms that could not be moved before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    at: Instant,
    pause: Duration,
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
    pub(super) id: i64,
    pub(super) at: u64,
    pub(super) sum: i64,
    pub(super) frame: &'m [u8],
    pub(super) is_guest: bool,
    pub(super) connection: Option<i64>,
}

impl Staging {
    /// Returns a staging without messages, except for those of rooms whose messages cannot be moved.
    pub(super) fn with_stuck(stuck: StuckRooms) -> Self {
        let retry = (!stuck.is_empty()).then(Retry::first);
        Self { stuck, retry, ..Self::default() }
    }

    /// Returns the staged message with a key.
    pub(super) fn key(&self, slot: &[u8]) -> Option<StoredKey> {
        self.keys.get(slot).copied()
    }

    /// Returns the statement that stages a message.
    pub(super) fn prepare<'t>(transaction: &'t Transaction<'_>) -> rusqlite::Result<CachedStatement<'t>> {
        transaction.prepare_cached(
            "INSERT INTO staged (id, at, sum, frame, guest, connection, slot, open_ms, digest)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )
    }

    /// Stages a message with a prepared statement, with the slot of its key and the digest of its content. `open_ms` is
    /// the time for which the store has been open.
    pub(super) fn add(
        &mut self,
        stage: &mut Statement<'_>,
        message: &NewStaged<'_>,
        key: Option<(&[u8], [u8; 20])>,
        open_ms: u64,
    ) -> rusqlite::Result<()> {
        let &NewStaged { id, at, sum, frame, is_guest, connection } = message;
        let (slot, digest) = key.unzip();
        stage.execute((id, at, sum, frame, is_guest, connection, slot, slot.map(|_| open_ms), digest))?;
        if let Some((slot, digest)) = slot.zip(digest) {
            self.keys.insert(slot.into(), StoredKey { id, at, open_ms, digest });
        }
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

    /// Returns the number of keys of the user to whom a slot belongs.
    pub(super) fn keys_of(&self, owner: &[u8]) -> u64 {
        self.keys.keys().filter(|slot| slot_owner(slot) == owner).count() as u64
    }

    /// Returns `true` if rooms were tried several times, so that not only a moment of the disk is the cause.
    pub(super) fn has_retried_often(&self) -> bool {
        self.retry.is_some_and(|retry| retry.pause >= LASTING)
    }

    /// Returns the time until the staged messages must be moved.
    pub(super) fn due(&self) -> Option<Duration> {
        let moved = self.since.map(|since| MAX_TIME.saturating_sub(since.elapsed()));
        let retried = self.retry.map(|retry| retry.at.saturating_duration_since(Instant::now()));
        moved.into_iter().chain(retried).min()
    }
}

impl Retry {
    /// Returns the first attempt for a room. The disk may have failed for a moment only.
    fn first() -> Self {
        Self { at: Instant::now() + RETRY_PAUSES.0, pause: RETRY_PAUSES.0 }
    }

    /// Returns the attempt after this one.
    pub(super) fn next(self) -> Self {
        let pause = (self.pause * 2).min(RETRY_PAUSES.1);
        Self { at: Instant::now() + pause, pause }
    }

    pub(super) fn is_due(&self) -> bool {
        self.at <= Instant::now()
    }
}
