use std::num::NonZeroU64;

use crate::room::{
    Change, ChangeEntry, ChangeKind, Deleted, Edited, Linked, Mentions, MessageChanges, NewChange,
    NewMessage, ReactionSets, StoredMessage, Target,
};
use crate::{Event, RoomName, UserKey};

/// The bytes of a message that was changed, beside its texts, rounded up.
const CHANGED_OVERHEAD: usize = 512;

/// The bytes of a change beside its frame, rounded up.
const CHANGE_OVERHEAD: usize = 128;

/// An entry of a log in memory.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) stored: StoredMessage,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Message(Message),
    Change(Box<ChangeEntry>),
    /// The rules of the room or the standing of a user.
    Act,
}

#[derive(Debug)]
struct Message {
    author: UserKey,
    connection: Option<u64>,
    /// The root of the thread that the message is in.
    thread: Option<NonZeroU64>,
    /// `None` for a message that was not changed and has no thread.
    changed: Option<Box<Changed>>,
}

/// A message that was changed, or with which a thread begins.
#[derive(Debug)]
struct Changed {
    message: NewMessage,
    at: u64,
    changes: MessageChanges,
    reactions: ReactionSets,
}

impl Changed {
    fn delete(&mut self, seq: u64, deleted: Deleted) {
        self.changes.delete(seq, deleted);
        self.message.erase();
        self.reactions = ReactionSets::default();
    }

    fn text_bytes(&self) -> usize {
        let NewMessage { user, key, body, links, .. } = &self.message;
        let key = key.as_ref().map_or(0, String::len);
        let mentions = links.as_ref().and_then(|links| links.mentions.as_ref());
        let mentions = mentions.map_or(0, Mentions::memory_bytes);
        user.id().len() + user.name().len() + key + body.get().len() + mentions
    }
}

impl Entry {
    pub(super) fn message(message: &NewMessage, room: &RoomName, seq: u64, at: u64) -> Self {
        let stored = message.folded(room, seq, at, None);
        let thread = message.thread().and_then(NonZeroU64::new);
        let (author, connection) = (message.user.key(), message.connection);
        let message = Message { author, connection, thread, changed: None };
        Self { stored, content: Content::Message(message) }
    }

    /// Returns the entry of a change that [`apply`](Self::apply) has made.
    pub(super) fn change(stored: StoredMessage, entry: ChangeEntry) -> Self {
        Self { stored, content: Content::Change(Box::new(entry)) }
    }

    /// Returns the entry of an act.
    pub(super) fn act(stored: StoredMessage) -> Self {
        Self { stored, content: Content::Act }
    }

    pub(super) fn is_act(&self) -> bool {
        matches!(self.content, Content::Act)
    }

    pub(super) fn is_message(&self) -> bool {
        matches!(self.content, Content::Message(_))
    }

    /// Returns the author of a message, or `None` if the entry is a change or an act.
    pub(super) fn author(&self) -> Option<&UserKey> {
        match &self.content {
            Content::Message(message) => Some(&message.author),
            Content::Change(_) | Content::Act => None,
        }
    }

    /// Returns the message as a link sees it, or `None` if the entry is a change or an act.
    pub(super) fn linked(&self) -> Option<Linked> {
        match &self.content {
            Content::Message(message) => Some(Linked { thread: message.thread.map(NonZeroU64::get) }),
            Content::Change(_) | Content::Act => None,
        }
    }

    /// Returns true for a message in the thread that begins with the message `root`.
    pub(super) fn is_in_thread(&self, root: u64) -> bool {
        self.linked().is_some_and(|linked| linked.thread == Some(root))
    }

    /// Returns true for the message at `seq`, and for each change of it.
    pub(super) fn concerns(&self, seq: u64) -> bool {
        self.subject() == Some(seq)
    }

    /// Returns the position of the message that the entry is or changes, `None` for an act.
    pub(super) fn subject(&self) -> Option<u64> {
        match &self.content {
            Content::Message(_) => Some(self.stored.seq),
            Content::Change(entry) => Some(entry.target),
            Content::Act => None,
        }
    }

    /// Returns true for a message of the user with this id that is not deleted.
    pub(super) fn is_kept_of(&self, id: &str) -> bool {
        let Content::Message(Message { author, changed, .. }) = &self.content else { return false };
        let is_deleted =
            changed.as_ref().is_some_and(|changed| changed.changes.newest(ChangeKind::Deleted).is_some());
        author.id() == id && !is_deleted
    }

    /// Deletes a message, as a part of the purge at the position `seq`.
    pub(super) fn purge(&mut self, room: &RoomName, seq: u64, deleted: Deleted) {
        if let Some((_, changed)) = self.changed() {
            changed.delete(seq, deleted);
            self.fold(room);
        }
    }

    /// Returns the bytes that the entry takes.
    pub(super) fn bytes(&self) -> usize {
        let more = match &self.content {
            Content::Message(Message { changed: None, .. }) => 0,
            Content::Message(Message { changed: Some(changed), .. }) => {
                CHANGED_OVERHEAD + changed.text_bytes() + changed.reactions.memory_bytes()
            }
            Content::Change(_) => CHANGE_OVERHEAD,
            Content::Act => 0,
        };
        self.stored.frame.len() + more
    }

