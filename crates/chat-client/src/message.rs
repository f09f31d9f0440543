use std::sync::Arc;

use chat_proto::command::JoinFrom;
use chat_proto::{Edited, Event, Folded, Links, Mentions, RoomName, User, What};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A message in a room, in its present state: with all changes up to [`rev`](Self::rev).
///
/// In contrast to [`chat_proto::Event::Message`], it has the epoch of its position, so that a later
/// [`join`](crate::Client::join) can [resume](Self::resume) after it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReceivedMessage {
    /// The room.
    pub room: RoomName,
    /// The epoch in which `seq` counts.
    pub epoch: Arc<str>,
    /// The position of the message in the room's log.
    pub seq: u64,
    /// The user who wrote the message.
    pub user: User,
    /// The time of the commit, in ms since the Unix epoch by the server's clock.
    pub at: u64,
    /// The idempotency key of the message. `None` for a message that was deleted.
    pub key: Option<String>,
    /// The body, as the server sent it. `None` for a message that was deleted.
    pub body: Option<Box<RawValue>>,
    /// The state after the changes of the message. `None` for a message that was not changed.
    pub folded: Option<Box<Folded>>,
    /// The message that this one answers, its thread, and the users that it mentions. `None` if there are none.
    pub links: Option<Box<Links>>,
}

/// A change to a message, as the room's log has it: an edit, a deletion, other reactions, or a pin.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReceivedChange {
    /// The room.
    pub room: RoomName,
    /// The epoch in which `seq` and `target` count.
    pub epoch: Arc<str>,
    /// The position of the change in the room's log.
    pub seq: u64,
    /// The time of the commit, in ms since the Unix epoch by the server's clock.
    pub at: u64,
    /// The user who made the change.
    pub by: User,
    /// The `seq` of the message.
    pub target: u64,
    /// The change, and the state of the message after it.
    pub what: What,
}

/// A purge, as the room's log has it: the messages of a user in a range of positions were deleted.
/// [`ReceivedMessage::apply_purge`] applies it. A long purge has several entries.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReceivedPurge {
    /// The room.
    pub room: RoomName,
    /// The epoch in which the positions count.
    pub epoch: Arc<str>,
    /// The position of the entry in the room's log.
    pub seq: u64,
    /// The time of the commit, in ms since the Unix epoch by the server's clock.
    pub at: u64,
    /// The user who has purged.
    pub by: User,
    /// The author of the messages. Only the id counts.
    pub user: User,
    /// The first position.
    pub from: u64,
    /// The last position.
    pub to: u64,
    /// Those of the messages that are or were pinned.
    pub unpinned: Vec<u64>,
}

impl ReceivedPurge {
    /// Returns the purge of a `purged` event, or `None` for other events.
    pub(crate) fn from_wire(event: Event, epoch: &Arc<str>) -> Option<Self> {
        match event {
            Event::Purged { room, seq, at, by, user, from, to, unpinned } => {
                Some(Self { room, epoch: Arc::clone(epoch), seq, at, by, user, from, to, unpinned })
            }
            _ => None,
        }
    }
}

impl ReceivedMessage {
    /// Returns the text of a standard message. `None` if the message was deleted, or the body is of another kind.
    pub fn text(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Text {
            text: String,
        }
        let body = self.body.as_ref()?;
        serde_json::from_str::<Text>(body.get()).ok().map(|body| body.text)
    }

    /// Returns the `seq` of the newest entry that this state includes: of the message itself, or of a change to it.
    pub fn rev(&self) -> u64 {
        self.folded.as_ref().map_or(self.seq, |folded| folded.rev)
    }

    /// Returns true if the message was deleted.
    pub fn is_deleted(&self) -> bool {
        self.folded.as_ref().is_some_and(|folded| folded.deleted.is_some())
    }

