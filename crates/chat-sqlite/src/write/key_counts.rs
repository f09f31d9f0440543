use std::collections::HashMap;

use rusqlite::Connection;

use crate::database::row::{KEY_DIGEST, slot_owner};

/// Users whose counts are remembered. Above it, all are counted again.
const MAX_USERS: usize = 10_000;

/// The number of idempotency keys that each user has in each room. A count is read from the database when it is first
/// needed.
#[derive(Debug, Default)]
pub(crate) struct KeyCounts(HashMap<Box<[u8]>, u64>);

impl KeyCounts {
    /// Returns the number of keys of the user to whom a slot belongs. `staged` returns those that are not in their
    /// table.
    pub(crate) fn get(
        &mut self,
        connection: &Connection,
        slot: &[u8],
        staged: impl FnOnce(&[u8]) -> u64,
    ) -> rusqlite::Result<u64> {
        let owner = slot_owner(slot);
        if let Some(count) = self.0.get(owner) {
            return Ok(*count);
        }
        let end = [owner, &[0xff; KEY_DIGEST + 1]].concat();
        let stored: u64 = connection
            .prepare_cached("SELECT count(*) FROM keys WHERE slot >= ?1 AND slot < ?2")?
            .query_row((owner, end), |row| row.get(0))?;
        let count = stored + staged(owner);
        if self.0.len() >= MAX_USERS {
            self.0.clear();
        }
        self.0.insert(owner.into(), count);
        Ok(count)
    }

    /// Records that a key was stored.
    pub(crate) fn add(&mut self, slot: &[u8]) {
        if let Some(count) = self.0.get_mut(slot_owner(slot)) {
            *count += 1;
        }
    }

    /// Records that a key was deleted.
    pub(crate) fn remove(&mut self, slot: &[u8]) {
        if let Some(count) = self.0.get_mut(slot_owner(slot)) {
            *count = count.saturating_sub(1);
        }
    }

    /// Forgets all counts, because a transaction was not committed.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
