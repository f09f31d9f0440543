use std::collections::HashMap;

use chat_core::{ChangeKind, RoomName, StoredMessage};
use rusqlite::{Connection, OptionalExtension};

use crate::database::row::{checksum, seq_of};
use crate::database::{ChangeRecord, MessageState};

/// The messages that the changes of one page name.
///
/// Most changes are replaced by later ones. So the frame of a message, which can have many reactions, is read only for
/// its newest change of each kind, and the rest once for all its changes in the page.
pub(super) struct Targets<'c> {
    connection: &'c Connection,
    room: &'c RoomName,
    newest: HashMap<i64, Option<Newest>>,
}

/// The newest change of each kind of one message.
#[derive(Clone, Copy)]
struct Newest {
    sum: i64,
    edited: Option<u64>,
    reacted: Option<u64>,
    pinned: Option<u64>,
    deleted: Option<u64>,
}

impl<'c> Targets<'c> {
    pub(super) fn new(connection: &'c Connection, room: &'c RoomName) -> Self {
        Self { connection, room, newest: HashMap::new() }
    }

    /// Returns the entry of a change of the message `target`, or `None` if it is damaged.
    pub(super) fn encode(
        &mut self,
        change: &StoredMessage,
        target: i64,
    ) -> rusqlite::Result<Option<StoredMessage>> {
        let Some(entry) = ChangeRecord::decode(change.seq, &change.frame) else { return Ok(None) };
        let newest = match self.newest.get(&target) {
            Some(newest) => *newest,
            None => {
                let newest = self.read_newest(target)?;
                *self.newest.entry(target).or_insert(newest)
            }
        };
        let newest = newest.filter(|newest| newest.may_be_current(entry.kind, entry.seq));
        let message = newest.map(|newest| self.read(target, newest)).transpose()?.flatten();
        let state = message.as_ref().and_then(|state| Some((state.changes.as_ref()?, &state.message)));
        Ok(Some(entry.encode(self.room, state)))
    }

    /// Returns `None` if retention has deleted the message.
    fn read_newest(&self, target: i64) -> rusqlite::Result<Option<Newest>> {
        self.connection
            .prepare_cached("SELECT sum, edited, reacted, pinned, deleted FROM messages WHERE id = ?1")?
            .query_row([target], |row| {
                let (edited, reacted, pinned, deleted) = (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
                Ok(Newest { sum: row.get(0)?, edited, reacted, pinned, deleted })
            })
            .optional()
    }

    fn read(&self, target: i64, newest: Newest) -> rusqlite::Result<Option<MessageState>> {
        let mut statement = self.connection.prepare_cached("SELECT frame FROM messages WHERE id = ?1")?;
        let mut rows = statement.query([target])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let Ok(frame) = row.get_ref(0)?.as_blob() else { return Ok(None) };
        if checksum(self.room, seq_of(target), frame) != newest.sum {
            return Ok(None);
        }
        let stored = StoredMessage::new(seq_of(target), frame.to_vec());
        let Newest { edited, reacted, pinned, deleted, .. } = newest;
        Ok(MessageState::read(&stored, [edited, reacted, pinned, deleted]))
    }
}

impl Newest {
    /// Returns `false` if a later change has replaced the one at `seq`.
    fn may_be_current(self, kind: ChangeKind, seq: u64) -> bool {
        match kind {
            ChangeKind::Edited => self.edited == Some(seq),
            ChangeKind::Reactions => self.reacted == Some(seq),
            ChangeKind::Pinned => self.pinned == Some(seq),
            // An earlier version has stored only the frame of a deletion.
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chat_core::{Folded, NewMessage, Range, RawValue, Reaction, User};

    use crate::database::migrate;
    use crate::database::row::message_id;
    use crate::read::{UnreadableMessages, read_page};
    use crate::threads::WorkClock;

    use super::*;

    const CHANGES: u64 = 1_000;

    fn user(n: usize) -> User {
        User::new(&format!("{n:0200}"), "Ann").expect("a user")
    }

    /// A room with one message of this many reactions, and many changes of them, of which only the last is current.
    fn changed(reactions: usize) -> Connection {
        let mut connection = Connection::open_in_memory().expect("a database");
        migrate(&mut connection).expect("a schema");
        let room: RoomName = "lobby".parse().expect("a name");
        let body = RawValue::from_string("{}".to_owned()).expect("JSON");
        let users: Vec<_> = (0..10).map(user).collect();
        let mut folded = Folded::default();
        folded.rev = 1 + CHANGES;
        folded.reactions = (0..reactions).map(|n| Reaction::new(n.to_string(), 10, users.clone())).collect();
        let stored = NewMessage::new(user(0), body).folded(&room, 1, 0, Some(&folded));
        let row = (message_id(1, 1), checksum(&room, 1, &stored.frame), &*stored.frame, 1 + CHANGES);
        let sql = "INSERT INTO messages (id, at, sum, frame, guest, reacted) VALUES (?1, 0, ?2, ?3, 0, ?4)";
        connection.execute(sql, row).expect("inserted");
        let sql = "INSERT INTO rooms (name, head, first, keys, changes) VALUES ('lobby', ?1, 1, 0, ?2)";
        connection.execute(sql, (1 + CHANGES, CHANGES)).expect("inserted");
        for seq in 2..=1 + CHANGES {
            let text =
                ChangeRecord::encode(&chat_core::ChangeEntry::new(seq, 0, user(0), 1, ChangeKind::Reactions));
            let sql = "INSERT INTO changes (id, at, kind, target, sum, entry) VALUES (?1, 0, 3, ?2, ?3, ?4)";
            let row = (message_id(1, seq), message_id(1, 1), checksum(&room, seq, &text), text);
            connection.execute(sql, row).expect("inserted");
        }
        connection
    }

    /// The CPU time of a page of all replaced changes.
    fn time_of_page(connection: &Connection) -> Duration {
        let (room, unreadable) = ("lobby".parse().expect("a name"), UnreadableMessages::default());
        let range = Range::entries(1, usize::try_from(CHANGES - 1).expect("a number"));
        let clock = WorkClock::start();
        let page = read_page(connection, &room, range, usize::MAX, &unreadable).expect("a page");
        let elapsed = clock.elapsed();
        assert_eq!((page.messages.len() as u64, page.more), (CHANGES - 1, true));
        let last = String::from_utf8_lossy(&page.messages[page.messages.len() - 1].frame);
        assert!(last.contains(r#""what":"superseded""#), "{last}");
        elapsed
    }

    #[test]
    fn replaced_changes_cost_the_same_whatever_their_message_has() {
        let (small, large) = (changed(1), changed(32));
        let fastest = |connection| (0..5).map(|_| time_of_page(connection)).min().unwrap_or_default();
        let (small, large) = (fastest(&small), fastest(&large));
        assert!(large < small * 3, "{large:?} instead of {small:?}");
        let (room, unreadable) = ("lobby".parse().expect("a name"), UnreadableMessages::default());
        let page = read_page(&changed(32), &room, Range::entries(CHANGES, 9), usize::MAX, &unreadable);
        let page = page.expect("a page");
        let current = String::from_utf8_lossy(&page.messages[0].frame);
        assert!(current.contains(r#""what":"reactions""#) && current.len() > 60_000, "{current}");
    }
}