    /// Applies a change, if it is one of this message and newer than its [`rev`](Self::rev). Returns true if it was
    /// applied.
    ///
    /// A client that applies all changes of a message has the same message as one that reads it.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(mut held: chat_client::ReceivedMessage, mut events: chat_client::Events) {
    /// while let Some(event) = events.next().await {
    ///     if let chat_client::ClientEvent::Changed(changed) = event {
    ///         if held.apply(&changed) {
    ///             println!("the message {} is now {:?}", held.seq, held.text());
    ///         }
    ///     }
    /// }
    /// # }
    /// ```
    pub fn apply(&mut self, changed: &ReceivedChange) -> bool {
        let is_target =
            changed.target == self.seq && changed.epoch == self.epoch && changed.room == self.room;
        // A deletion is final.
        if !is_target || changed.seq <= self.rev() || self.is_deleted() {
            return false;
        }
        let mut folded = self.folded.take().unwrap_or_default();
        let mut is_known = true;
        match &changed.what {
            What::Edited { body, mentions } => {
                let by = Some(&changed.by).filter(|by| by.id() != self.user.id());
                folded.edit(changed.seq, Edited::new(changed.at).with_by(by.cloned()));
                self.body = Some(body.clone());
                self.set_mentions(mentions.clone());
            }
            What::Deleted { reason } => {
                let deleted = chat_proto::Deleted::new(changed.at, changed.by.clone(), reason.clone());
                folded.delete(changed.seq, deleted);
                (self.body, self.key) = (None, None);
                self.set_mentions(None);
            }
            What::Reactions { reactions } => {
                (folded.rev, folded.reactions) = (changed.seq, reactions.clone());
            }
            What::Pinned { pinned } => (folded.rev, folded.pinned) = (changed.seq, *pinned),
            // A later entry says what has become of the message, or this client does not know the change.
            _ => is_known = false,
        }
        if folded.rev > 0 {
            self.folded = Some(folded);
        }
        is_known
    }

    /// Deletes the message, if a purge includes it and is newer than its [`rev`](Self::rev). Returns true if it was
    /// deleted.
    pub fn apply_purge(&mut self, purge: &ReceivedPurge) -> bool {
        let ReceivedPurge { room, epoch, seq, at, by, user, from, to, .. } = purge.clone();
        let target = self.seq;
        let is_purged = user.id() == self.user.id() && (from..=to).contains(&target);
        let what = What::Deleted { reason: None };
        is_purged && self.apply(&ReceivedChange { room, epoch, seq, at, by, target, what })
    }

    /// Counts a message of the thread that begins with this one, if it is newer than its [`rev`](Self::rev). Returns
    /// true if it was counted. A deleted message still counts the messages of its thread.
    ///
    /// A client that does so for each message that arrives has the same root as one that reads it.
    pub fn count_reply(&mut self, reply: &ReceivedMessage) -> bool {
        let thread = reply.links.as_ref().and_then(|links| links.thread);
        let is_reply = thread == Some(self.seq) && reply.epoch == self.epoch && reply.room == self.room;
        let is_new = is_reply && reply.seq > self.rev();
        if is_new {
            self.folded.get_or_insert_default().reply(reply.seq);
        }
        is_new
    }

    fn set_mentions(&mut self, mentions: Option<Mentions>) {
        let links = self.links.take().map_or_else(Links::default, |links| *links).with_mentions(mentions);
        self.links = (!links.is_empty()).then(|| Box::new(links));
    }

    /// Returns the start of a later [`join`](crate::Client::join) that continues after this message.
    ///
    /// A message that was read with [`history`](crate::Client::history) has later changes. The client gets them again,
    /// and [`apply`](Self::apply) ignores them.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(last: chat_client::ReceivedMessage) -> Result<(), Box<dyn std::error::Error>> {
    /// let (client, events) = chat_client::Client::connect("ws://127.0.0.1:8080/ws").await?;
    /// let joined = client.join(&last.room, last.resume()).await?;
    /// println!("all later messages follow: {}", joined.recovered);
    /// # Ok(())
    /// # }
    /// ```
    pub fn resume(&self) -> JoinFrom {
        JoinFrom::After { epoch: self.epoch.to_string(), seq: self.seq }
    }

    /// Returns the message of a `message` event, or `None` for other events.
    pub(crate) fn from_wire(event: Event, epoch: &Arc<str>) -> Option<Self> {
        match event {
            Event::Message { room, seq, user, at, key, body, folded, links } => {
                Some(Self { room, epoch: Arc::clone(epoch), seq, user, at, key, body, folded, links })
            }
            _ => None,
        }
    }
}

impl ReceivedChange {
    /// Returns the start of a later [`join`](crate::Client::join) that continues after this change.
    pub fn resume(&self) -> JoinFrom {
        JoinFrom::After { epoch: self.epoch.to_string(), seq: self.seq }
    }

    /// Returns the change of a `changed` event, or `None` for other events.
    pub(crate) fn from_wire(event: Event, epoch: &Arc<str>) -> Option<Self> {
        match event {
            Event::Changed { room, seq, at, by, target, what } => {
                Some(Self { room, epoch: Arc::clone(epoch), seq, at, by, target, what })
            }
            _ => None,
        }
    }
}
