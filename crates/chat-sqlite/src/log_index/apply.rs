use std::collections::BTreeMap;

use chat_core::StoredMessage;
use rusqlite::{Connection, OptionalExtension};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::IndexStep;
use crate::database::row::{LAST_ROOM, message_id, seq_of};
use crate::search::{index_terms, room_prefix};

/// Messages that one record removes from the index at most. The next record of the room removes further ones.
const PRUNED: usize = 4_096;

/// Applies steps of a log. Returns false if they contradict the index, which is then not `is_fresh`.
pub(super) fn apply(
    transaction: &Connection,
    steps: &[(u64, IndexStep)],
    is_fresh: bool,
) -> rusqlite::Result<bool> {
    let mut rooms: BTreeMap<&str, IndexedRoom> = BTreeMap::new();
    for (place, step) in steps {
        let (IndexStep::Record { room, .. } | IndexStep::Form { room, .. }) = step;
        if !rooms.contains_key(&**room) {
            rooms.insert(room, IndexedRoom::find_or_create(transaction, room)?);
        }
        let Some(room) = rooms.get_mut(&**room) else { continue };
        match step {
            IndexStep::Form { stored, is_deleted, .. } => room.replace(transaction, stored, *is_deleted)?,
            IndexStep::Record { id, previous, oldest, entries, is_copy, .. } => {
                let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
                    room.prune_all(transaction, *oldest)?;
                    continue;
                };
                let range = (first.seq, last.seq);
                if *is_copy && last.seq <= room.indexed {
                    room.fill(transaction, range, (*place, entries))?;
                    continue;
                }
                if !*is_copy && !is_fresh && room.is_contradicted(first.seq, *previous) {
                    return Ok(false);
                }
                room.extend(transaction, *oldest, range, (*place, entries))?;
                room.record = *id;
            }
        }
    }
    for room in rooms.values() {
        room.store(transaction)?;
    }
    Ok(true)
}

/// A room, as the index has it.
#[derive(Debug)]
struct IndexedRoom {
    id: i64,
    prefix: String,
    indexed: u64,
    first: u64,
    record: u64,
}

impl IndexedRoom {
    fn find_or_create(transaction: &Connection, name: &str) -> rusqlite::Result<Self> {
        let found = transaction
            .prepare_cached("SELECT id, indexed, first, record FROM rooms WHERE name = ?1")?
            .query_row([name], |row| {
                let record = row.get::<_, i64>(3)?.cast_unsigned();
                Ok(Self {
                    id: row.get(0)?,
                    prefix: room_prefix(name),
                    indexed: row.get(1)?,
                    first: row.get(2)?,
                    record,
                })
            })
            .optional()?;
        if let Some(found) = found {
            return Ok(found);
        }
        let sql = "INSERT INTO rooms (name, indexed, first, record) VALUES (?1, 0, 0, 0) RETURNING id";
        let id: i64 = transaction.prepare_cached(sql)?.query_row([name], |row| row.get(0))?;
        if id > LAST_ROOM {
            return Err(rusqlite::Error::IntegralValueOutOfRange(0, id));
        }
        Ok(Self { id, prefix: room_prefix(name), indexed: 0, first: 0, record: 0 })
    }

    fn store(&self, transaction: &Connection) -> rusqlite::Result<()> {
        let sql = "UPDATE rooms SET indexed = ?2, first = ?3, record = ?4 WHERE id = ?1";
        let row = (self.id, self.indexed, self.first, self.record.cast_signed());
        transaction.prepare_cached(sql)?.execute(row).map(drop)
    }

    /// Returns true if a record cannot be in the log that the index has followed.
    fn is_contradicted(&self, first: u64, previous: u64) -> bool {
        let is_next = first == self.indexed + 1;
        first <= self.indexed || (is_next && self.record > 0 && previous != self.record)
    }

    /// Adds entries after those that the index has.
    fn extend(
        &mut self,
        transaction: &Connection,
        oldest: u64,
        (first, last): (u64, u64),
        (place, entries): (u64, &[StoredMessage]),
    ) -> rusqlite::Result<()> {
        let from = (self.indexed + 1).max(oldest);
        if first > from {
            let sql = "INSERT OR REPLACE INTO gaps (id, last) VALUES (?1, ?2)";
            let gap = (message_id(self.id, from), message_id(self.id, first - 1));
            transaction.prepare_cached(sql)?.execute(gap)?;
        }
        self.note_place(transaction, first, place)?;
        for entry in entries {
            self.add(transaction, entry, &index_terms(&self.prefix, &entry.frame))?;
        }
        self.indexed = self.indexed.max(last);
        if oldest > self.first { self.prune(transaction, oldest) } else { Ok(()) }
    }

    /// Takes the copy of a record that the index may have, or may not have been given. Deleted messages have no text
    /// there.
    fn fill(
        &self,
        transaction: &Connection,
        range: (u64, u64),
        (place, entries): (u64, &[StoredMessage]),
    ) -> rusqlite::Result<()> {
        let is_gap = self.close_gap(transaction, range)?;
        if is_gap {
            self.note_place(transaction, range.0, place)?;
        }
        for entry in entries {
            if is_deleted(entry) {
                if self.remove(transaction, entry.seq)? {
                    must_be_erased(transaction)?;
                }
            } else if is_gap {
                // The index may have a later form of it.
                self.add(transaction, entry, &index_terms(&self.prefix, &entry.frame))?;
            }
        }
        Ok(())
    }

