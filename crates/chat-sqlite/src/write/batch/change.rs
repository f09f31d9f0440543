use std::collections::HashMap;
use std::sync::Arc;

use chat_core::{
    ActState, Change, ChangeEntry, ChangeError, ChangeKind, Deleted, Edited, Limits, MessageChanges,
    NewChange, NewMessage, Reaction, Role, RoomName, StoredMessage, Target, User, UserKey, Verdict,
};
use rusqlite::{OptionalExtension, Transaction};
use serde_json::json;

use super::purge::PurgeEntry;
use super::scrub::rewrite_neighbours;
use super::{AlteredEntry, AppendBatch, IdempotencyKey, Outcome, Position, RoomRow, refused};
use crate::database::row::{LAST_SEQ, checksum, message_id, seq_of, user_column, verified_frame};
use crate::database::{ChangeRecord, Deletion, MessageState, PurgedRange, kind_column};

/// A change that waits for its `seq`.
#[derive(Debug)]
pub(crate) struct PreparedChange {
    pub(crate) room: RoomName,
    pub(crate) change: NewChange,
    pub(crate) key: Option<IdempotencyKey>,
    pub(crate) limits: Arc<Limits>,
}

impl PreparedChange {
    pub(crate) fn is_deletion(&self) -> bool {
        self.change.change.kind() == ChangeKind::Deleted
    }
}

/// The messages that a batch changes. Each is written once, at the end of the batch.
#[derive(Debug, Default)]
pub(super) struct ChangedMessages {
    pub(super) messages: HashMap<i64, ChangedMessage>,
    pub(super) purges: Vec<PurgeEntry>,
    entries: Vec<NewEntry>,
}

#[derive(Debug)]
pub(super) struct ChangedMessage {
    room: RoomName,
    seq: u64,
    author: UserKey,
    connection: Option<u64>,
    at: u64,
    message: NewMessage,
    changes: Option<MessageChanges>,
    /// The reactions that the batch has added.
    placed: u64,
    /// The entry of the batch that has the reactions.
    reactions: Option<u64>,
    /// `true` if the batch has changed it.
    is_altered: bool,
}

/// An entry that the batch has made.
#[derive(Debug)]
struct NewEntry {
    room: RoomName,
    entry: ChangeEntry,
    /// The id of the message.
    target: i64,
    /// The entries that a deletion has erased.
    erased: Vec<ChangeEntry>,
}

type Altered = HashMap<(RoomName, u64), AlteredEntry>;

