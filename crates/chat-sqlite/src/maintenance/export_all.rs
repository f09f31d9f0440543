use std::io::{self, Write};
use std::path::Path;

use chat_core::{ExportWriter, Exported, RoomName, RoomRules, Standing, StoredMessage, User};
use chat_proto::ExportLine;
use rusqlite::{Connection, Row, Statement};
use serde_json::json;

use super::check::{RoomRow, rooms};
use super::connect;
use crate::OpenError;
use crate::database::row::{KEY_DIGEST, SLOT_HEADER, message_id, seq_of, verified_frame};
use crate::database::{ACT_KIND, ChangeRecord, PURGE_KIND, Paths, Purge, VERSION, read_rules, read_standing};

/// The reason why a store is not exported, and the fix.
const INCOMPLETE_PURGE: &str = "a purge is not complete: start the server and wait until it is; if the log has \
    `purge stopped`, restart the server once more";

/// Writes a store as an export.
pub(crate) fn export_all(dir: &Path, to: impl Write) -> io::Result<Exported> {
    let connection = connect(dir).map_err(io::Error::other)?;
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0));
    let version: u32 = version.map_err(io::Error::other)?;
    if version < VERSION {
        let path = Paths::of(dir).database;
        return Err(io::Error::other(OpenError::Older { path, found: version, expected: VERSION }));
    }
    // One snapshot of all tables.
    let transaction = connection.unchecked_transaction().map_err(io::Error::other)?;
    if let Some(Purge { room, .. }) = Purge::read_all(&transaction).map_err(io::Error::other)?.first() {
        // The export would keep messages that are about to be deleted.
        return Err(io::Error::other(format!("room {room}: {INCOMPLETE_PURGE}")));
    }
    let mut lines = ExportWriter::begin(to)?;
    for room in rooms(&transaction, version).map_err(io::Error::other)? {
        let Ok(name) = room.name.parse::<RoomName>() else {
            // Nobody can join it either.
            lines.leave_out((room.head + 1).saturating_sub(room.first));
            continue;
        };
        Room { connection: &transaction, row: &room, name: &name }.write(&mut lines)?;
    }
    write_follows(&transaction, &mut lines)?;
    lines.finish()
}

fn damaged(what: &str) -> io::Error {
    io::Error::other(format!("{what}: restore a backup, or export the messages of single rooms"))
}

/// A room that is written. Each function writes the lines of one type.
struct Room<'a> {
    connection: &'a Connection,
    row: &'a RoomRow,
    name: &'a RoomName,
}

