use chat_core::{ChangeError, User};
use rusqlite::OptionalExtension;

use super::{AppendBatch, IdempotencyKey, Outcome, Position, RoomRow, refused};
use crate::database::row::{key_slot, seq_of};
use crate::write::staging::StoredKey;

/// The key of an entry that must be stored.
#[derive(Debug)]
pub(super) struct NewKey {
    pub(super) slot: Vec<u8>,
    /// The digest of the content.
    pub(super) digest: [u8; 20],
    /// `true` if an expired key is in the slot.
    replaces: bool,
}

impl NewKey {
    /// Returns a key of a room that has none.
    pub(super) fn of_new_room(room: i64, user: &User, key: &IdempotencyKey) -> Self {
        Self { slot: key_slot(room, &user.key(), &key.key), digest: key.digest, replaces: false }
    }
}

impl AppendBatch<'_> {
    /// Returns a key in the form that must be stored, or the outcome if it is known or refused.
    pub(super) fn look_up(
        &mut self,
        row: RoomRow,
        user: &User,
        key: &IdempotencyKey,
    ) -> rusqlite::Result<Result<NewKey, Outcome>> {
        let slot = key_slot(row.id, &user.key(), &key.key);
        let known = self.stored_key(&slot)?;
        if let Some(StoredKey { id, at, open_ms, digest }) = known
            && self.now.open_ms.saturating_sub(open_ms) < key.window
        {
            return Ok(Err(if digest == key.digest {
                Outcome::Known(Position { seq: Some(seq_of(id)), at, duplicate: true })
            } else {
                Outcome::Refused(ChangeError::KeyConflict)
            }));
        }
        let staging = self.staging.as_deref();
        let staged = |owner: &[u8]| staging.map_or(0, |staging| staging.keys_of(owner));
        if self.key_counts.get(self.transaction, &slot, staged)? >= self.limits.max_keys {
            let cause = "the user has too many idempotency keys in the room; the oldest must expire";
            return Ok(Err(refused(cause)));
        }
        Ok(Ok(NewKey { slot, digest: key.digest, replaces: known.is_some() }))
    }

    fn stored_key(&self, slot: &[u8]) -> rusqlite::Result<Option<StoredKey>> {
        if let Some(staged) = self.staging.as_ref().and_then(|staging| staging.key(slot)) {
            return Ok(Some(staged));
        }
        self.transaction
            .prepare_cached("SELECT id, at, open_ms, digest FROM keys WHERE slot = ?1")?
            .query_row([slot], |row| {
                // A damaged digest is that of no message.
                let digest = row.get::<_, Vec<u8>>(3)?.try_into().unwrap_or_default();
                Ok(StoredKey { id: row.get(0)?, at: row.get(1)?, open_ms: row.get(2)?, digest })
            })
            .optional()
    }

    /// Counts a new key. Deletes the expired one in its slot.
    pub(super) fn count_key(&mut self, row: &mut RoomRow, key: &NewKey) -> rusqlite::Result<()> {
        if key.replaces {
            if let Some(staging) = &mut self.staging {
                staging.remove_key(self.transaction, &key.slot)?;
            }
            self.transaction.prepare_cached("DELETE FROM keys WHERE slot = ?1")?.execute([&key.slot])?;
        } else {
            row.keys += 1;
            self.key_counts.add(&key.slot);
        }
        Ok(())
    }

    /// Stores a key after [`count_key`](Self::count_key).
    pub(super) fn insert_key(&mut self, id: i64, at: u64, key: &NewKey) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached("INSERT INTO keys (id, slot, at, open_ms, digest) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute((id, &key.slot, at, self.now.open_ms, key.digest))?;
        Ok(())
    }
}