impl AppendBatch<'_> {
    /// Changes a message, if it exists and the user has the right to do so.
    pub(crate) fn change(&mut self, prepared: &PreparedChange) -> rusqlite::Result<Outcome> {
        let PreparedChange { room, change, key: given, limits } = prepared;
        if kind_column(change.change.kind()) == 0 {
            return Ok(Outcome::Refused(ChangeError::Unsupported));
        }
        let Some(mut row) = self.row(room)? else { return Ok(Outcome::Refused(ChangeError::NoMessage)) };
        let key =
            match given.as_ref().map(|key| self.look_up(row, &change.user, key)).transpose()?.transpose() {
                Ok(key) => key,
                Err(outcome) => return Ok(outcome),
            };
        let at = self.next_time(room, row)?;
        let role = match self.check_change(room, row, change, at)? {
            Ok(role) => role,
            Err(error) => return Ok(Outcome::Refused(error)),
        };
        let id = message_id(row.id, change.target);
        if change.target > row.head || self.changed_message(room, id)?.is_none() {
            return Ok(Outcome::Refused(ChangeError::NoMessage));
        }
        let target = self.changed.messages.remove(&id);
        let Some(mut target) = target else { return Ok(Outcome::Refused(ChangeError::NoMessage)) };
        let outcome = match target.judge(self.transaction, id, (change, role), at, limits)? {
            Err(error) => Outcome::Refused(error),
            Ok(Verdict::Unchanged) => Outcome::Known(Position { seq: None, at, duplicate: false }),
            Ok(Verdict::Deleted(seq)) => Outcome::Known(Position { seq: Some(seq), at, duplicate: true }),
            Ok(_) if self.limits.is_full && change.change.kind() != ChangeKind::Deleted => {
                refused("the store has reached its disk quota")
            }
            Ok(_) if row.head >= LAST_SEQ => refused("the room is full"),
            Ok(_) => {
                let joined = target.joined_entry(change);
                let seq = joined.unwrap_or(row.head + 1);
                let tail = limits.rooms.tail_events as u64;
                let erased = target.apply(self.transaction, id, change, (seq, at), tail)?;
                if joined.is_none() {
                    let by = change.user.clone();
                    let entry = ChangeEntry::new(seq, at, by, change.target, change.change.kind());
                    self.insert_entry(row, NewEntry { room: room.clone(), entry, target: id, erased })?;
                    if let Some(key) = key {
                        self.count_key(&mut row, &key)?;
                        self.insert_key(message_id(row.id, seq), at, &key)?;
                    }
                    (row.head, row.last_at) = (seq, Some(at));
                    row.changes += 1;
                    self.rooms.insert(room.clone(), row);
                }
                Outcome::Changed(Position { seq: Some(seq), at, duplicate: false })
            }
        };
        self.changed.messages.insert(id, target);
        Ok(outcome)
    }

    /// Returns a message as this batch has it so far, or `None` if the log does not have it.
    pub(super) fn changed_message(
        &mut self,
        room: &RoomName,
        id: i64,
    ) -> rusqlite::Result<Option<&mut ChangedMessage>> {
        if !self.changed.messages.contains_key(&id)
            && let Some(read) = read_target(self.transaction, room, id)?
        {
            self.changed.messages.insert(id, read);
        }
        Ok(self.changed.messages.get_mut(&id))
    }

    fn insert_entry(&mut self, row: RoomRow, new: NewEntry) -> rusqlite::Result<()> {
        let ChangeEntry { seq, at, kind, .. } = new.entry;
        let text = ChangeRecord::encode(&new.entry);
        let sum = checksum(&new.room, seq, &text);
        self.transaction
            .prepare_cached(
                "INSERT INTO changes (id, at, kind, target, sum, entry) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute((message_id(row.id, seq), at, kind_column(kind), new.target, sum, &text))?;
        self.bytes += text.len();
        self.changed.entries.push(new);
        Ok(())
    }

    /// Writes the changed messages. Returns them and the new entries, and the messages that were deleted.
    pub(super) fn finish_changes(&mut self) -> rusqlite::Result<(Altered, Vec<Deletion>)> {
        let ChangedMessages { messages, purges, entries } = std::mem::take(&mut self.changed);
        let mut altered = Altered::new();
        let (mut erased_messages, mut deletions) = (Vec::new(), Vec::new());
        for (id, message) in messages.iter().filter(|(_, message)| message.is_altered) {
            let stored = message.write(self.transaction, *id)?;
            altered.insert((message.room.clone(), message.seq), AlteredEntry { stored, erased: Vec::new() });
        }
        for NewEntry { room, entry, target, erased } in &entries {
            let message = messages.get(target);
            let state = message.and_then(|message| Some((message.changes.as_ref()?, &message.message)));
            let stored = entry.encode(room, state);
            let mut erased: Vec<_> = erased.iter().map(|entry| entry.encode(room, None)).collect();
            if entry.kind == ChangeKind::Deleted {
                let message = altered.get(&(room.clone(), entry.target));
                erased.extend(message.map(|message| message.stored.clone()));
                erased_messages.push(*target);
                deletions.extend(messages.get(target).map(|message| Deletion {
                    room: room.clone(),
                    seq: message.seq,
                    at: message.at,
                    by: entry.by.clone(),
                    purged: None,
                }));
            }
            altered.insert((room.clone(), entry.seq), AlteredEntry { stored, erased });
        }
        for PurgeEntry { room, stored, purge, targets, erased, tail } in purges {
            let held = targets.iter().map(|id| (room.clone(), seq_of(*id))).filter(|(_, seq)| *seq >= tail);
            let held = held.filter_map(|message| Some(altered.get(&message)?.stored.clone()));
            let changes = erased.iter().map(|entry| entry.encode(&room, None));
            let erased = held.chain(changes).collect();
            erased_messages.extend(targets);
            if let ActState::Purge { user, from, to, .. } = purge.state {
                let purged = Some(PurgedRange { user: user.id().to_owned(), from });
                deletions.push(Deletion { room: room.clone(), seq: to, at: purge.at, by: purge.by, purged });
            }
            altered.insert((room, stored.seq), AlteredEntry { stored, erased });
        }
        erased_messages.sort_unstable();
        rewrite_neighbours(self.transaction, &erased_messages)?;
        Ok((altered, deletions))
    }
}

