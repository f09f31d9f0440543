use bytes::{Bytes, BytesMut};
use chat_core::{
    Change, ChangeEntry, ChangeError, ChangeKind, Deleted, Edited, Event, Limits, Linked, MessageChanges,
    NewChange, NewMessage, RawValue, ReactionSets, RoomName, StoredMessage, Target, UserKey, Verdict,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Block, Content, Entry, Thread, with_sum, without_sum};

/// The present state of a message that was changed. It is a message of the stream of its own, which is stored together
/// with the entry of the change.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MessageState {
    author: UserKey,
    /// The connection on which a guest has sent it.
    connection: Option<u64>,
    /// The time of the message.
    at: u64,
    message: NewMessage,
    changes: MessageChanges,
    reactions: ReactionSets,
    /// The thread that begins with the message.
    #[serde(default, skip_serializing_if = "Thread::is_empty")]
    thread: Thread,
    /// The changes that a deletion has erased, of those that rooms may still have in memory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    erased: Vec<ChangeEntry>,
}

impl MessageState {
    /// Returns the state of a message that was not changed, or `None` if the entry is not a message.
    pub(crate) fn of(entry: &Entry) -> Option<Self> {
        let (state, has_body) = Self::read(entry)?;
        has_body.then_some(state)
    }

    /// Returns the state of a message of an export. The frame of the entry has its present form. `None` if the entry is
    /// not a message.
    pub(crate) fn restore(entry: &Entry, changes: MessageChanges, reactions: ReactionSets) -> Option<Self> {
        let (state, _) = Self::read(entry)?;
        Some(Self { changes, reactions, ..state })
    }

    /// Reads the entry of a message. Returns false for one without a body.
    fn read(entry: &Entry) -> Option<(Self, bool)> {
        let Content::Message { frame, is_guest, connection } = &entry.content else { return None };
        let stored = StoredMessage::new(entry.seq, frame.clone());
        let Ok(Event::Message { user, at, key, body, links, .. }) = stored.event() else { return None };
        let author = user_key(*is_guest, user.id())?;
        let has_body = body.is_some();
        let body = body.unwrap_or_else(|| RawValue::NULL.to_owned());
        let mut message = NewMessage::new(user, body).with_key(key);
        message.links = links;
        let (connection, erased) = (*connection, Vec::new());
        let (changes, reactions, thread) = Default::default();
        Some((Self { author, connection, at, message, changes, reactions, thread, erased }, has_body))
    }

    pub(crate) fn encode(&self) -> Bytes {
        let text = serde_json::to_vec(self).expect("texts and numbers are always JSON");
        with_sum(BytesMut::from(&*text))
    }

    /// Reads a state, and checks its checksum.
    pub(crate) fn decode(bytes: Bytes) -> Option<Self> {
        serde_json::from_slice(&without_sum(bytes)?).ok()
    }

    /// Decides about a change of the message at the time `now`. `pins` is the number of pinned messages.
    pub(crate) fn judge(
        &self,
        change: &NewChange,
        pins: usize,
        now: u64,
        limits: &Limits,
    ) -> Result<Verdict, ChangeError> {
        let has_reaction = match &change.change {
            Change::React { reaction, .. } => self.reactions.contains(reaction, &change.user.key()),
            _ => false,
        };
        let Self { author, connection, at, changes, .. } = self;
        let (connection, changes) = (*connection, Some(changes));
        Target { author, connection, at: *at, changes, has_reaction, pins }.judge(change, now, limits)
    }