    /// Returns the message for the decision about a change, or `None` if the entry is a change itself. `pins` is the
    /// number of pinned messages in the log.
    pub(super) fn target(&self, change: &NewChange, pins: usize) -> Option<Target<'_>> {
        let Content::Message(Message { author, connection, changed, .. }) = &self.content else {
            return None;
        };
        let has_reaction = match (&change.change, changed) {
            (Change::React { reaction, .. }, Some(changed)) => {
                changed.reactions.contains(reaction, &change.user.key())
            }
            _ => false,
        };
        let at = changed.as_ref().map(|changed| changed.at).or_else(|| Some(self.original()?.1));
        let changes = changed.as_ref().map(|changed| &changed.changes);
        let at = at.unwrap_or_default();
        Some(Target { author, connection: *connection, at, changes, has_reaction, pins })
    }

    /// Returns the newest change of each kind that a change of `kind` replaces.
    pub(super) fn replaced_by(&self, kind: ChangeKind) -> Vec<u64> {
        match kind {
            ChangeKind::Deleted => self.newest_changes(),
            kind => self.newest(&[kind]),
        }
    }

    /// Returns the newest change of each kind.
    pub(super) fn newest_changes(&self) -> Vec<u64> {
        self.newest(&[ChangeKind::Edited, ChangeKind::Reactions, ChangeKind::Pinned, ChangeKind::Deleted])
    }

    /// Returns true if the message is or was pinned.
    pub(super) fn has_pin_change(&self) -> bool {
        !self.newest(&[ChangeKind::Pinned]).is_empty()
    }

    fn newest(&self, kinds: &[ChangeKind]) -> Vec<u64> {
        let Content::Message(Message { changed: Some(changed), .. }) = &self.content else {
            return Vec::new();
        };
        kinds.iter().filter_map(|kind| changed.changes.newest(*kind)).collect()
    }

    /// Applies a change that is allowed, as the entry `seq`. Returns the entry.
    pub(super) fn apply(&mut self, change: NewChange, room: &RoomName, seq: u64, at: u64) -> Option<Self> {
        let target = self.stored.seq;
        let (author, changed) = self.changed()?;
        let kind = change.change.kind();
        change.edit_content(&mut changed.message);
        let by = change.user;
        match change.change {
            Change::Edit { .. } => {
                let other = Some(by.clone()).filter(|by| by.key() != *author);
                changed.changes.edit(seq, Edited::new(at).with_by(other));
            }
            Change::Delete { reason } => changed.delete(seq, Deleted::new(at, by.clone(), reason)),
            Change::React { reaction, on } => {
                let state = changed.reactions.set(&reaction, &by, on, seq, changed.changes.edit);
                changed.changes.react(seq, &reaction, state);
            }
            Change::Pin { on } => changed.changes.pin(seq, on),
        }
        let entry = ChangeEntry::new(seq, at, by, target, kind);
        let stored = entry.encode(room, Some((&changed.changes, &changed.message)));
        self.fold(room);
        Some(Self::change(stored, entry))
    }

    /// Records the message at the position `seq`, which is in the thread that begins with this message.
    pub(super) fn reply(&mut self, room: &RoomName, seq: u64) {
        if let Some((_, changed)) = self.changed() {
            changed.changes.reply(seq);
            self.fold(room);
        }
    }

    /// Returns the author and the changed form of the message, which has one from now on. `None` if the entry is a
    /// change itself.
    fn changed(&mut self) -> Option<(&UserKey, &mut Changed)> {
        let original = match &self.content {
            Content::Message(Message { changed: None, .. }) => self.original(),
            _ => None,
        };
        let Content::Message(Message { author, changed, .. }) = &mut self.content else { return None };
        if let Some((message, at)) = original {
            let (changes, reactions) = Default::default();
            *changed = Some(Box::new(Changed { message, at, changes, reactions }));
        }
        Some((author, changed.as_mut()?))
    }

    /// Encodes the message in its present form.
    fn fold(&mut self, room: &RoomName) {
        if let Content::Message(Message { changed: Some(changed), .. }) = &self.content {
            let folded = Some(&changed.changes.folded);
            self.stored = changed.message.folded(room, self.stored.seq, changed.at, folded);
        }
    }

    /// Records that a later change has replaced this one.
    pub(super) fn supersede(&mut self, room: &RoomName) {
        if let Content::Change(entry) = &self.content {
            self.stored = entry.encode(room, None);
        }
    }

    /// Reads the message that was not changed yet, and its time.
    fn original(&self) -> Option<(NewMessage, u64)> {
        let Ok(Event::Message { user, at, key, body: Some(body), links, .. }) = self.stored.event() else {
            return None;
        };
        let links = links.map(|links| *links).unwrap_or_default();
        Some((NewMessage::new(user, body).with_key(key).with_links(links), at))
    }
}
