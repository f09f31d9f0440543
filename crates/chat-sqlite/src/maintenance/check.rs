use std::path::Path;

use chat_core::RoomName;
use rusqlite::Connection;

use super::check_markers::{check_follows, check_markers};
use super::connect;
use crate::OpenError;
use crate::database::row::{message_id, seq_of, verified_frame};
use crate::database::{ACT_KIND, ChangeRecord, PURGE_KIND, Purge, kind_column, read_rules, read_standing};

/// The largest number of problems in a [`Report`].
const MAX_PROBLEMS: usize = 100;

/// The first version of the schema with changes.
const FIRST_WITH_CHANGES: u32 = 5;

/// The first version of the schema with threads.
const FIRST_WITH_THREADS: u32 = 6;

/// The first version of the schema with rules of rooms.
const FIRST_WITH_RULES: u32 = 7;

/// The first version of the schema with markers and followed rooms.
const FIRST_WITH_MARKERS: u32 = 8;

/// The first version of the schema with purges.
const FIRST_WITH_PURGES: u32 = 9;

/// The first version of the schema with staged messages.
const FIRST_WITH_STAGED: u32 = 10;

/// Messages between two reports of progress.
const PROGRESS_INTERVAL: u64 = 10_000;

/// The progress of [`SqliteStore::check`](crate::SqliteStore::check).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Messages and changes checked so far.
    pub messages: u64,
    /// Messages and changes in the store.
    pub total: u64,
}

/// The result of [`SqliteStore::check`](crate::SqliteStore::check).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Rooms that have or had messages.
    pub rooms: u64,
    /// Messages that can be read.
    pub messages: u64,
    /// Changes that can be read.
    pub changes: u64,
    /// Messages and changes that differ from their checksum.
    pub unreadable: u64,
    /// Messages and changes that are missing between others. A deleted message is not missing.
    pub missing: u64,
    /// Descriptions of the problems, one line each. The list contains the first hundred.
    pub problems: Vec<String>,
}

impl Report {
    /// Returns `true` if there are no problems.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn problem(&mut self, problem: impl FnOnce() -> String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem());
        }
    }
}

pub(crate) fn check(dir: &Path, mut progress: impl FnMut(Progress)) -> Result<Report, OpenError> {
    let connection = connect(dir)?;
    let mut report = Report::default();
    let mut check = || {
        let transaction = connection.unchecked_transaction()?;
        check_pages(&transaction, &mut report)?;
        let version: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let has_changes = version >= FIRST_WITH_CHANGES;
        let changes = if has_changes { "(SELECT count(*) FROM changes)" } else { "0" };
        let messages = messages_of(version);
        let sql = format!("SELECT (SELECT count(*) FROM {messages}) + {changes}");
        let total = transaction.query_row(&sql, (), |row| row.get(0))?;
        for room in rooms(&transaction, version)? {
            report.rooms += 1;
            check_room(&transaction, &room, &mut report, |messages| progress(Progress { messages, total }))?;
            if version >= FIRST_WITH_THREADS {
                check_threads(&transaction, &room, &mut report)?;
            }
            if version >= FIRST_WITH_MARKERS {
                check_markers(&transaction, room.id, &room.name, &mut report)?;
            }
        }
        if version >= FIRST_WITH_MARKERS {
            check_follows(&transaction, &mut report)?;
        }
        if version >= FIRST_WITH_PURGES {
            for id in Purge::damaged(&transaction)? {
                report.problem(|| format!("purge {id} differs from its checksum: the next start removes it"));
            }
        }
        transaction.finish()
    };
    if let Err(error) = check() {
        report.problem(|| format!("the check stopped, because the database cannot be read: {error}"));
    }
    Ok(report)
}

/// Returns the table or the view that has all messages in a store of a version.
pub(super) fn messages_of(version: u32) -> &'static str {
    if version >= FIRST_WITH_STAGED { "all_messages" } else { "messages" }
}

pub(super) struct RoomRow {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) head: u64,
    pub(super) first: u64,
    pub(super) keys: u64,
    /// `None` in a store of a version without changes.
    pub(super) changes: Option<u64>,
    pub(super) governed: bool,
    /// `true` in a store of a version with staged messages.
    pub(super) has_staged: bool,
}

pub(super) fn rooms(connection: &Connection, version: u32) -> rusqlite::Result<Vec<RoomRow>> {
    let changes = if version >= FIRST_WITH_CHANGES { "changes" } else { "NULL" };
    let governed = if version >= FIRST_WITH_RULES { "governed" } else { "0" };
    let sql = format!("SELECT id, name, head, first, keys, {changes}, {governed} FROM rooms ORDER BY name");
    let mut statement = connection.prepare(&sql)?;
    let rooms = statement.query_map((), |row| {
        Ok(RoomRow {
            id: row.get(0)?,
            name: row.get(1)?,
            head: row.get(2)?,
            first: row.get(3)?,
            keys: row.get(4)?,
            changes: row.get(5)?,
            governed: row.get(6)?,
            has_staged: version >= FIRST_WITH_STAGED,
        })
    })?;
    rooms.collect()
}

