use std::borrow::Cow;
use std::collections::BTreeSet;

use chat_core::{Act, ActEntry, ActState, ChangeEntry, ChangeError, Deleted, RoomName, StoredMessage};
use rusqlite::Transaction;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{AppendBatch, Outcome, Position, PreparedAct, RoomRow, refused};
use crate::database::row::{LAST_SEQ, checksum, message_id, seq_of, verified_frame};
use crate::database::{ChangeRecord, PURGE_KIND, Purge};

/// Messages that one step of a purge looks at.
const STEP_ROWS: usize = 1_024;

/// Messages that one step deletes. Appends to other rooms wait for one step.
const STEP_MESSAGES: usize = 64;

/// The number of reactions to its messages at which a step ends.
const STEP_REACTIONS: u64 = 1_024;

/// The entry of one step.
#[derive(Debug)]
pub(super) struct PurgeEntry {
    pub(super) room: RoomName,
    pub(super) stored: StoredMessage,
    pub(super) purge: ActEntry,
    /// The ids of the messages that it has deleted.
    pub(super) targets: Vec<i64>,
    /// Their changes among the newest entries.
    pub(super) erased: Vec<ChangeEntry>,
    /// The first position that a room may still hold as it was published.
    pub(super) tail: u64,
}

/// The fields of a message that decide if it is deleted.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    user: Author<'a>,
    at: u64,
    deleted: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Author<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

/// The messages of one step.
struct Found {
    ids: Vec<i64>,
    /// The last message that was looked at, `None` if there is no further one.
    last: Option<u64>,
}

