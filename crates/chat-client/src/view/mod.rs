//! The state of a room that a client follows.

mod messages;
mod reading;
mod unread;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use chat_proto::{ActState, Range, Restriction, Rights, Role, RoomName, Unread, User};

use crate::{
    ClientEvent, Joined, MessagePage, ReceivedAct, ReceivedChange, ReceivedMessage, ReceivedPurge, What,
};
use reading::Reading;
use unread::UnreadState;

/// The state of a room, from the events of a client: its title, its newest messages in their present state, the pinned
/// ones, the role, the rights and the restriction of the user, and the number of unread messages.
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
///         view.handle_page(range, &client.history(&lobby, range).await?);
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
    reading: Reading,
    /// The newest entry that the view has handled.
    newest: u64,
    /// The newest entry that the last `joined` includes.
    as_of: u64,
    /// True if the rights or the pinned messages may be out of date.
    is_outdated: bool,
    role: Role,
    may: Rights,
    title: Option<String>,
    restricted: Option<Restriction>,
    pins: BTreeSet<u64>,
    unread: UnreadState,
}

impl RoomView {
    /// Messages of a view, at most. One page has as many.
    pub const MAX_MESSAGES: usize = 200;

    /// Returns the view of a room that the client has joined as the user `me`. It keeps the newest `capacity` messages,
    /// at most [`MAX_MESSAGES`](Self::MAX_MESSAGES). The messages up to now must be read.
    pub fn new(joined: &Joined, me: &User, capacity: usize) -> Self {
        let mut reading = Reading::default();
        reading.extend(joined.seq);
        Self {
            room: joined.room.clone(),
            epoch: Arc::clone(&joined.epoch),
            me: me.clone(),
            capacity: capacity.clamp(1, Self::MAX_MESSAGES),
            messages: VecDeque::new(),
            reading,
            newest: 0,
            as_of: joined.seq,
            is_outdated: false,
            role: joined.role,
            may: joined.may,
            title: joined.title.clone(),
            restricted: joined.restricted,
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

    /// Returns the title of the room, `None` if it has none.
    pub fn title(&self) -> Option<&str> {
        self.title.as_deref()
    }

    /// Returns the restriction of the user in the room. It ends without an event at
    /// [`until`](Restriction::until).
    pub fn restricted(&self) -> Option<Restriction> {
        self.restricted
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
        self.reading.range(self.capacity)
    }

    /// Handles an event of the client. Returns true if the view is another one now.
    pub fn handle_event(&mut self, event: &ClientEvent) -> bool {
        match event {
            ClientEvent::Message(message) if message.room == self.room => {
                self.enter(&message.epoch);
                self.newest = self.newest.max(message.seq);
                self.reading.handle_event(event);
                self.apply(event);
                self.evict();
                true
            }
            ClientEvent::Changed(changed) if changed.room == self.room => {
                let is_renewed = self.enter(&changed.epoch);
                let is_pinned = self.handle_change(changed);
                self.reading.handle_event(event);
                self.apply(event) || is_renewed || is_pinned
            }
            ClientEvent::Purged(purge) if purge.room == self.room => {
                let is_renewed = self.enter(&purge.epoch);
                let is_unpinned = self.handle_purge(purge);
                self.reading.handle_event(event);
                self.apply(event) || is_renewed || is_unpinned
            }
            ClientEvent::Act(act) if act.room == self.room => {
                let is_renewed = self.enter(&act.epoch);
                self.handle_act(act) || is_renewed
            }
            ClientEvent::Read { room, seq } if *room == self.room => self.unread.handle_read(*seq),
            ClientEvent::Gap { room, epoch, to, .. } if *room == self.room => {
                self.enter(epoch);
                self.newest = self.newest.max(*to);
                self.reading.extend(*to);
                self.unread.handle_gap(*to);
                self.is_outdated |= *to > self.as_of;
                true
            }
            ClientEvent::Resumed(joined) if joined.room == self.room => {
                self.enter(&joined.epoch);
                if !joined.recovered {
                    let newest = self.messages.back().map_or(0, |message| message.seq);
                    self.reading.extend(newest.max(joined.seq));
                    (self.newest, self.as_of) = (joined.seq.min(self.newest), joined.seq.min(self.as_of));
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
        // The events of the other epoch are still to come, or the reply is late.
        if joined.epoch != self.epoch || joined.seq < self.newest.max(self.as_of) {
            return;
        }
        self.as_of = joined.seq;
        self.is_outdated = false;
        (self.role, self.may, self.restricted) = (joined.role, joined.may, joined.restricted);
        self.title.clone_from(&joined.title);
        self.pins = joined.pins.iter().copied().collect();
        self.unread.handle_joined(joined);
    }

    /// Takes the reply to a [`read`](crate::Client::read) of this room: the position of the marker.
    pub fn handle_read(&mut self, seq: u64) {
        self.unread.handle_read(seq);
    }

    /// Takes the messages of a range that [`to_read`](Self::to_read) has named. The view may have handled events since
    /// then. A page is ignored if `to_read` names another range now.
    pub fn handle_page(&mut self, range: Range, page: &MessagePage) {
        if page.epoch != self.epoch {
            return;
        }
        let Some((to, later)) = self.reading.finish(range) else { return };
        self.messages.retain(|message| message.seq > to);
        for message in &page.messages {
            self.put(message);
        }
        for event in &later {
            self.apply(event);
        }
        let is_whole = !page.more && self.messages.len() <= self.capacity;
        self.evict();
        let oldest = self.messages.front().map_or(to + 1, |message| message.seq);
        self.unread.handle_page(to, if is_whole { 1 } else { oldest });
    }

    /// Forgets the state of another epoch. Returns true if there is a new epoch.
    fn enter(&mut self, epoch: &Arc<str>) -> bool {
        let is_renewed = *epoch != self.epoch;
        if is_renewed {
            self.epoch = Arc::clone(epoch);
            self.messages.clear();
            self.pins.clear();
            self.reading = Reading::default();
            (self.newest, self.as_of) = (0, 0);
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

    /// Handles a purge as the room sees it. Returns true if other messages are pinned now.
    fn handle_purge(&mut self, purge: &ReceivedPurge) -> bool {
        self.newest = self.newest.max(purge.seq);
        self.unread.handle_purge(purge, self.as_of);
        let pinned = self.pins.len();
        if purge.seq > self.as_of {
            self.pins.retain(|pin| !purge.unpinned.contains(pin));
        }
        self.pins.len() < pinned
    }

    /// Handles an act as the room sees it. Returns true if the title or the restriction of the user is another one now.
    fn handle_act(&mut self, act: &ReceivedAct) -> bool {
        self.newest = self.newest.max(act.seq);
        if act.seq <= self.as_of {
            return false;
        }
        let before = (self.title.clone(), self.restricted);
        match &act.state {
            ActState::Rules { rules, .. } => self.title.clone_from(&rules.title),
            ActState::Standing { user, restriction, .. } if user.id() == self.me.id() => {
                self.restricted = *restriction;
            }
            ActState::Standing { .. } => return false,
            _ => {}
        }
        self.is_outdated = true;
        before != (self.title.clone(), self.restricted)
    }
}

#[cfg(test)]
mod tests;
