use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::time::{Duration, Instant};

use chat_core::{ChangeKind, Event, RoomName, StoredMessage};
use rusqlite::{Connection, OptionalExtension};

use super::ngrams::{index_terms, room_prefix};
use crate::database::row::{message_id, seq_of};
use crate::database::{PURGE_KIND, kind_column};
use crate::read::{UnreadableMessages, stored_message};

/// Bytes of messages that one transaction indexes. More bytes cost less per message.
pub(super) const STEP_BYTES: usize = 256 * 1024;

/// Bytes of messages that are indexed at once, also while messages are appended. A search scans those that are not
/// indexed: up to about 16,000 of 250 bytes, in some 50 ms.
const MAX_BACKLOG: usize = 4 * 1024 * 1024;

/// Time after which a transaction ends before it has indexed that many bytes.
const STEP_TIME: Duration = Duration::from_millis(50);

/// Entries that one transaction deletes.
const PRUNED_ENTRIES: usize = 1_024;

/// Edits and deletions that one transaction applies.
const STEP_CHANGES: usize = 256;

/// Pages of the index that one step of an erasure writes.
const ERASED_PAGES: i64 = 256;

/// Cost of one room, expressed in bytes of messages.
const ROOM_COST: usize = 128;

/// Time without appends after which a smaller backlog is indexed. Also the longest time until a deletion is.
const QUIET_TIME: Duration = Duration::from_secs(1);

/// The messages that are not in the search index yet. A search scans them one by one.
#[derive(Debug, Default)]
pub(crate) struct IndexBacklog {
    /// Ids of the rooms with such messages. `None` until the database was queried.
    rooms: Option<BTreeSet<i64>>,
    /// Bytes appended since the backlog was empty.
    bytes: usize,
    /// Time of the next step. `None` if there is nothing to index.
    due: Option<Instant>,
    /// `true` if a message was deleted whose terms the index may have.
    is_urgent: bool,
    /// The room that the current step indexes.
    current: Option<i64>,
    /// `true` if the index is damaged, so that nothing is indexed.
    is_stopped: bool,
    /// Rooms that cannot be indexed. They are skipped, so that they do not block other rooms.
    failed: BTreeSet<i64>,
}

impl IndexBacklog {
    /// Creates a backlog whose first step queries the database.
    pub(crate) fn unknown(due: Instant) -> Self {
        Self { due: Some(due), ..Self::default() }
    }

    /// Returns the time of the next [`step`](Self::step), or `None` if there is nothing to index.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Adds committed entries: their number of bytes, the ids of their rooms, and `true` if there are deletions.
    pub(crate) fn add(
        &mut self,
        bytes: usize,
        rooms: impl IntoIterator<Item = i64>,
        has_deletions: bool,
        now: Instant,
    ) {
        if bytes == 0 || self.is_stopped {
            return;
        }
        let Some(known) = &mut self.rooms else { return };
        known.extend(rooms.into_iter().filter(|room| !self.failed.contains(room)));
        self.bytes += bytes;
        let due = if self.bytes >= MAX_BACKLOG { now } else { now + QUIET_TIME };
        self.due = Some(self.due.filter(|_| self.is_urgent).map_or(due, |before| before.min(due)));
        self.is_urgent |= has_deletions;
    }

    /// Indexes nothing from now on.
    pub(crate) fn stop(&mut self) {
        *self = Self { is_stopped: true, ..Self::default() };
    }

    /// Records a failed step. A later step queries the database again. If the room may be the cause, it is skipped from
    /// then on.
    pub(crate) fn step_failed(&mut self, room_may_be_cause: bool, now: Instant) {
        if let Some(room) = self.current.take()
            && room_may_be_cause
        {
            tracing::error!(room, "room not indexed until the next start; searches in it scan all messages");
            self.failed.insert(room);
        }
        *self = Self { failed: mem::take(&mut self.failed), ..Self::unknown(now + QUIET_TIME) };
    }

