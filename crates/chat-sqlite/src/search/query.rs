use std::time::Instant;

use chat_core::{RoomName, Scan, SearchPage};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Rows};

use crate::database::row::{message_id, seq_of};
use crate::read::{UnreadableMessages, stored_message};

/// Positions that one query of the index covers. It bounds the time that the index needs for one result.
const WINDOW: u64 = 100_000;

/// A search for the messages of a room before a `seq`, newest first. It runs in slices, each in a transaction of its
/// own, so that it does not keep the write-ahead log from being emptied.
///
/// Candidates are the messages that are not indexed yet and those that match in the index. The scan decides.
#[derive(Debug)]
pub(crate) struct SearchTask {
    room: RoomName,
    expression: String,
    scan: Scan,
    /// The last position that was not examined yet.
    last: u64,
    /// False if the index is damaged.
    uses_index: bool,
}

/// The end of the examination of some rows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    AllRows,
    PageFull,
    TimeOver,
}

impl SearchTask {
    pub(crate) fn new(room: RoomName, expression: String, before: Option<u64>, scan: Scan) -> Self {
        let last = before.map_or(u64::MAX, |before| before.saturating_sub(1));
        Self { room, expression, scan, last, uses_index: true }
    }

    /// Continues the search until `until`. Returns `true` if it is complete.
    pub(crate) fn run(
        &mut self,
        connection: &Connection,
        unreadable: &UnreadableMessages,
        until: Instant,
    ) -> rusqlite::Result<bool> {
        let room = connection
            .prepare_cached("SELECT id, head, first FROM main.rooms WHERE name = ?1")?
            .query_row([self.room.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let Some((room, head, first)) = room else { return Ok(true) };
        self.last = self.last.min(head);
        let indexed = if self.uses_index { self.indexed(connection, room)? } else { 0 };
        while self.last >= first {
            let end = if self.last > indexed {
                self.scan_recent(connection, unreadable, room, indexed.max(first.saturating_sub(1)), until)?
            } else {
                let low = first.max(self.last.saturating_sub(WINDOW - 1));
                match self.scan_indexed(connection, unreadable, room, (indexed, low), until) {
                    Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
                        self.uses_index = false;
                        return Ok(false);
                    }
                    end => end?,
                }
            };
            match end {
                End::PageFull => return Ok(true),
                End::TimeOver => return Ok(self.last < first),
                End::AllRows => {}
            }
        }
        Ok(true)
    }

    /// Returns the messages that were found.
    pub(crate) fn finish(self) -> SearchPage {
        self.scan.finish()
    }

    fn indexed(&mut self, connection: &Connection, room: i64) -> rusqlite::Result<u64> {
        let indexed = connection
            .prepare_cached("SELECT indexed FROM idx.progress WHERE id = ?1")?
            .query_row([room], |row| row.get(0))
            .optional();
        match indexed {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
                self.uses_index = false;
                Ok(0)
            }
            indexed => {
                let indexed = indexed?.unwrap_or(0);
                // The snapshot of the index may be newer, and have messages that are staged in that of the store.
                let staged = first_staged(connection, room, indexed)?;
                Ok(staged.map_or(indexed, |seq| seq - 1))
            }
        }
    }

    /// Examines the messages after `low`.
    fn scan_recent(
        &mut self,
        connection: &Connection,
        unreadable: &UnreadableMessages,
        room: i64,
        low: u64,
        until: Instant,
    ) -> rusqlite::Result<End> {
        let mut recent = connection.prepare_cached(
            "SELECT id, sum, frame FROM main.all_messages WHERE id > ?1 AND id <= ?2 ORDER BY id DESC",
        )?;
        let rows = recent.query((message_id(room, low), message_id(room, self.last)))?;
        self.scan_rows(rows, unreadable, low, until)
    }

    /// Examines the messages from `low` on that match in the index, and those that were edited after `indexed`.
    fn scan_indexed(
        &mut self,
        connection: &Connection,
        unreadable: &UnreadableMessages,
        room: i64,
        (indexed, low): (u64, u64),
        until: Instant,
    ) -> rusqlite::Result<End> {
        let (first, last) = (message_id(room, low), message_id(room, self.last));
        let recent = (message_id(room, indexed), message_id(room, u64::MAX));
        let has_edits = connection
            .prepare_cached("SELECT 1 FROM main.changes WHERE id > ?1 AND id <= ?2 AND kind = 1 LIMIT 1")?
            .exists(recent)?;
        if has_edits {
            let mut matching = connection.prepare_cached(
                "SELECT id, sum, frame FROM main.messages WHERE id IN
                 (SELECT rowid FROM idx.search WHERE search MATCH ?1 AND rowid BETWEEN ?2 AND ?3 UNION
                  SELECT target FROM main.changes WHERE id > ?4 AND id <= ?5 AND kind = 1
                  AND target BETWEEN ?2 AND ?3)
                 ORDER BY id DESC",
            )?;
            let rows = matching.query((&self.expression, first, last, recent.0, recent.1))?;
            return self.scan_rows(rows, unreadable, low.saturating_sub(1), until);
        }
        let mut matching = connection.prepare_cached(
            "SELECT m.id, m.sum, m.frame FROM idx.search s JOIN main.messages m ON m.id = s.rowid
             WHERE search MATCH ?1 AND s.rowid BETWEEN ?2 AND ?3 ORDER BY s.rowid DESC",
        )?;
        let rows = matching.query((&self.expression, first, last))?;
        self.scan_rows(rows, unreadable, low.saturating_sub(1), until)
    }

    fn scan_rows(
        &mut self,
        mut rows: Rows<'_>,
        unreadable: &UnreadableMessages,
        low: u64,
        until: Instant,
    ) -> rusqlite::Result<End> {
        while let Some(row) = rows.next()? {
            let seq = seq_of(row.get(0)?);
            if let Some(stored) = stored_message(&self.room, row, unreadable)?
                && !self.scan.look(&stored)
            {
                return Ok(End::PageFull);
            }
            self.last = seq.saturating_sub(1);
            if Instant::now() >= until {
                return Ok(End::TimeOver);
            }
        }
        self.last = low;
        Ok(if Instant::now() >= until { End::TimeOver } else { End::AllRows })
    }
}

/// Returns the `seq` of the first message of a room, up to `last`, that is staged.
fn first_staged(connection: &Connection, room: i64, last: u64) -> rusqlite::Result<Option<u64>> {
    let first: Option<i64> = connection
        .prepare_cached("SELECT min(id) FROM main.staged WHERE id > ?1 AND id <= ?2")?
        .query_row((message_id(room, 0), message_id(room, last)), |row| row.get(0))?;
    Ok(first.map(seq_of))
}