    /// Indexes a message in another form.
    fn replace(
        &self,
        transaction: &Connection,
        stored: &StoredMessage,
        is_deleted: bool,
    ) -> rusqlite::Result<()> {
        if stored.seq < self.first {
            return Ok(());
        }
        let _was_indexed = self.remove(transaction, stored.seq)?;
        if is_deleted {
            // The index may have terms of an earlier form.
            return must_be_erased(transaction);
        }
        self.add(transaction, stored, &index_terms(&self.prefix, &stored.frame))
    }

    fn note_place(&self, transaction: &Connection, first: u64, place: u64) -> rusqlite::Result<()> {
        let sql = "INSERT OR REPLACE INTO places (id, place) VALUES (?1, ?2)";
        transaction.prepare_cached(sql)?.execute((message_id(self.id, first), place)).map(drop)
    }

    /// Adds a message, unless the index has it in a later form.
    fn add(&self, transaction: &Connection, stored: &StoredMessage, terms: &str) -> rusqlite::Result<()> {
        if terms.is_empty() {
            return Ok(());
        }
        let sql = "INSERT INTO search (rowid, terms) SELECT ?1, ?2
                   WHERE NOT EXISTS (SELECT 1 FROM search_docsize WHERE id = ?1)";
        transaction.prepare_cached(sql)?.execute((message_id(self.id, stored.seq), terms)).map(drop)
    }

    /// Removes a message. Returns true if the index had it.
    fn remove(&self, transaction: &Connection, seq: u64) -> rusqlite::Result<bool> {
        let sql = "DELETE FROM search WHERE rowid IN (SELECT id FROM search_docsize WHERE id = ?1)";
        Ok(transaction.prepare_cached(sql)?.execute([message_id(self.id, seq)])? > 0)
    }

    /// Removes positions from the gaps. Returns true if one of them was in a gap.
    fn close_gap(&self, transaction: &Connection, (first, last): (u64, u64)) -> rusqlite::Result<bool> {
        let sql = "SELECT id, last FROM gaps WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC";
        let mut overlapping = Vec::new();
        let mut gaps = transaction.prepare_cached(sql)?;
        let mut rows = gaps.query((message_id(self.id, 0), message_id(self.id, last)))?;
        while let Some(row) = rows.next()? {
            let gap: (i64, i64) = (row.get(0)?, row.get(1)?);
            if seq_of(gap.1) < first {
                break;
            }
            overlapping.push(gap);
        }
        let mut insert = transaction.prepare_cached("INSERT INTO gaps (id, last) VALUES (?1, ?2)")?;
        for (id, end) in &overlapping {
            transaction.prepare_cached("DELETE FROM gaps WHERE id = ?1")?.execute([id])?;
            if seq_of(*id) < first {
                insert.execute((id, message_id(self.id, first - 1)))?;
            }
            if seq_of(*end) > last {
                insert.execute((message_id(self.id, last + 1), end))?;
            }
        }
        Ok(!overlapping.is_empty())
    }

    /// Removes all that is before the position `oldest`.
    fn prune_all(&mut self, transaction: &Connection, oldest: u64) -> rusqlite::Result<()> {
        // Positions that the index does not have yet come with their record.
        let oldest = oldest.min(self.indexed + 1);
        while self.first < oldest {
            self.prune(transaction, oldest)?;
        }
        Ok(())
    }

    /// Removes what is before the position `oldest`, or part of it.
    fn prune(&mut self, transaction: &Connection, oldest: u64) -> rusqlite::Result<()> {
        let (begin, end) = (message_id(self.id, 0), message_id(self.id, oldest));
        let sql = "DELETE FROM search WHERE rowid IN
                   (SELECT id FROM search_docsize WHERE id > ?1 AND id < ?2 LIMIT ?3)";
        let removed = transaction.prepare_cached(sql)?.execute((begin, end, PRUNED))?;
        transaction
            .prepare_cached("DELETE FROM gaps WHERE id > ?1 AND last < ?2 AND id < ?2")?
            .execute((begin, end))?;
        // The record with the oldest position may begin before it.
        let sql = "DELETE FROM places WHERE id > ?1 AND id <
                   (SELECT max(id) FROM places WHERE id > ?1 AND id <= ?2)";
        transaction.prepare_cached(sql)?.execute((begin, end))?;
        if removed < PRUNED {
            self.first = oldest;
        }
        Ok(())
    }
}

/// Returns true for a deleted message. One that was sent without a text is not one.
fn is_deleted(stored: &StoredMessage) -> bool {
    #[derive(Deserialize)]
    struct Fields {
        deleted: Option<IgnoredAny>,
    }
    serde_json::from_slice::<Fields>(&stored.frame).is_ok_and(|fields| fields.deleted.is_some())
}

/// Records that the index may contain terms of a message that was deleted.
fn must_be_erased(transaction: &Connection) -> rusqlite::Result<()> {
    transaction.prepare_cached("UPDATE source SET must_erase = 1")?.execute(()).map(drop)
}