    /// Indexes the oldest messages of the first rooms.
    pub(crate) fn step(
        &mut self,
        transaction: &Connection,
        unreadable: &UnreadableMessages,
    ) -> rusqlite::Result<()> {
        let until = Instant::now() + STEP_TIME;
        if self.rooms.is_none() {
            self.query_rooms(transaction)?;
        }
        let rooms = self.rooms.get_or_insert_default();
        let mut left = STEP_BYTES;
        while left > 0
            && let Some(room) = rooms.first().copied()
        {
            self.current = Some(room);
            left = index_room(transaction, room, left, until, unreadable)?;
            if left > 0 {
                rooms.remove(&room);
                left = left.saturating_sub(ROOM_COST);
            }
        }
        if rooms.is_empty() {
            (self.bytes, self.due, self.is_urgent) = (0, None, false);
        }
        Ok(())
    }

    fn query_rooms(&mut self, transaction: &Connection) -> rusqlite::Result<()> {
        let mut statement = transaction.prepare_cached(
            "SELECT r.id FROM chat.rooms r LEFT JOIN progress p ON p.id = r.id WHERE coalesce(p.indexed, 0) < r.head",
        )?;
        let rooms = statement.query_map((), |row| row.get(0))?;
        let rooms = rooms.filter(|room| !room.as_ref().is_ok_and(|room| self.failed.contains(room)));
        self.rooms = Some(rooms.collect::<rusqlite::Result<_>>()?);
        Ok(())
    }
}

/// Indexes at most about `left` bytes of a room's messages, until `until`, and records the last indexed `seq`.
///
/// Returns the bytes left. If they are 0, the room may have more messages to index.
fn index_room(
    transaction: &Connection,
    room: i64,
    mut left: usize,
    until: Instant,
    unreadable: &UnreadableMessages,
) -> rusqlite::Result<usize> {
    let row = transaction
        .prepare_cached(
            "SELECT r.name, r.head, coalesce(p.indexed, 0) FROM chat.rooms r LEFT JOIN progress p ON p.id = r.id
             WHERE r.id = ?1",
        )?
        .query_row([room], |row| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, u64>(2)?)))
        .optional()?;
    // The room may have been deleted.
    let Some((name, head, from)) = row else { return Ok(left) };
    let head = staged_after(transaction, room, (from, head))?.map_or(head, |staged| staged - 1);
    let mut up_to = head;
    // The checksums of a room with a damaged name do not match either, so its messages cannot be read.
    if let Ok(name) = name.parse::<RoomName>() {
        let prefix = room_prefix(name.as_str());
        up_to = apply_changes(transaction, (room, &name, &prefix), from, up_to, unreadable)?;
        let mut messages = transaction.prepare_cached(
            "SELECT id, sum, frame FROM chat.messages WHERE id > ?1 AND id <= ?2 ORDER BY id",
        )?;
        let mut insert = transaction.prepare_cached("INSERT INTO search (rowid, terms) VALUES (?1, ?2)")?;
        let mut rows = messages.query((message_id(room, from), message_id(room, up_to)))?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            let length = row.get_ref(2)?.as_blob().map_or(0, <[u8]>::len);
            left = left.saturating_sub(length.max(1));
            if let Some(stored) = stored_message(&name, row, unreadable)? {
                let terms = index_terms(&prefix, &stored.frame);
                if !terms.is_empty() {
                    insert.execute((id, terms))?;
                }
            }
            if left == 0 || Instant::now() >= until {
                left = 0;
                up_to = seq_of(id);
                break;
            }
        }
    }
    transaction
        .prepare_cached(
            "INSERT INTO progress (id, indexed, first) VALUES (?1, ?2, 1)
             ON CONFLICT (id) DO UPDATE SET indexed = ?2",
        )?
        .execute((room, up_to))?;
    // The changes of one step have a limit of their own.
    Ok(if up_to < head { 0 } else { left })
}

/// Returns the `seq` of the first message after `from`, up to `head`, that is staged. It is indexed when it is in its
/// table.
fn staged_after(
    transaction: &Connection,
    room: i64,
    (from, head): (u64, u64),
) -> rusqlite::Result<Option<u64>> {
    let first: Option<i64> = transaction
        .prepare_cached("SELECT min(id) FROM chat.staged WHERE id > ?1 AND id <= ?2")?
        .query_row((message_id(room, from), message_id(room, head)), |row| row.get(0))?;
    Ok(first.map(seq_of))
}

