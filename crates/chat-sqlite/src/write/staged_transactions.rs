//! Transactions with and without staged messages.

use rusqlite::Transaction;

use super::batch::Prepared;
use super::connection::WriteConnection;
use super::error::WriteError;
use super::queue::AppendRequest;
use super::room_rows::RoomRows;
use super::staging::{Retry, Staging};
use crate::database::{ErasureList, Moved, StuckRooms, move_staged};
use crate::search::Indexer;

/// Messages that are staged before they are moved. A read of a room looks at all of them.
const MAX_MESSAGES: usize = 1_024;

/// Bytes of staged messages above which they are moved.
const MAX_BYTES: usize = 1024 * 1024;

/// Mean bytes of the bodies of a batch up to which it is staged. A longer message has pages of its own in either place.
const MAX_MEAN_BYTES: usize = 1_024;

impl Staging {
    /// Returns `true` if the appends of a transaction need no table that is ordered by room: they are new messages
    /// without links to rooms whose rows are known, markers, rooms to follow, and writes that are refused.
    pub(super) fn admits(&self, requests: &[AppendRequest], rows: &RoomRows) -> bool {
        let body = |request: &AppendRequest| match &request.entry {
            Prepared::Message(prepared) => prepared.message.body.get().len(),
            _ => 0,
        };
        let has_place = self.messages < MAX_MESSAGES && self.bytes < MAX_BYTES && !self.is_unknown;
        has_place
            && requests.iter().map(body).sum::<usize>() <= MAX_MEAN_BYTES * requests.len()
            && requests.iter().all(|request| match &request.entry {
                Prepared::Marker(_) | Prepared::Follow(_) => true,
                entry if self.stuck.contains_known(entry.room()) => true,
                Prepared::Message(prepared) => {
                    prepared.message.links.is_none()
                        && rows.get(&prepared.room).is_some_and(|row| row.last_at.is_some())
                }
                Prepared::Change(_) | Prepared::Act(_) | Prepared::Purge(_) => false,
            })
    }

    /// Runs a transaction that stages messages. `work` gets the rooms that take no writes. See
    /// [`WriteConnection::transact`].
    pub(super) fn stage<T>(
        &mut self,
        connection: &mut WriteConnection,
        work: impl FnOnce(&Transaction<'_>, &mut Self, &StuckRooms) -> rusqlite::Result<(bool, T)>,
    ) -> Result<T, WriteError> {
        let stuck = self.stuck.clone();
        let written = connection.transact(|transaction, _| work(transaction, self, &stuck));
        self.is_unknown |= written.is_err();
        written
    }

    /// Runs a transaction that finds all messages in their tables, except those of the rooms that `work` gets. See
    /// [`WriteConnection::transact`].
    pub(super) fn transact<T>(
        &mut self,
        connection: &mut WriteConnection,
        indexer: &Indexer,
        work: impl FnOnce(&Transaction<'_>, &mut ErasureList, &StuckRooms) -> rusqlite::Result<(bool, T)>,
    ) -> Result<T, WriteError> {
        let retry = self.retry.filter(Retry::is_due);
        let must_move = self.messages > 0 || self.is_unknown || retry.is_some();
        let mut stuck = if retry.is_some() { StuckRooms::default() } else { self.stuck.clone() };
        let mut moved = Moved::default();
        let value = connection.transact(|transaction, erasures| {
            if must_move {
                moved = move_staged(transaction, &mut stuck)?;
            }
            let (has_written, value) = work(transaction, erasures, &stuck)?;
            Ok((has_written || !moved.rooms.is_empty(), value))
        });
        let next = retry.map(Retry::next).or(self.retry);
        match &value {
            Ok(_) if must_move => {
                stuck.log_changes(&self.stuck);
                let is_repeat = !stuck.is_empty() && stuck.are_among(&self.stuck);
                *self = Self::with_stuck(stuck);
                // A room that is new among them is tried again soon.
                if is_repeat {
                    self.retry = next;
                }
                indexer.add(moved.bytes, moved.rooms, false);
            }
            Ok(_) => {}
            // The next sweep tries again.
            Err(_) => (self.is_unknown, self.since, self.retry) = (must_move, None, next),
        }
        value
    }

    /// Moves all staged messages to their tables.
    pub(super) fn move_all(
        &mut self,
        connection: &mut WriteConnection,
        indexer: &Indexer,
    ) -> Result<(), WriteError> {
        self.transact(connection, indexer, |_, _, _| Ok((false, ())))
    }
}
