//! The state of a room that a client follows.

mod unread;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use chat_proto::{ActState, Range, Rights, Role, RoomName, Unread, User};

use crate::{
    ClientEvent, Joined, MessagePage, ReceivedAct, ReceivedChange, ReceivedMessage, ReceivedPurge, What,
};
use unread::UnreadState;

/// The state of a room, from the events of a client: its newest messages in their present state, the pinned ones, the
/// role and the rights of the user, and the number of unread messages.
///
/// It is what a client reads that asks for them now. After a [`ClientEvent::Gap`], or without a recovery, a part of it
/// may be out of date: [`to_read`](Self::to_read) is the range to read again. After another role of the user, and when
/// the view cannot count the unread messages, [`needs_join`](Self::needs_join) returns true.
///
/// # Examples
///
/// ```no_run
/// use chat_client::{Client, Events, JoinFrom, RoomName, RoomView};
///
/// # async fn example(client: Client, mut events: Events) -> Result<(), Box<dyn std::error::Error>> {
/// let lobby: RoomName = "lobby".parse()?;
/// let joined = client.join(&lobby, JoinFrom::Now).await?;
/// let mut view = RoomView::new(&joined, client.user(), 50);
/// loop {
///     if view.needs_join() {
///         view.handle_joined(&client.join(&lobby, JoinFrom::Now).await?);
///     }
///     if let Some(range) = view.to_read() {
///         view.handle_page(&client.history(&lobby, range).await?);
///     }
///     let Some(event) = events.next().await else { break };
///     if view.handle_event(&event) {
///         println!("the room has {} messages here", view.messages().count());
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RoomView {
    room: RoomName,
    epoch: Arc<str>,
    me: User,
    capacity: usize,
    /// The messages, in order.
    messages: VecDeque<ReceivedMessage>,
    /// The last position of those whose messages must be read, 0 if there are none.
    unread_to: u64,
    /// The newest entry that the view has handled.
    newest: u64,
    /// The newest entry that the last `joined` includes.
    as_of: u64,
    /// True if the rights or the pinned messages may be out of date.
    is_outdated: bool,
    role: Role,
    may: Rights,
    pins: BTreeSet<u64>,
    unread: UnreadState,
}

impl RoomView {
    /// Messages of a view, at most. One page has as many.
    pub const MAX_MESSAGES: usize = 200;

    /// Returns the view of a room that the client has joined as the user `me`. It keeps the newest `capacity` messages,
    /// at most [`MAX_MESSAGES`](Self::MAX_MESSAGES). The messages up to now must be read.
    pub fn new(joined: &Joined, me: &User, capacity: usize) -> Self {
        Self {
            room: joined.room.clone(),
            epoch: Arc::clone(&joined.epoch),
            me: me.clone(),
            capacity: capacity.clamp(1, Self::MAX_MESSAGES),
            messages: VecDeque::new(),
            unread_to: joined.seq,
            newest: 0,
            as_of: joined.seq,
            is_outdated: false,
            role: joined.role,
            may: joined.may,
            pins: joined.pins.iter().copied().collect(),
            unread: UnreadState::new(joined),
        }
    }

    /// Returns the messages, oldest first.
    pub fn messages(&self) -> impl DoubleEndedIterator<Item = &ReceivedMessage> {
        self.messages.iter()
    }

    /// Returns the `seq`s of the pinned messages, ascending. The view may not have the messages themselves.
    pub fn pins(&self) -> impl DoubleEndedIterator<Item = u64> {
        self.pins.iter().copied()
    }

    /// Returns the role of the user in the room.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Returns the rights of the user in the room. They change without an event when a restriction ends by itself.
    pub fn may(&self) -> Rights {
        self.may
    }

    /// Returns the marker of the user and the number of unread messages after it. `None` if the server keeps no
    /// markers, or if the number is not known until the next [`handle_joined`](Self::handle_joined).
    ///
    /// 100 means 100 or more.
    pub fn unread(&self) -> Option<Unread> {
        let (read, unread, mentions) = self.unread.count(&self.messages, &self.me)?;
        let mut state = Unread::new(&*self.epoch, self.newest.max(self.as_of), read);
        (state.unread, state.mentions) = (unread, mentions);
        Some(state)
    }

    /// Returns true if the room must be joined again, from [`JoinFrom::Now`](crate::JoinFrom::Now), because the view
    /// does not know its rights, its pinned messages or its number of unread messages any more.
    /// [`handle_joined`](Self::handle_joined) takes the reply.
    pub fn needs_join(&self) -> bool {
        self.is_outdated || !self.unread.is_known()
    }

    /// Returns the range of messages to read with [`history`](crate::Client::history), `None` if the view is up to
    /// date. [`handle_page`](Self::handle_page) takes the reply.
    pub fn to_read(&self) -> Option<Range> {
        (self.unread_to > 0).then(|| Range::before(self.unread_to + 1, self.capacity))
    }