/// Indexes the messages up to `from` again that were edited or deleted by the entries after `from`. A later message is
/// indexed in its present form.
///
/// Returns the last entry that was applied, at most `up_to`.
fn apply_changes(
    transaction: &Connection,
    (room, name, prefix): (i64, &RoomName, &str),
    from: u64,
    mut up_to: u64,
    unreadable: &UnreadableMessages,
) -> rusqlite::Result<u64> {
    let deleted = kind_column(ChangeKind::Deleted);
    let mut changes = transaction.prepare_cached(
        "SELECT id, target, kind, entry FROM chat.changes
         WHERE id > ?1 AND id <= ?2 AND (kind <= ?3 OR kind = ?4) ORDER BY id",
    )?;
    let range = (message_id(room, from), message_id(room, up_to));
    let mut rows = changes.query((range.0, range.1, deleted, PURGE_KIND))?;
    let mut indexed: BTreeMap<i64, bool> = BTreeMap::new();
    let mut looked = 0;
    while let Some(row) = rows.next()? {
        let (id, target, kind): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let targets = match kind {
            PURGE_KIND => purged_messages(transaction, id, row.get(3)?)?,
            _ => vec![target],
        };
        looked += targets.len().max(1);
        for target in targets.into_iter().filter(|target| seq_of(*target) <= from) {
            *indexed.entry(target).or_default() |= kind >= deleted;
        }
        if looked >= STEP_CHANGES {
            up_to = seq_of(id);
            break;
        }
    }
    for target in indexed.keys() {
        transaction
            .prepare_cached(
                "DELETE FROM search WHERE rowid IN (SELECT id FROM search_docsize WHERE id = ?1)",
            )?
            .execute([target])?;
        let mut message =
            transaction.prepare_cached("SELECT id, sum, frame FROM chat.messages WHERE id = ?1")?;
        let mut rows = message.query([target])?;
        let Some(row) = rows.next()? else { continue };
        let Some(stored) = stored_message(name, row, unreadable)? else { continue };
        let terms = index_terms(prefix, &stored.frame);
        if !terms.is_empty() {
            transaction
                .prepare_cached("INSERT INTO search (rowid, terms) VALUES (?1, ?2)")?
                .execute((target, terms))?;
        }
    }
    // The merge writes the whole index, so that edits alone do not start it.
    if indexed.values().any(|is_deleted| *is_deleted) {
        transaction.prepare_cached("UPDATE source SET must_erase = 1")?.execute(())?;
    }
    Ok(up_to)
}

/// Returns the messages that an entry of a purge has deleted.
fn purged_messages(transaction: &Connection, id: i64, entry: Vec<u8>) -> rusqlite::Result<Vec<i64>> {
    let seq = seq_of(id);
    let Ok(Event::Purged { from, to, .. }) = StoredMessage::new(seq, entry).event() else {
        return Ok(Vec::new());
    };
    let room = id - seq.cast_signed();
    transaction
        .prepare_cached("SELECT id FROM chat.messages WHERE id BETWEEN ?1 + ?2 AND ?1 + ?3 AND deleted = ?4")?
        .query_map((room, from, to.min(seq), seq), |row| row.get(0))?
        .collect()
}

/// Returns `true` if the index may contain terms of a message that was deleted.
pub(crate) fn must_erase(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT must_erase FROM source")?.query_row((), |row| row.get(0))
}

/// Runs a step of the merge of all segments of the index into one: only then are the terms of deleted entries gone.
/// Returns `true` if there may be more.
pub(crate) fn erase(transaction: &Connection, is_first: bool) -> rusqlite::Result<bool> {
    let before = transaction.total_changes();
    // A negative number starts a merge of all segments.
    let pages = if is_first { -ERASED_PAGES } else { ERASED_PAGES };
    transaction.prepare_cached("INSERT INTO search (search, rank) VALUES ('merge', ?1)")?.execute([pages])?;
    Ok(is_first || transaction.total_changes() - before >= 2)
}

/// Records that the index contains no term of a body that was replaced or of a message that was deleted.
pub(crate) fn erased(transaction: &Connection) -> rusqlite::Result<()> {
    transaction.prepare_cached("UPDATE source SET must_erase = 0")?.execute(())?;
    Ok(())
}