/// Reads a message. Returns `None` if the log does not have it, or if it is damaged.
fn read_target(
    transaction: &Transaction<'_>,
    room: &RoomName,
    id: i64,
) -> rusqlite::Result<Option<ChangedMessage>> {
    let mut statement = transaction.prepare_cached(
        "SELECT id, sum, frame, edited, reacted, pinned, deleted, guest, connection FROM messages WHERE id = ?1",
    )?;
    let mut rows = statement.query([id])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (seq, Some(frame)) = verified_frame(room, row)? else { return Ok(None) };
    let stored = StoredMessage::new(seq, frame.to_vec());
    let newest = [row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?];
    let Some(MessageState { message, at, changes }) = MessageState::read(&stored, newest) else {
        return Ok(None);
    };
    // The author of a message of an earlier version is unknown. Only a moderator may change it.
    let is_guest = row.get::<_, Option<bool>>(7)?.unwrap_or(true);
    let Ok(author) = serde_json::from_value(json!({ "guest": is_guest, "id": message.user.id() })) else {
        return Ok(None);
    };
    let connection = row.get::<_, Option<i64>>(8)?.map(i64::cast_unsigned);
    let room = room.clone();
    let (placed, reactions, is_altered) = Default::default();
    Ok(Some(ChangedMessage {
        room,
        seq,
        author,
        connection,
        at,
        message,
        changes,
        placed,
        reactions,
        is_altered,
    }))
}

impl ChangedMessage {
    /// Returns the root of the thread that the message is in.
    pub(super) fn thread(&self) -> Option<u64> {
        self.message.thread()
    }

    /// Counts the message at the position `seq`, which is in the thread that begins with this one.
    pub(super) fn reply(&mut self, seq: u64) {
        self.is_altered = true;
        self.changes.get_or_insert_default().reply(seq);
    }

    fn judge(
        &self,
        transaction: &Transaction<'_>,
        id: i64,
        (change, role): (&NewChange, Role),
        now: u64,
        limits: &Limits,
    ) -> rusqlite::Result<Result<Verdict, ChangeError>> {
        let has_reaction = match &change.change {
            // A reaction without users is in no row.
            Change::React { reaction, .. } if self.has_reaction(reaction) => transaction
                .prepare_cached("SELECT 1 FROM reactions WHERE message = ?1 AND reaction = ?2 AND user = ?3")?
                .exists((id, reaction, user_column(&change.user.key())))?,
            _ => false,
        };
        let pins = match &change.change {
            Change::Pin { on: true } => count_pins(transaction, id)?,
            _ => 0,
        };
        let Self { author, connection, at, changes, .. } = self;
        let (connection, changes) = (*connection, changes.as_ref());
        let target = Target { author, connection, at: *at, changes, has_reaction, pins };
        if role == change.role {
            return Ok(target.judge(change, now, limits));
        }
        Ok(target.judge(&change.clone().with_role(role), now, limits))
    }

    fn has_reaction(&self, reaction: &str) -> bool {
        let reactions = self.changes.as_ref().map(|changes| &changes.folded.reactions);
        reactions.is_some_and(|reactions| reactions.iter().any(|known| known.reaction == reaction))
    }

    /// Returns the entry of this batch that a reaction joins: all reactions to one message are one entry, unless
    /// another change came between them.
    fn joined_entry(&self, change: &NewChange) -> Option<u64> {
        let rev = self.changes.as_ref()?.folded.rev;
        self.reactions.filter(|seq| change.change.kind() == ChangeKind::Reactions && *seq == rev)
    }

