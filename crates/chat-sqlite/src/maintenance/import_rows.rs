use std::path::Path;

use chat_core::{ChangeEntry, ChangeKind, Event, RoomName, Standing};
use chat_proto::ExportLine;
use rusqlite::{Connection, ErrorCode};

use super::check::{Report, RoomRow, check_messages, check_revisions, check_threads};
use crate::database::connection::checkpoint;
use crate::database::row::{LAST_ROOM, LAST_SEQ, checksum, message_id, slot_of, user_column_of};
use crate::database::{
    ACT_KIND, APPLICATION_ID, ChangeRecord, Identity, PURGE_KIND, kind_column, migrate, random_id,
    write_rules, write_standing,
};

/// The time for which an imported store counts as open, in milliseconds: 30 years. The age of a key is less.
const OPEN_MS: u64 = 30 * 365 * 24 * 60 * 60 * 1_000;

/// Page cache in KiB.
const CACHE: i64 = 64 * 1024;

/// The reason why a line cannot be written.
#[derive(Debug)]
pub(super) enum RowError {
    Sqlite(rusqlite::Error),
    /// The line, or the room that it ends, contradicts earlier lines.
    Content(String),
}

impl From<rusqlite::Error> for RowError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => {
                Self::Content("an earlier line of the room has said the same".to_owned())
            }
            _ => Self::Sqlite(error),
        }
    }
}

fn contradiction(problem: impl Into<String>) -> RowError {
    RowError::Content(problem.into())
}

/// The database of a new store, which is filled line by line.
///
/// It has no journal, because it is removed if anything fails.
pub(super) struct ImportRows {
    connection: Connection,
    room: Option<(RoomName, RoomRow)>,
    /// Entries of the room that are lost.
    lost: u64,
    markers: u64,
    guest_follows: u64,
    /// Reactions of the room.
    reactions: u64,
    seen_at: u64,
}

impl ImportRows {
    pub(super) fn open(path: &Path) -> rusqlite::Result<Self> {
        let mut connection = Connection::open(path)?;
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        connection.pragma_update(None, "journal_mode", "off")?;
        connection.pragma_update(None, "synchronous", "off")?;
        connection.pragma_update(None, "cache_size", -CACHE)?;
        connection.set_prepared_statement_cache_capacity(64);
        migrate(&mut connection)?;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let (lost, markers, guest_follows, reactions, seen_at) = Default::default();
        Ok(Self { connection, room: None, lost, markers, guest_follows, reactions, seen_at })
    }

    pub(super) fn write(&mut self, line: ExportLine) -> Result<(), RowError> {
        match line {
            ExportLine::Room { room, seq, first, governed } => {
                self.end_room()?;
                return self.begin_room(room, (seq, first), governed);
            }
            ExportLine::Follow { user, guest, room } => {
                self.end_room()?;
                self.guest_follows += u64::from(guest);
                let sql = "INSERT INTO follows (user, room) VALUES (?1, ?2)";
                let column = user_column_of(guest, &user);
                self.connection.prepare_cached(sql)?.execute((column, room.as_str()))?;
            }
            ExportLine::End { .. } => self.end_room()?,
            line => {
                // The reader of the export has checked that there is a room.
                let Some((name, mut row)) = self.room.take() else { return Ok(()) };
                self.write_in_room(&name, &mut row, line)?;
                self.room = Some((name, row));
            }
        }
        Ok(())
    }