/// Deletes the entries of deleted messages and rooms. Returns `true` if there may be more.
pub(crate) fn prune(transaction: &Connection) -> rusqlite::Result<bool> {
    let room = transaction
        .prepare_cached(
            "SELECT p.id, r.first FROM progress p LEFT JOIN chat.rooms r ON r.id = p.id
             WHERE r.id IS NULL OR r.first > p.first LIMIT 1",
        )?
        .query_row((), |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<u64>>(1)?)))
        .optional()?;
    let Some((room, first)) = room else { return Ok(false) };
    let end = message_id(room, first.map_or(u64::MAX, |first| first.saturating_sub(1)));
    let deleted = transaction
        .prepare_cached(
            "DELETE FROM search WHERE rowid IN
             (SELECT id FROM search_docsize WHERE id > ?1 AND id <= ?2 LIMIT ?3)",
        )?
        .execute((message_id(room, 0), end, PRUNED_ENTRIES))?;
    if deleted < PRUNED_ENTRIES {
        match first {
            Some(first) => transaction
                .prepare_cached("UPDATE progress SET first = ?2 WHERE id = ?1")?
                .execute((room, first))?,
            None => transaction.prepare_cached("DELETE FROM progress WHERE id = ?1")?.execute([room])?,
        };
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Identity, Paths, migrate};
    use crate::search::database::open_index;

    /// A store of these rows, and its index.
    fn index(sql: &str) -> (tempfile::TempDir, Connection) {
        let dir = tempfile::tempdir().expect("a directory");
        let paths = Paths::of(dir.path());
        let mut store = Connection::open(&paths.database).expect("a database");
        store.pragma_update(None, "journal_mode", "wal").expect("set");
        migrate(&mut store).expect("a schema");
        store.execute_batch(sql).expect("executed");
        let identity = Identity { store: "a".to_owned(), epoch: "b".to_owned(), commits: 0 };
        (dir, open_index(&paths, &identity).expect("an index"))
    }

    fn step(backlog: &mut IndexBacklog, connection: &mut Connection) -> u64 {
        let transaction = connection.transaction().expect("a transaction");
        backlog.step(&transaction, &UnreadableMessages::default()).expect("no error");
        transaction.commit().expect("committed");
        let sql =
            "SELECT sum(r.head - coalesce(p.indexed, 0)) FROM chat.rooms r LEFT JOIN progress p USING (id)";
        connection.query_row(sql, (), |row| row.get(0)).expect("a number")
    }

    #[test]
    fn messages_are_indexed_after_a_quiet_time_or_a_deletion_or_when_they_are_many() {
        let start = Instant::now();
        let after = |halves: u32| start + QUIET_TIME * halves / 2;
        let mut backlog = IndexBacklog { rooms: Some(BTreeSet::new()), ..IndexBacklog::default() };
        backlog.add(1, [1], false, after(0));
        assert_eq!(backlog.due(), Some(after(2)));
        backlog.add(STEP_BYTES, [1], false, after(1));
        assert_eq!(backlog.due(), Some(after(3)), "appends go on");
        backlog.add(1, [1], true, after(2));
        backlog.add(1, [1], false, after(3));
        assert_eq!(backlog.due(), Some(after(4)), "a deletion does not wait for the end of the appends");
        backlog.add(MAX_BACKLOG, [1], false, after(3));
        assert_eq!(backlog.due(), Some(after(3)));
    }

    #[test]
    fn rooms_without_messages_are_indexed_in_limited_steps() {
        let (_dir, mut connection) = index(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4800)
             INSERT INTO rooms (name, head, first, keys) SELECT 'room' || i, 1, 2, 0 FROM n",
        );
        let mut backlog = IndexBacklog::unknown(Instant::now());
        for left in [4_800 - 2_048, 4_800 - 4_096, 0] {
            assert_eq!(step(&mut backlog, &mut connection), left);
        }
        assert_eq!(backlog.due(), None);
    }

    #[test]
    fn a_step_indexes_a_limited_number_of_bytes() {
        let (_dir, mut connection) = index(
            "INSERT INTO rooms (name, head, first, keys) VALUES ('lobby', 150, 1, 0);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150)
             INSERT INTO messages (id, at, sum, frame) SELECT (1 << 36) + i, 0, 0, zeroblob(4096) FROM n",
        );
        let mut backlog = IndexBacklog::unknown(Instant::now());
        for left in [150 - 64, 150 - 128, 0] {
            assert_eq!(step(&mut backlog, &mut connection), left);
        }
        assert_eq!(backlog.due(), None);
    }
}