    /// Applies a change that is allowed, as the entry `seq`. Returns the changes that a deletion erases, of the newest
    /// `tail` entries of the room.
    fn apply(
        &mut self,
        transaction: &Transaction<'_>,
        id: i64,
        change: &NewChange,
        (seq, at): (u64, u64),
        tail: u64,
    ) -> rusqlite::Result<Vec<ChangeEntry>> {
        self.is_altered = true;
        let mut changes = self.changes.take().unwrap_or_default();
        let by = &change.user;
        change.edit_content(&mut self.message);
        match &change.change {
            Change::Edit { .. } => {
                let other = Some(by.clone()).filter(|by| by.key() != self.author);
                changes.edit(seq, Edited::new(at).with_by(other));
            }
            Change::Delete { reason } => {
                // A room may hold each of its newest entries as it was published.
                let erased = read_changes_of(transaction, &self.room, id, seq.saturating_sub(tail))?;
                self.changes = Some(changes);
                self.delete(transaction, id, seq, Deleted::new(at, by.clone(), reason.clone()))?;
                return Ok(erased);
            }
            Change::React { reaction, on } => {
                let known =
                    changes.folded.reactions.iter().find(|known| known.reaction == *reaction).cloned();
                let state = if *on {
                    self.placed += 1;
                    place(transaction, id, (seq, self.placed), reaction, known, by)?
                } else {
                    remove(transaction, id, changes.edit, known, by)?
                };
                changes.react(seq, reaction, state);
                self.reactions = Some(seq);
            }
            Change::Pin { on } => {
                set_pin(transaction, id, *on)?;
                changes.pin(seq, *on);
            }
            // `change` has refused it.
            _ => {}
        }
        self.changes = Some(changes);
        Ok(Vec::new())
    }

    /// Returns `true` if the message is or was pinned.
    pub(super) fn has_pin_change(&self) -> bool {
        self.changes.as_ref().is_some_and(|changes| changes.newest(ChangeKind::Pinned).is_some())
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.changes.as_ref().is_some_and(|changes| changes.folded.deleted.is_some())
    }

    /// Returns the number of its reactions.
    pub(super) fn reaction_count(&self) -> u64 {
        let reactions = self.changes.iter().flat_map(|changes| &changes.folded.reactions);
        reactions.map(|reaction| reaction.count).sum()
    }

    /// Deletes the message, by the entry `seq`.
    pub(super) fn delete(
        &mut self,
        transaction: &Transaction<'_>,
        id: i64,
        seq: u64,
        deleted: Deleted,
    ) -> rusqlite::Result<()> {
        self.is_altered = true;
        let changes = self.changes.get_or_insert_default();
        if changes.folded.pinned {
            set_pin(transaction, id, false)?;
        }
        changes.delete(seq, deleted);
        self.message.erase();
        transaction.prepare_cached("DELETE FROM reactions WHERE message = ?1")?.execute([id]).map(drop)
    }