fn check_pages(connection: &Connection, report: &mut Report) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("PRAGMA integrity_check(100)")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let result: String = row.get(0)?;
        if result != "ok" {
            report.problem(|| result.replace('\n', " "));
        }
    }
    Ok(())
}

fn check_room(
    connection: &Connection,
    room: &RoomRow,
    report: &mut Report,
    mut progress: impl FnMut(u64),
) -> rusqlite::Result<()> {
    let name = &room.name;
    let Ok(parsed) = name.parse::<RoomName>() else {
        report.problem(|| format!("room number {} has an invalid name", room.id));
        return Ok(());
    };
    let range = (message_id(room.id, 0), message_id(room.id, u64::MAX));
    let [messages, keys] = if room.has_staged { ["all_messages", "all_keys"] } else { ["messages", "keys"] };
    let messages = format!("SELECT id, sum, frame, NULL, NULL FROM {messages} WHERE id BETWEEN ?1 AND ?2");
    let changes = "SELECT id, sum, entry, kind, target FROM changes WHERE id BETWEEN ?1 AND ?2";
    let union = room.changes.map_or(String::new(), |_| format!("UNION ALL {changes}"));
    let mut statement = connection.prepare_cached(&format!("{messages} {union} ORDER BY 1"))?;
    let mut rows = statement.query(range)?;
    let (mut next, mut changes) = (room.first, 0);
    while let Some(row) = rows.next()? {
        let seq = seq_of(row.get(0)?);
        let kind: Option<i64> = row.get(3)?;
        let what = if kind.is_some() { "change" } else { "message" };
        let is_readable = match (verified_frame(&parsed, row)?.1, kind) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(_), Some(ACT_KIND | PURGE_KIND)) => row.get(4) == Ok(0),
            (Some(text), Some(kind)) => ChangeRecord::decode(seq, text).is_some_and(|entry| {
                let target = message_id(room.id, entry.target);
                kind == kind_column(entry.kind) && row.get(4) == Ok(target)
            }),
        };
        changes += u64::from(kind.is_some());
        match (is_readable, kind) {
            (true, None) => report.messages += 1,
            (true, Some(_)) => report.changes += 1,
            (false, _) => {
                report.unreadable += 1;
                report.problem(|| format!("room {name}: {what} {seq} differs from its checksum"));
            }
        }
        if seq > next {
            report.missing += seq - next;
            report.problem(|| format!("room {name}: entries {next} to {} are missing", seq - 1));
        }
        next = seq + 1;
        let checked = report.messages + report.changes + report.unreadable;
        if checked.is_multiple_of(PROGRESS_INTERVAL) {
            progress(checked);
        }
    }
    if next != room.head + 1 {
        let head = room.head;
        report.problem(|| format!("room {name}: its head is {head}, but its next entry would be {next}"));
    }
    let sql = format!("SELECT count(*) FROM {keys} WHERE id BETWEEN ?1 AND ?2");
    let keys: u64 = connection.query_row(&sql, range, |row| row.get(0))?;
    if keys != room.keys {
        report.problem(|| format!("room {name}: it has {keys} keys, but {} are recorded", room.keys));
    }
    let Some(recorded) = room.changes else { return Ok(()) };
    if changes != recorded {
        report.problem(|| format!("room {name}: it has {changes} changes, but {recorded} are recorded"));
    }
    if room.governed {
        check_rules(connection, room, &parsed, report)?;
    }
    check_messages(connection, room, report)
}

/// Checks the rules of a room, and the standings of its users.
fn check_rules(
    connection: &Connection,
    room: &RoomRow,
    name: &RoomName,
    report: &mut Report,
) -> rusqlite::Result<()> {
    if read_rules(connection, name, room.id).is_err() {
        report.problem(|| format!("room {name}: its rules differ from their checksum"));
    }
    let mut statement = connection.prepare_cached("SELECT user FROM standings WHERE room = ?1")?;
    let mut rows = statement.query([room.id])?;
    while let Some(row) = rows.next()? {
        let user: String = row.get(0)?;
        if read_standing(connection, name, room.id, &user).is_err() {
            report.problem(|| format!("room {name}: a role or restriction differs from its checksum"));
        }
    }
    Ok(())
}