impl Room<'_> {
    fn write<W: Write>(&self, lines: &mut ExportWriter<W>) -> io::Result<()> {
        let RoomRow { head, first, governed, .. } = *self.row;
        lines.write(&ExportLine::Room { room: self.name.clone(), seq: head, first, governed })?;
        if governed {
            self.write_rules(lines)?;
        }
        self.write_entries(lines)?;
        self.write_reactions(lines)?;
        self.write_keys(lines)?;
        self.write_markers(lines)
    }

    /// Writes the rules and the standings. A damaged one would give rights to those who have none, so it is an error.
    fn write_rules<W: Write>(&self, lines: &mut ExportWriter<W>) -> io::Result<()> {
        let (id, room) = (self.row.id, self.name);
        let unreadable = |_| damaged(&format!("room {room}: its rules, a role or a restriction is damaged"));
        let rules: Option<RoomRules> = read_rules(self.connection, room, id).map_err(unreadable)?;
        if let Some(rules) = rules {
            lines.write(&ExportLine::Rules { room: room.clone(), rules })?;
        }
        let mut statement = self.prepare("SELECT user FROM standings WHERE room = ?1 ORDER BY user")?;
        let mut rows = statement.query([id]).map_err(io::Error::other)?;
        while let Some(row) = rows.next().map_err(io::Error::other)? {
            let user: String = row.get(0).map_err(unreadable)?;
            let standing: Standing = read_standing(self.connection, room, id, &user).map_err(unreadable)?;
            let Standing { role, restriction, .. } = standing;
            lines.write(&ExportLine::Standing { room: room.clone(), user, role, restricted: restriction })?;
        }
        Ok(())
    }

    fn write_entries<W: Write>(&self, lines: &mut ExportWriter<W>) -> io::Result<()> {
        let sql = "SELECT id, sum, frame, guest, NULL FROM all_messages WHERE id BETWEEN ?1 AND ?2
            UNION ALL SELECT id, sum, entry, NULL, kind FROM changes WHERE id BETWEEN ?1 AND ?2 ORDER BY 1";
        let mut statement = self.prepare(sql)?;
        let mut rows = statement.query(self.range()).map_err(io::Error::other)?;
        let mut next = self.row.first;
        while let Some(row) = rows.next().map_err(io::Error::other)? {
            let (seq, line) = self.entry_line(row).map_err(io::Error::other)?;
            let Some(line) = line.filter(|_| seq >= next && seq <= self.row.head) else { continue };
            self.write_lost(next, seq, lines)?;
            lines.write(&line)?;
            next = seq + 1;
        }
        self.write_lost(next, self.row.head + 1, lines)
    }

    /// Returns the line of an entry, or `None` if the entry is damaged. An entry of another kind is added here.
    fn entry_line(&self, row: &Row<'_>) -> rusqlite::Result<(u64, Option<ExportLine>)> {
        let (seq, Some(text)) = verified_frame(self.name, row)? else {
            return Ok((seq_of(row.get(0)?), None));
        };
        let (guest, kind): (Option<bool>, Option<i64>) = (row.get(3)?, row.get(4)?);
        let event = |guest| {
            let event = StoredMessage::new(seq, text.to_vec()).event().ok()?;
            Some(ExportLine::Event { event: Box::new(event), guest })
        };
        let line = match kind {
            // The author of a message of an earlier version is unknown, as a guest of an earlier connection is.
            None => event(guest.unwrap_or(true)),
            Some(ACT_KIND | PURGE_KIND) => event(false),
            Some(_) => ChangeRecord::decode(seq, text).map(|entry| ExportLine::Changed {
                room: self.name.clone(),
                seq,
                at: entry.at,
                guest: entry.by.is_guest(),
                by: entry.by,
                target: entry.target,
                what: entry.kind,
            }),
        };
        Ok((seq, line))
    }

    fn write_lost<W: Write>(&self, from: u64, to: u64, lines: &mut ExportWriter<W>) -> io::Result<()> {
        if from >= to {
            return Ok(());
        }
        lines.write(&ExportLine::Lost { room: self.name.clone(), seq: from, to: to - 1 })
    }

    /// Writes the reactions, in the order in which the users of each message have placed them.
    fn write_reactions<W: Write>(&self, lines: &mut ExportWriter<W>) -> io::Result<()> {
        let sql = "SELECT message, seq, reaction, user, name FROM reactions
            WHERE message BETWEEN ?1 AND ?2 ORDER BY message, seq, nth";
        // Retention deletes the reactions after the messages.
        let range = (message_id(self.row.id, self.row.first), self.range().1);
        self.write_rows(sql, range, lines, |row| {
            let (guest, id) = user_parts(&row.get::<_, Vec<u8>>(3)?);
            let user = json!({ "id": id, "name": row.get::<_, String>(4)? });
            let user: User = serde_json::from_value(user).map_err(|_| rusqlite::Error::InvalidQuery)?;
            let target = seq_of(row.get(0)?);
            let (room, seq, reaction) = (self.name.clone(), row.get(1)?, row.get(2)?);
            Ok(ExportLine::Reaction { room, target, seq, reaction, user, guest })
        })
    }

    /// Writes the keys. The age of a key is the time for which the store has been open since then.
    fn write_keys<W: Write>(&self, lines: &mut ExportWriter<W>) -> io::Result<()> {
        let sql = "SELECT id, at, slot, digest, (SELECT open_ms FROM store) - open_ms FROM all_keys
            WHERE id BETWEEN ?1 AND ?2 ORDER BY id";
        self.write_rows(sql, self.range(), lines, |row| {
            let (slot, content): (Vec<u8>, _) = (row.get(2)?, row.get(3)?);
            let text = slot.get(SLOT_HEADER..slot.len().saturating_sub(KEY_DIGEST)).unwrap_or_default();
            let digest = slot.get(slot.len().saturating_sub(KEY_DIGEST)..).unwrap_or_default();
            Ok(ExportLine::Key {
                room: self.name.clone(),
                seq: seq_of(row.get(0)?),
                at: row.get(1)?,
                user: String::from_utf8_lossy(text).into_owned(),
                guest: slot.get(8) == Some(&1),
                key: digest.try_into().map_err(|_| rusqlite::Error::InvalidQuery)?,
                content,
                age_ms: row.get::<_, i64>(4)?.max(0).unsigned_abs(),
            })
        })
    }

    fn write_markers<W: Write>(&self, lines: &mut ExportWriter<W>) -> io::Result<()> {
        let sql = "SELECT user, seq FROM markers WHERE room BETWEEN ?1 AND ?2 ORDER BY user";
        self.write_rows(sql, (self.row.id, self.row.id), lines, |row| {
            let (guest, user) = user_parts(&row.get::<_, Vec<u8>>(0)?);
            Ok(ExportLine::Marker { room: self.name.clone(), user, guest, seq: row.get(1)? })
        })
    }

    fn write_rows<W: Write>(
        &self,
        sql: &str,
        range: (i64, i64),
        lines: &mut ExportWriter<W>,
        line: impl Fn(&Row<'_>) -> rusqlite::Result<ExportLine>,
    ) -> io::Result<()> {
        let mut statement = self.prepare(sql)?;
        let mut rows = statement.query(range).map_err(io::Error::other)?;
        while let Some(row) = rows.next().map_err(io::Error::other)? {
            let unreadable =
                |_| damaged(&format!("room {}: a reaction, key or marker is damaged", self.name));
            lines.write(&line(row).map_err(unreadable)?)?;
        }
        Ok(())
    }

    fn prepare(&self, sql: &str) -> io::Result<Statement<'_>> {
        self.connection.prepare(sql).map_err(io::Error::other)
    }

    fn range(&self) -> (i64, i64) {
        (message_id(self.row.id, 0), message_id(self.row.id, u64::MAX))
    }
}

fn write_follows<W: Write>(connection: &Connection, lines: &mut ExportWriter<W>) -> io::Result<()> {
    let sql = "SELECT user, room FROM follows ORDER BY user, room";
    let mut statement = connection.prepare(sql).map_err(io::Error::other)?;
    let mut rows = statement.query(()).map_err(io::Error::other)?;
    while let Some(row) = rows.next().map_err(io::Error::other)? {
        let (user, room): (Vec<u8>, String) =
            row.get(0).and_then(|user| Ok((user, row.get(1)?))).map_err(io::Error::other)?;
        let (guest, user) = user_parts(&user);
        let Ok(room) = room.parse() else { continue };
        lines.write(&ExportLine::Follow { user, guest, room })?;
    }
    Ok(())
}

/// Returns the parts of the column of a user: if it is a guest, and the id.
fn user_parts(column: &[u8]) -> (bool, String) {
    let id = String::from_utf8_lossy(column.get(1..).unwrap_or_default()).into_owned();
    (column.first() == Some(&1), id)
}