    fn write(&self, transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<StoredMessage> {
        let changes = self.changes.as_ref();
        let folded = changes.map(|changes| &changes.folded);
        let stored = self.message.folded(&self.room, self.seq, self.at, folded);
        let sum = checksum(&self.room, self.seq, &stored.frame);
        let newest = [ChangeKind::Edited, ChangeKind::Reactions, ChangeKind::Pinned, ChangeKind::Deleted];
        let [edited, reacted, pinned, deleted] =
            newest.map(|kind| changes.and_then(|changes| changes.newest(kind)));
        transaction
            .prepare_cached(
                "UPDATE messages SET sum = ?2, frame = ?3, edited = ?4, reacted = ?5, pinned = ?6, deleted = ?7
                 WHERE id = ?1",
            )?
            .execute((id, sum, &*stored.frame, edited, reacted, pinned, deleted))?;
        Ok(stored)
    }
}

/// Returns the number of pinned messages in the room of a message.
fn count_pins(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<usize> {
    transaction
        .prepare_cached("SELECT count(*) FROM pins WHERE message BETWEEN ?1 & ~?2 AND ?1 | ?2")?
        .query_row((id, LAST_SEQ), |row| row.get(0))
}

fn set_pin(transaction: &Transaction<'_>, id: i64, on: bool) -> rusqlite::Result<()> {
    let sql = if on { "INSERT INTO pins VALUES (?1)" } else { "DELETE FROM pins WHERE message = ?1" };
    transaction.prepare_cached(sql)?.execute([id]).map(drop)
}

/// Adds a reaction of a user who has not placed it. Returns its state.
fn place(
    transaction: &Transaction<'_>,
    id: i64,
    (seq, nth): (u64, u64),
    reaction: &str,
    known: Option<Reaction>,
    by: &User,
) -> rusqlite::Result<Option<Reaction>> {
    transaction
        .prepare_cached(
            "INSERT INTO reactions (message, reaction, user, seq, nth, name) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute((id, reaction, user_column(&by.key()), seq, nth, by.name()))?;
    let mut state = known.unwrap_or_else(|| Reaction::new(reaction, 0, Vec::new()));
    if state.users.len() as u64 == state.count {
        state.users.push(by.clone());
        state.users.truncate(Reaction::MAX_USERS);
    } else if state.users.len() < Reaction::MAX_USERS {
        // There was no space for all their names.
        state.users = first_users(transaction, id, reaction)?;
    }
    state.count += 1;
    Ok(Some(state))
}

/// Removes a reaction of a user. Returns its state, or `None` if no user has it any more.
fn remove(
    transaction: &Transaction<'_>,
    id: i64,
    edit: u64,
    known: Option<Reaction>,
    by: &User,
) -> rusqlite::Result<Option<Reaction>> {
    let Some(mut state) = known else { return Ok(None) };
    let removed: Option<u64> = transaction
        .prepare_cached(
            "DELETE FROM reactions WHERE message = ?1 AND reaction = ?2 AND user = ?3 RETURNING seq",
        )?
        .query_row((id, &state.reaction, user_column(&by.key())), |row| row.get(0))
        .optional()?;
    let Some(placed) = removed else { return Ok(Some(state)) };
    state.count = state.count.saturating_sub(1);
    if placed < edit {
        state.stale = state.stale.saturating_sub(1);
    }
    if state.users.len() < Reaction::MAX_USERS || state.users.iter().any(|user| user.id() == by.id()) {
        state.users = first_users(transaction, id, &state.reaction)?;
    }
    Ok(Some(state).filter(|state| state.count > 0))
}

fn first_users(transaction: &Transaction<'_>, id: i64, reaction: &str) -> rusqlite::Result<Vec<User>> {
    let mut statement = transaction.prepare_cached(
        "SELECT user, name FROM reactions WHERE message = ?1 AND reaction = ?2 ORDER BY seq, nth LIMIT ?3",
    )?;
    let rows = statement.query_map((id, reaction, Reaction::MAX_USERS), |row| {
        let user: Vec<u8> = row.get(0)?;
        let user_id = String::from_utf8_lossy(user.get(1..).unwrap_or_default()).into_owned();
        Ok(serde_json::from_value::<User>(json!({ "id": user_id, "name": row.get::<_, String>(1)? })))
    })?;
    // A damaged row is left out.
    rows.filter_map(|user| user.map(Result::ok).transpose()).collect()
}

/// Reads the changes of a message whose `seq` is at least `from`. A damaged one is left out.
fn read_changes_of(
    transaction: &Transaction<'_>,
    room: &RoomName,
    target: i64,
    from: u64,
) -> rusqlite::Result<Vec<ChangeEntry>> {
    let mut statement = transaction.prepare_cached(
        "SELECT id, sum, entry FROM changes
         WHERE id BETWEEN max(?1, (?1 & ~?2) | ?3) AND (?1 | ?2) AND target = ?1",
    )?;
    let mut rows = statement.query((target, LAST_SEQ, from))?;
    let mut changes = Vec::new();
    while let Some(row) = rows.next()? {
        let (seq, text) = verified_frame(room, row)?;
        changes.extend(text.and_then(|text| ChangeRecord::decode(seq, text)));
    }
    Ok(changes)
}