    /// Writes a line about a room. A line of another type is added here.
    fn write_in_room(
        &mut self,
        name: &RoomName,
        row: &mut RoomRow,
        line: ExportLine,
    ) -> Result<(), RowError> {
        let id = row.id;
        match line {
            ExportLine::Rules { rules, .. } => {
                row.governed = true;
                write_rules(&self.connection, name, id, &rules)?;
            }
            ExportLine::Standing { user, role, restricted, .. } => {
                row.governed = true;
                let sql = "SELECT 1 FROM standings WHERE room = ?1 AND user = ?2";
                if self.connection.prepare_cached(sql)?.exists((id, &user))? {
                    return Err(contradiction("an earlier line of the room has the role of this user"));
                }
                let mut standing = Standing::default();
                (standing.role, standing.restriction) = (role, restricted);
                write_standing(&self.connection, name, id, &user, standing)?;
            }
            ExportLine::Event { event, guest } => {
                self.write_event(name, row, &event, guest)?;
            }
            ExportLine::Changed { seq, at, by, target, what, .. } => {
                let entry = ChangeEntry::new(seq, at, by, target, what);
                self.write_change(name, row, &entry)?;
            }
            ExportLine::Lost { seq, to, .. } => {
                self.lost += to - seq + 1;
            }
            ExportLine::Reaction { target, seq, reaction, user, guest, .. } => {
                self.reactions += 1;
                let sql = "INSERT INTO reactions (message, reaction, user, seq, nth, name)
                    VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
                let column = user_column_of(guest, user.id());
                self.connection.prepare_cached(sql)?.execute((
                    message_id(id, target),
                    reaction,
                    column,
                    seq,
                    self.reactions,
                    user.name(),
                ))?;
            }
            ExportLine::Key { seq, at, user, guest, key, content, age_ms, .. } => {
                row.keys += 1;
                let open_ms = OPEN_MS.saturating_sub(age_ms);
                let slot = slot_of(id, guest, &user, &key);
                let sql = "INSERT INTO keys (id, slot, at, open_ms, digest) VALUES (?1, ?2, ?3, ?4, ?5)";
                let key = (message_id(id, seq), slot, at, open_ms, content);
                self.connection.prepare_cached(sql)?.execute(key)?;
            }
            ExportLine::Marker { user, guest, seq, .. } => {
                self.markers += 1;
                let sql = "INSERT INTO markers (room, user, seq) VALUES (?1, ?2, ?3)";
                self.connection.prepare_cached(sql)?.execute((id, user_column_of(guest, &user), seq))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn begin_room(
        &mut self,
        name: RoomName,
        (head, first): (u64, u64),
        governed: bool,
    ) -> Result<(), RowError> {
        if head > LAST_SEQ {
            return Err(contradiction("the `seq` of the room is beyond the last one that a store has"));
        }
        let sql = "INSERT INTO rooms (name, head, first, keys) VALUES (?1, ?2, ?3, 0)";
        self.connection.prepare_cached(sql)?.execute((name.as_str(), head, first))?;
        let id = self.connection.last_insert_rowid();
        if id >= LAST_ROOM {
            return Err(contradiction("it is one room more than a store has"));
        }
        let row = RoomRow {
            id,
            name: name.to_string(),
            head,
            first,
            keys: 0,
            changes: Some(0),
            governed,
            has_staged: true,
        };
        self.room = Some((name, row));
        (self.lost, self.markers, self.reactions) = (0, 0, 0);
        Ok(())
    }

    /// Writes a message or an act.
    fn write_event(
        &mut self,
        name: &RoomName,
        row: &mut RoomRow,
        event: &Event,
        guest: bool,
    ) -> Result<(), RowError> {
        let frame = event.encode();
        match event {
            Event::Message { seq, at, folded, links, .. } => {
                let id = message_id(row.id, *seq);
                let thread = links.as_ref().and_then(|links| links.thread);
                if let Some(root) = thread {
                    self.check_root(row, root)?;
                }
                let sql = "INSERT INTO messages (id, at, sum, frame, guest, thread) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
                let thread = thread.map(|root| message_id(row.id, root));
                let sum = checksum(name, *seq, &frame);
                self.connection.prepare_cached(sql)?.execute((id, at, sum, &*frame, guest, thread))?;
                if folded.as_ref().is_some_and(|folded| folded.pinned) {
                    self.connection.prepare_cached("INSERT INTO pins VALUES (?1)")?.execute([id])?;
                }
                self.seen_at = self.seen_at.max(*at);
                Ok(())
            }
            Event::Role { seq, at, .. } | Event::Settings { seq, at, .. } => {
                row.governed = true;
                self.insert_change(name, row, (*seq, *at), (ACT_KIND, 0), &frame)
            }
            Event::Purged { seq, at, user, from, to, .. } => {
                // An earlier deletion of a message stays.
                let sql = "UPDATE messages SET deleted = ?4, edited = NULL, reacted = NULL, pinned = NULL
                    WHERE id BETWEEN ?1 AND ?2 AND deleted IS NULL
                    AND json_extract(CAST(frame AS TEXT), '$.user.id') = ?3";
                let range = (message_id(row.id, *from), message_id(row.id, *to));
                self.connection.prepare_cached(sql)?.execute((range.0, range.1, user.id(), seq))?;
                self.insert_change(name, row, (*seq, *at), (PURGE_KIND, 0), &frame)
            }
            _ => Ok(()),
        }
    }

    fn write_change(
        &mut self,
        name: &RoomName,
        row: &mut RoomRow,
        entry: &ChangeEntry,
    ) -> Result<(), RowError> {
        let ChangeEntry { seq, at, target, kind, .. } = *entry;
        let id = message_id(row.id, target);
        let sql = match kind {
            ChangeKind::Edited => "UPDATE messages SET edited = ?2 WHERE id = ?1",
            ChangeKind::Reactions => "UPDATE messages SET reacted = ?2 WHERE id = ?1",
            ChangeKind::Pinned => "UPDATE messages SET pinned = ?2 WHERE id = ?1",
            // It has erased the changes before it.
            ChangeKind::Deleted => {
                "UPDATE messages SET deleted = ?2, edited = NULL, reacted = NULL, pinned = NULL WHERE id = ?1"
            }
            _ => return Err(contradiction("a store has no change of this kind")),
        };
        let updated = self.connection.prepare_cached(sql)?.execute((id, seq))?;
        if updated == 0 && target >= row.first && self.lost == 0 {
            return Err(contradiction("its `target` is no message"));
        }
        let text = ChangeRecord::encode(entry);
        self.insert_change(name, row, (seq, at), (kind_column(kind), id), &text)
    }

    fn insert_change(
        &mut self,
        name: &RoomName,
        row: &mut RoomRow,
        (seq, at): (u64, u64),
        (kind, target): (i64, i64),
        text: &[u8],
    ) -> Result<(), RowError> {
        row.changes = row.changes.map(|changes| changes + 1);
        self.seen_at = self.seen_at.max(at);
        let sql = "INSERT INTO changes (id, at, kind, target, sum, entry) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let sum = checksum(name, seq, text);
        let values = (message_id(row.id, seq), at, kind, target, sum, text);
        self.connection.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }

    /// Checks that a thread begins with a message that is in no thread itself.
    fn check_root(&self, row: &RoomRow, root: u64) -> Result<(), RowError> {
        if root < row.first || self.lost > 0 {
            return Ok(());
        }
        let sql = "SELECT 1 FROM messages WHERE id = ?1 AND thread IS NULL";
        let is_root = self.connection.prepare_cached(sql)?.exists([message_id(row.id, root)])?;
        if is_root {
            Ok(())
        } else {
            Err(contradiction("its `thread` is no message with which a thread begins"))
        }
    }

    /// Completes a room: its numbers, and the checks that need all its lines.
    fn end_room(&mut self) -> Result<(), RowError> {
        let Some((_, row)) = self.room.take() else { return Ok(()) };
        let sql = "UPDATE rooms SET keys = ?2, changes = ?3, governed = ?4, markers = ?5 WHERE id = ?1";
        let numbers = (row.id, row.keys, row.changes, row.governed, self.markers);
        self.connection.prepare_cached(sql)?.execute(numbers)?;
        // The state of messages cannot be checked against entries that are lost.
        if self.lost > 0 {
            return Ok(());
        }
        let mut report = Report::default();
        check_messages(&self.connection, &row, &mut report)?;
        check_threads(&self.connection, &row, &mut report)?;
        check_revisions(&self.connection, &row, &mut report)?;
        match report.problems.into_iter().next() {
            Some(problem) => Err(contradiction(problem)),
            None => Ok(()),
        }
    }

    /// Completes the database and closes it.
    pub(super) fn finish(self) -> rusqlite::Result<Identity> {
        let identity = Identity { store: random_id(), epoch: random_id(), commits: 1 };
        self.connection.execute(
            "INSERT INTO store (one, identity, epoch, commits, seen_at, open_ms, guest_follows)
             VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6)",
            (&identity.store, &identity.epoch, identity.commits, self.seen_at, OPEN_MS, self.guest_follows),
        )?;
        self.connection.execute_batch("COMMIT")?;
        self.connection.pragma_update(None, "journal_mode", "wal")?;
        checkpoint(&self.connection)?;
        self.connection.close().map_err(|(_, error)| error)?;
        Ok(identity)
    }
}