impl AppendBatch<'_> {
    /// Accepts a purge, if the user who acts has the right to it. [`purge`](Self::purge) carries it out.
    pub(crate) fn begin_purge(&mut self, prepared: &PreparedAct) -> rusqlite::Result<Outcome> {
        let PreparedAct { room, act, .. } = prepared;
        if !act.fits(room) {
            return Ok(Outcome::Refused(ChangeError::Forbidden));
        }
        let known = self.row(room)?;
        let (context, at) = self.act_context(room, known, act)?;
        if let Err(error) = context.judge_purge(act, at) {
            return Ok(Outcome::Refused(error));
        }
        let Some(row) = known else {
            return Ok(Outcome::Known(Position { seq: None, at, duplicate: false }));
        };
        let id = match Purge::begin(self.transaction, room, act, row.head)? {
            Ok(id) => id,
            Err(reason) => return Ok(refused(reason)),
        };
        self.has_marked = true;
        Ok(Outcome::Purging { id, up_to: row.head })
    }

    /// Carries out the next step of a purge, if its user still has the right to it. `tail` is the number of entries
    /// that a room may hold as they were published. Returns `true` if the purge is complete.
    pub(crate) fn purge(
        &mut self,
        purge: &mut Purge,
        tail: u64,
    ) -> rusqlite::Result<Result<bool, ChangeError>> {
        let Some(row) = self.row(&purge.room)? else { return self.end_purge(purge, Ok(true)) };
        let (context, at) = self.act_context(&purge.room, Some(row), &purge.act)?;
        if let Err(error) = context.judge_purge(&purge.act, at) {
            return self.end_purge(purge, Err(error));
        }
        let found = self.find_messages(row, purge)?;
        if !found.ids.is_empty() && row.head >= LAST_SEQ {
            return self.end_purge(purge, Err(chat_core::Unavailable::over_quota("the room is full").into()));
        }
        let last = self.delete_found(row, purge, &found.ids, at, tail)?;
        match last.or(found.last) {
            Some(last) if last < purge.up_to => {
                purge.after = last;
                Ok(Ok(false))
            }
            _ => self.end_purge(purge, Ok(true)),
        }
    }

    fn end_purge(
        &mut self,
        purge: &Purge,
        result: Result<bool, ChangeError>,
    ) -> rusqlite::Result<Result<bool, ChangeError>> {
        purge.remove(self.transaction)?;
        self.has_marked = true;
        Ok(result)
    }

    /// Looks for the next messages of the user that are not deleted. A damaged one is left out.
    fn find_messages(&self, row: RoomRow, purge: &Purge) -> rusqlite::Result<Found> {
        let user = purge.act.act.target().map_or("", |user| user.id());
        let mut found = Found { ids: Vec::new(), last: None };
        let mut statement = self.transaction.prepare_cached(
            "SELECT id, sum, frame FROM messages WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
        )?;
        let range = (message_id(row.id, purge.after), message_id(row.id, purge.up_to));
        let mut rows = statement.query((range.0, range.1, STEP_ROWS))?;
        let mut looked = 0;
        while let Some(row) = rows.next()? {
            looked += 1;
            let (seq, frame) = verified_frame(&purge.room, row)?;
            found.last = Some(seq);
            let fields = frame.and_then(|frame| serde_json::from_slice::<Fields<'_>>(frame).ok());
            let is_wanted = fields.is_some_and(|Fields { user: author, at, deleted }| {
                author.id == user && deleted.is_none() && purge.until.is_none_or(|until| at <= until)
            });
            if is_wanted {
                found.ids.push(row.get(0)?);
                if found.ids.len() >= STEP_MESSAGES {
                    return Ok(found);
                }
            }
        }
        if looked < STEP_ROWS {
            found.last = None;
        }
        Ok(found)
    }

    /// Deletes messages that were found, with one entry. Returns the last one that it has deleted, if it left some.
    fn delete_found(
        &mut self,
        mut row: RoomRow,
        purge: &mut Purge,
        ids: &[i64],
        at: u64,
        tail: u64,
    ) -> rusqlite::Result<Option<u64>> {
        let Act::Purge { user } = &purge.act.act else { return Ok(None) };
        let (room, by) = (&purge.room, &purge.act.user);
        let seq = row.head + 1;
        let (mut targets, mut unpinned, mut reactions, mut last) = (Vec::new(), Vec::new(), 0, None);
        for id in ids {
            let Some(message) = self.changed_message(room, *id)? else { continue };
            // The row shows the state before the batch, which may have deleted it.
            if message.is_deleted() {
                continue;
            }
            reactions += message.reaction_count();
            if message.has_pin_change() {
                unpinned.push(seq_of(*id));
            }
            let deleted = Deleted::new(at, by.clone(), None);
            let transaction = self.transaction;
            let message = self.changed.messages.get_mut(id);
            message.map_or(Ok(()), |message| message.delete(transaction, *id, seq, deleted))?;
            targets.push(*id);
            if reactions >= STEP_REACTIONS {
                last = Some(seq_of(*id));
                break;
            }
        }
        let (Some(from), Some(to)) = (targets.first(), targets.last()) else { return Ok(last) };
        let state = ActState::Purge { user: user.clone(), from: seq_of(*from), to: seq_of(*to), unpinned };
        let entry = ActEntry::new(seq, at, by.clone(), state);
        let stored = entry.encode(room);
        let sum = checksum(room, seq, &stored.frame);
        self.transaction
            .prepare_cached(
                "INSERT INTO changes (id, at, kind, target, sum, entry) VALUES (?1, ?2, ?3, 0, ?4, ?5)",
            )?
            .execute((message_id(row.id, seq), at, PURGE_KIND, sum, &*stored.frame))?;
        let tail = seq.saturating_sub(tail);
        let erased = read_changes_of(self.transaction, room, message_id(row.id, tail), &targets)?;
        (row.head, row.last_at) = (seq, Some(at));
        row.changes += 1;
        self.rooms.insert(room.clone(), row);
        self.bytes += stored.frame.len();
        (purge.newest, purge.deleted) = (Some(seq), purge.deleted + targets.len());
        let room = room.clone();
        self.changed.purges.push(PurgeEntry { room, stored, purge: entry, targets, erased, tail });
        Ok(last)
    }
}

/// Reads the changes of these messages from the id `from` on, to the end of the room. A damaged one is left out.
fn read_changes_of(
    transaction: &Transaction<'_>,
    room: &RoomName,
    from: i64,
    targets: &[i64],
) -> rusqlite::Result<Vec<ChangeEntry>> {
    let targets: BTreeSet<_> = targets.iter().copied().collect();
    let mut statement = transaction.prepare_cached(
        "SELECT id, sum, entry, target FROM changes WHERE id BETWEEN ?1 AND ?1 | ?2 AND target <> 0",
    )?;
    let mut rows = statement.query((from, LAST_SEQ))?;
    let mut changes = Vec::new();
    while let Some(row) = rows.next()? {
        if targets.contains(&row.get(3)?) {
            let (seq, text) = verified_frame(room, row)?;
            changes.extend(text.and_then(|text| ChangeRecord::decode(seq, text)));
        }
    }
    Ok(changes)
}