    /// Handles an event of the client. Returns true if the view is another one now.
    pub fn handle_event(&mut self, event: &ClientEvent) -> bool {
        match event {
            ClientEvent::Message(message) if message.room == self.room => {
                self.enter(&message.epoch);
                self.newest = self.newest.max(message.seq);
                if let Some(root) = message.links.as_ref().and_then(|links| links.thread)
                    && let Ok(index) = self.position(root)
                {
                    self.messages[index].count_reply(message);
                }
                self.insert(message.clone());
                true
            }
            ClientEvent::Changed(changed) if changed.room == self.room => {
                let is_renewed = self.enter(&changed.epoch);
                let is_pinned = self.handle_change(changed);
                let held = self.position(changed.target).ok();
                let held = held.and_then(|index| self.messages.get_mut(index));
                held.is_some_and(|message| message.apply(changed)) || is_renewed || is_pinned
            }
            ClientEvent::Act(act) if act.room == self.room => {
                self.enter(&act.epoch);
                self.handle_act(act);
                false
            }
            ClientEvent::Read { room, seq } if *room == self.room => {
                self.unread.handle_read(*seq);
                true
            }
            ClientEvent::Purged(purge) if purge.room == self.room => {
                let is_renewed = self.enter(&purge.epoch);
                self.handle_purge(purge) || is_renewed
            }
            ClientEvent::Gap { room, epoch, to, .. } if *room == self.room => {
                self.enter(epoch);
                self.newest = self.newest.max(*to);
                self.unread_to = self.unread_to.max(*to);
                self.unread.handle_gap(*to);
                self.is_outdated |= *to > self.as_of;
                true
            }
            ClientEvent::Resumed(joined) if joined.room == self.room => {
                self.enter(&joined.epoch);
                if !joined.recovered {
                    let newest = self.messages.back().map_or(0, |message| message.seq);
                    self.unread_to = self.unread_to.max(newest);
                    self.newest = joined.seq.min(self.newest);
                    self.unread.set_complete_from(joined.seq + 1);
                }
                self.handle_joined(joined);
                true
            }
            _ => false,
        }
    }

    /// Takes the reply to a [`join`](crate::Client::join) of this room.
    pub fn handle_joined(&mut self, joined: &Joined) {
        // The events of the other epoch are still to come.
        if joined.epoch != self.epoch || joined.seq < self.newest {
            return;
        }
        self.as_of = joined.seq;
        self.is_outdated = false;
        (self.role, self.may) = (joined.role, joined.may);
        self.pins = joined.pins.iter().copied().collect();
        self.unread.handle_joined(joined);
    }

    /// Takes the reply to a [`read`](crate::Client::read) of this room: the position of the marker.
    pub fn handle_read(&mut self, seq: u64) {
        self.unread.handle_read(seq);
    }

    /// Takes the messages of the range that [`to_read`](Self::to_read) has named.
    pub fn handle_page(&mut self, page: &MessagePage) {
        if page.messages.iter().any(|message| message.epoch != self.epoch) {
            return;
        }
        let unread_to = std::mem::take(&mut self.unread_to);
        self.messages.retain(|message| message.seq > unread_to);
        for message in &page.messages {
            self.put(message.clone());
        }
        let is_whole = !page.more && self.messages.len() <= self.capacity;
        self.evict();
        let oldest = self.messages.front().map_or(unread_to + 1, |message| message.seq);
        self.unread.handle_page(unread_to, if is_whole { 1 } else { oldest });
    }

    /// Forgets the state of another epoch. Returns true if there is a new epoch.
    fn enter(&mut self, epoch: &Arc<str>) -> bool {
        let is_renewed = *epoch != self.epoch;
        if is_renewed {
            self.epoch = Arc::clone(epoch);
            self.messages.clear();
            self.pins.clear();
            (self.unread_to, self.newest, self.as_of) = (0, 0, 0);
            self.is_outdated = true;
            self.unread.renew();
        }
        is_renewed
    }

    /// Handles a change as the room sees it. Returns true if other messages are pinned now.
    fn handle_change(&mut self, changed: &ReceivedChange) -> bool {
        self.newest = self.newest.max(changed.seq);
        self.unread.handle_change(changed, self.as_of);
        if changed.seq <= self.as_of {
            return false;
        }
        match changed.what {
            What::Pinned { pinned: true } => self.pins.insert(changed.target),
            What::Pinned { pinned: false } | What::Deleted { .. } => self.pins.remove(&changed.target),
            _ => false,
        }
    }

    /// Handles a purge. Returns true if it concerns the view.
    fn handle_purge(&mut self, purge: &ReceivedPurge) -> bool {
        self.newest = self.newest.max(purge.seq);
        self.unread.handle_purge(purge, self.as_of);
        let unpinned = if purge.seq > self.as_of { &purge.unpinned[..] } else { &[] };
        let unpinned = unpinned.iter().filter(|seq| self.pins.remove(seq)).count();
        let purged = self.messages.iter_mut().filter_map(|held| held.apply_purge(purge).then_some(()));
        purged.count() + unpinned > 0
    }

    fn handle_act(&mut self, act: &ReceivedAct) {
        self.newest = self.newest.max(act.seq);
        let concerns_me = match &act.state {
            ActState::Standing { user, .. } => user.id() == self.me.id(),
            _ => true,
        };
        self.is_outdated |= concerns_me && act.seq > self.as_of;
    }

    fn insert(&mut self, message: ReceivedMessage) {
        self.put(message);
        self.evict();
    }

    fn put(&mut self, message: ReceivedMessage) {
        match self.position(message.seq) {
            Ok(index) if self.messages[index].rev() <= message.rev() => self.messages[index] = message,
            Ok(_) => {}
            Err(index) => self.messages.insert(index, message),
        }
    }

    fn evict(&mut self) {
        while self.messages.len() > self.capacity {
            if let Some(evicted) = self.messages.pop_front() {
                self.unread.handle_evicted(&evicted, &self.me);
            }
        }
    }

    fn position(&self, seq: u64) -> Result<usize, usize> {
        self.messages.binary_search_by_key(&seq, |message| message.seq)
    }
}

#[cfg(test)]
mod tests;