    /// Applies a change that is allowed, as the entry `seq`. `recent` are the newest changes of the room, which its
    /// members may still have.
    pub(crate) fn apply(&mut self, change: &NewChange, seq: u64, at: u64, recent: &[ChangeEntry]) {
        change.edit_content(&mut self.message);
        let by = &change.user;
        match &change.change {
            Change::Edit { .. } => {
                let other = Some(by.clone()).filter(|by| by.key() != self.author);
                self.changes.edit(seq, Edited::new(at).with_by(other));
            }
            Change::Delete { reason } => {
                self.delete(change.target, seq, Deleted::new(at, by.clone(), reason.clone()), recent);
            }
            Change::React { reaction, on } => {
                let state = self.reactions.set(reaction, by, *on, seq, self.changes.edit);
                self.changes.react(seq, reaction, state);
            }
            Change::Pin { on } => self.changes.pin(seq, *on),
            // The writer has refused it.
            _ => {}
        }
    }

    /// Deletes the message, which is at the position `target`, as the entry `seq`. `recent` are the newest changes of
    /// the room.
    pub(crate) fn delete(&mut self, target: u64, seq: u64, deleted: Deleted, recent: &[ChangeEntry]) {
        self.changes.delete(seq, deleted);
        self.message.erase();
        self.reactions = ReactionSets::default();
        self.erased = recent.iter().filter(|entry| entry.target == target).cloned().collect();
    }

    /// Returns true if the message is or was pinned.
    pub(crate) fn has_pin_change(&self) -> bool {
        self.changes.newest(ChangeKind::Pinned).is_some()
    }

    /// Returns the message as a link sees it.
    pub(crate) fn linked(&self) -> Linked {
        Linked { thread: self.message.thread() }
    }

    /// Returns the thread that begins with the message.
    pub(crate) fn thread(&self) -> &Thread {
        &self.thread
    }

    /// Counts a message of the thread that begins with this one: the entry `seq`, whose record is the first one after
    /// the place `after`. Returns the block of the thread that is complete now.
    pub(crate) fn reply(&mut self, seq: u64, after: u64) -> Option<Block> {
        self.changes.reply(seq);
        self.thread.push(seq, after)
    }

    /// Names a message of the thread, as [`reply`](Self::reply) does, in a state that counts it already.
    pub(crate) fn list_reply(&mut self, seq: u64, after: u64) -> Option<Block> {
        self.thread.push(seq, after)
    }

    /// Returns true if a guest has sent the message.
    pub(crate) fn is_of_guest(&self) -> bool {
        self.author.is_guest()
    }

    /// Returns the reactions to the message.
    pub(crate) fn reactions(&self) -> &ReactionSets {
        &self.reactions
    }

    pub(crate) fn is_pinned(&self) -> bool {
        self.changes.folded.pinned
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.changes.newest(ChangeKind::Deleted).is_some()
    }

    /// Returns true if the message was edited or deleted.
    #[cfg(feature = "search-index")]
    pub(crate) fn has_other_text(&self) -> bool {
        self.is_deleted() || self.changes.newest(ChangeKind::Edited).is_some()
    }

    /// Returns true if the newest entry of the message is this one.
    pub(crate) fn is_at(&self, seq: u64) -> bool {
        self.changes.folded.rev == seq
    }

    /// Returns the message in its present form, at its position.
    pub(crate) fn stored(&self, room: &RoomName, seq: u64) -> StoredMessage {
        self.message.folded(room, seq, self.at, Some(&self.changes.folded))
    }

    /// Returns the event of a change of the message.
    pub(crate) fn encode_change(&self, room: &RoomName, change: &ChangeEntry) -> StoredMessage {
        change.encode(room, Some((&self.changes, &self.message)))
    }

    /// Returns the present form of the entries that the deletion of the message at `seq` has erased.
    pub(crate) fn erased(&self, room: &RoomName, seq: u64) -> Vec<StoredMessage> {
        let changes = self.erased.iter().map(|change| change.encode(room, None));
        [self.stored(room, seq)].into_iter().chain(changes).collect()
    }
}

/// Returns the key of the user with an id.
pub(crate) fn user_key(is_guest: bool, id: &str) -> Option<UserKey> {
    serde_json::from_value(json!({ "guest": is_guest, "id": id })).ok()
}