/// Checks that the newest changes of each message are entries of the log, and that each reaction has a message.
pub(super) fn check_messages(
    connection: &Connection,
    room: &RoomRow,
    report: &mut Report,
) -> rusqlite::Result<()> {
    let name = &room.name;
    let range = (message_id(room.id, 0), message_id(room.id, u64::MAX));
    let sql = "SELECT m.id, n.key FROM messages m JOIN json_each(json_array(m.edited, m.reacted, m.pinned)) n
        WHERE m.id BETWEEN ?1 AND ?2 AND n.value IS NOT NULL AND NOT EXISTS (SELECT 1 FROM changes c
        WHERE c.id = ?1 + n.value AND c.target = m.id AND c.kind = CASE n.key WHEN 0 THEN 1 ELSE n.key + 2 END)";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(range)?;
    while let Some(row) = rows.next()? {
        let seq = seq_of(row.get(0)?);
        report.problem(|| format!("room {name}: message {seq} has a change that the log does not have"));
    }
    let sql = "SELECT count(*) FROM reactions r LEFT JOIN messages m ON m.id = r.message
        WHERE r.message BETWEEN ?1 AND ?2 AND m.reacted IS NULL";
    // Retention deletes the reactions after the messages.
    let kept = (message_id(room.id, room.first), range.1);
    let reactions: u64 = connection.query_row(sql, kept, |row| row.get(0))?;
    if reactions > 0 {
        report.problem(|| format!("room {name}: {reactions} reactions have no message"));
    }
    Ok(())
}

/// Checks that deletions are entries of the log, that roots count the messages of their threads, and that pins have
/// messages.
pub(super) fn check_threads(
    connection: &Connection,
    room: &RoomRow,
    report: &mut Report,
) -> rusqlite::Result<()> {
    let checks = [
        (
            "SELECT m.id FROM messages m WHERE m.id BETWEEN ?1 AND ?2 AND m.deleted IS NOT NULL AND NOT EXISTS
             (SELECT 1 FROM changes c WHERE c.id = ?1 + m.deleted
                 AND (c.target = m.id AND c.kind = 2 OR c.kind = 6))",
            "has a deletion that the log does not have",
        ),
        (
            "SELECT m.id FROM (SELECT thread, count(*) AS count, max(id) - ?1 AS last FROM messages
                 WHERE thread BETWEEN ?1 AND ?2 GROUP BY thread) t
             JOIN (SELECT id, CAST(frame AS TEXT) AS frame FROM messages) m ON m.id = t.thread
             WHERE CASE WHEN json_valid(m.frame) THEN json_extract(m.frame, '$.replies.count') IS NOT t.count
                 OR json_extract(m.frame, '$.replies.last') IS NOT t.last END",
            "does not count the messages of its thread",
        ),
        (
            "SELECT p.message FROM pins p LEFT JOIN messages m ON m.id = p.message
             WHERE p.message BETWEEN ?1 AND ?2 AND m.pinned IS NULL",
            "is pinned, but has no pin",
        ),
    ];
    report_messages(connection, room, report, &checks)
}

/// Checks that the state of each message is that after its changes.
pub(super) fn check_revisions(
    connection: &Connection,
    room: &RoomRow,
    report: &mut Report,
) -> rusqlite::Result<()> {
    let checks = [
        (
            "SELECT m.id FROM (SELECT *, CAST(frame AS TEXT) AS text FROM messages WHERE id BETWEEN ?1 AND ?2) m
             WHERE (instr(text, '\"rev\":') > 0
                 OR coalesce(edited, reacted, pinned, deleted) IS NOT NULL)
             AND json_extract(text, '$.rev') IS NOT nullif(max(coalesce(edited, 0), coalesce(reacted, 0),
                 coalesce(pinned, 0), coalesce(deleted, 0),
                 coalesce(json_extract(text, '$.replies.last'), 0)), 0)",
            "has a `rev` that is not its newest change",
        ),
        (
            "SELECT m.id FROM (SELECT *, CAST(frame AS TEXT) AS text FROM messages WHERE id BETWEEN ?1 AND ?2) m
             WHERE instr(text, '\"rev\":') > 0 AND (
                 (json_extract(text, '$.edited') IS NULL) <> (edited IS NULL)
                 OR (json_extract(text, '$.deleted') IS NULL) <> (deleted IS NULL)
                 OR (SELECT coalesce(sum(json_extract(value, '$.count')), 0) FROM json_each(text, '$.reactions'))
                     <> (SELECT count(*) FROM reactions r WHERE r.message = m.id))",
            "has another state than that of its changes and reactions",
        ),
    ];
    report_messages(connection, room, report, &checks)
}

/// Reports the messages that queries return, each with the problem.
fn report_messages(
    connection: &Connection,
    room: &RoomRow,
    report: &mut Report,
    checks: &[(&str, &str)],
) -> rusqlite::Result<()> {
    let name = &room.name;
    let range = (message_id(room.id, 0), message_id(room.id, u64::MAX));
    for (sql, problem) in checks {
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query(range)?;
        while let Some(row) = rows.next()? {
            let seq = seq_of(row.get(0)?);
            report.problem(|| format!("room {name}: message {seq} {problem}"));
        }
    }
    Ok(())
}
