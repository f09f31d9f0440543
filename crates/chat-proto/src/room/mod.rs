//! A room: the order of its entries, its members, and what each of them gets next.
//!
//! [`Room`] holds no log. A store commits entries and reports them, in any order; the room puts them into the
//! order of their `seq`. A member is a [`Cursor`] in the room's [`Tail`]; a member that is behind the tail reads
//! from the log.

mod log;
mod resume;
mod roster;
mod search;
mod tail;

use std::collections::BTreeMap;

use bytes::Bytes;

pub use log::{
    AppendError, AppendReceipt, Log, LogBounds, NewMessage, Page, Range, StoredMessage, Unavailable,
};
pub use resume::{Gap, Resumption, resume};
pub use roster::Roster;
pub use search::{Scan, Search, SearchError, SearchPage, fold};
pub use tail::{Cursor, Next, Tail};

use crate::command::JoinFrom;
use crate::{ErrorCode, Event, Limits, PresenceState, RoomName, User};

/// One frame on its way from a room to a member.
#[derive(Clone, Debug)]
pub struct RoomEvent {
    /// The event as the text of a frame.
    pub frame: Bytes,
    /// True for an entry of the log, and for a `gap` that stands for entries. Such an event is dropped when the
    /// member starts to read from another position.
    pub is_entry: bool,
    /// The member that caused the event and does not get it.
    except: Option<u64>,
}

impl AsRef<[u8]> for RoomEvent {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
}

impl RoomEvent {
    fn entry(frame: Bytes) -> Self {
        Self { frame, is_entry: true, except: None }
    }
}

/// The effect of one committed entry on a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The entry is in the tail, with those that had waited for it.
    InOrder,
    /// The room had the entry already.
    Repeat,
    /// The entry waits for earlier ones. If they do not come, [`Room::repair`] lets the members read the log.
    Early,
}

/// An open room. `W` wakes one member; the room never calls it, but says whom to wake.
#[derive(Debug)]
pub struct Room<W> {
    name: RoomName,
    tail: Tail<RoomEvent>,
    /// Entries whose predecessors have not been reported yet.
    early: BTreeMap<u64, Bytes>,
    max_early: usize,
    max_batch: usize,
    default_page: u64,
    /// Grows when the log is renewed. A member of an earlier life gets nothing more.
    life: u64,
    roster: Roster,
    members: BTreeMap<u64, Waiting<W>>,
}

#[derive(Debug)]
struct Waiting<W> {
    waker: W,
    /// Whether the member was told that there is something, and has not yet taken everything.
    is_awake: bool,
}

/// One connection's position in one room.
#[derive(Clone, Debug)]
pub struct Member {
    id: u64,
    /// `None` for a subscriber, which nobody sees.
    user: Option<User>,
    /// The epoch in which the cursor counts.
    epoch: String,
    life: u64,
    cursor: Cursor,
}

/// The answer to a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The extent of the log.
    pub bounds: LogBounds,
    /// The position at which the member starts.
    pub resumption: Resumption,
    /// The number of users in the room.
    pub members: usize,
}

/// The next step of a member.
#[derive(Debug)]
pub enum Delivery {
    /// These events; the member's cursor is past them now.
    Events(Vec<RoomEvent>),
    /// The entries after the member's cursor must be read from the log, up to this one.
    CatchUp {
        /// The last entry to read from the log.
        up_to: u64,
    },
    /// Nothing: the member has everything. It is woken when there is more.
    Nothing,
    /// Nothing, ever: the log has begun another life, and the member must join again.
    Renewed,
}

impl<W> Room<W> {
    /// Returns an empty room.
    pub fn new(name: RoomName, limits: &Limits) -> Self {
        Self {
            name,
            tail: Tail::new(0, limits.rooms.tail_events, limits.rooms.log_bytes),
            early: BTreeMap::new(),
            max_early: limits.rooms.tail_events,
            max_batch: limits.wire.max_batch_bytes,
            default_page: limits.wire.default_page_messages as u64,
            life: 0,
            roster: Roster::default(),
            members: BTreeMap::new(),
        }
    }

    /// Returns the room's name.
    pub fn name(&self) -> &RoomName {
        &self.name
    }

    /// Returns the `seq` of the newest entry that the room knows, 0 if there is none.
    pub fn head(&self) -> u64 {
        self.tail.head()
    }

    /// Returns the users in the room.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Returns true if no member and no subscriber is here.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Adds a member. `id` is unique among the members; `bounds` is the extent of the log, read just before.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::BadCursor`] for a position that this epoch has not reached.
    pub fn join(
        &mut self,
        id: u64,
        user: &User,
        waker: W,
        bounds: LogBounds,
        from: &JoinFrom,
    ) -> Result<(Member, Joined), ErrorCode> {
        let (bounds, resumption) = self.resume(bounds, from)?;
        if self.roster.enter(user) {
            self.announce(user, PresenceState::Joined);
        }
        let member = self.add(id, Some(user.clone()), waker, &bounds, resumption.after);
        Ok((member, Joined { bounds, resumption, members: self.roster.len() }))
    }

    /// Adds a subscriber: it gets what a member gets, and no user sees it.
    pub fn subscribe(&mut self, id: u64, waker: W, bounds: LogBounds) -> Member {
        let bounds = self.observe(bounds);
        let after = bounds.head;
        self.add(id, None, waker, &bounds, after)
    }

    /// Lets a member that joins again read on as before, or from another position.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::BadCursor`] for a position that this epoch has not reached.
    pub fn rejoin(
        &mut self,
        member: &mut Member,
        bounds: LogBounds,
        from: &JoinFrom,
    ) -> Result<Joined, ErrorCode> {
        let (bounds, resumption) = self.resume(bounds, from)?;
        if *from != JoinFrom::Now {
            member.epoch.clone_from(&bounds.epoch);
            member.life = self.life;
            // The position among the other events stays.
            member.cursor.seq = resumption.after;
        }
        Ok(Joined { bounds, resumption, members: self.roster.len() })
    }

    /// Removes a member or a subscriber.
    pub fn leave(&mut self, member: &Member) {
        self.members.remove(&member.id);
        if let Some(user) = &member.user
            && self.roster.leave(user)
        {
            self.announce(user, PresenceState::Left);
        }
    }

    /// Takes an entry that the log has committed. Entries may come in any order, and more than once.
    pub fn commit(&mut self, stored: &StoredMessage) -> Committed {
        let (seq, head) = (stored.seq, self.tail.head());
        if seq <= head {
            return Committed::Repeat;
        }
        // Without members there is no order to keep: whoever joins next reads the log.
        if seq > head + 1 && !self.members.is_empty() {
            self.early.insert(seq, stored.frame.clone());
            if self.early.len() > self.max_early {
                self.repair();
            }
            return Committed::Early;
        }
        self.tail.push_message(seq, RoomEvent::entry(stored.frame.clone()));
        while let Some(next) = self.early.first_entry()
            && *next.key() <= self.tail.head() + 1
        {
            let (seq, frame) = next.remove_entry();
            self.tail.push_message(seq, RoomEvent::entry(frame));
        }
        Committed::InOrder
    }

    /// Takes note that the log has committed entries up to `head`, whether or not they were reported.
    pub fn advance(&mut self, head: u64) {
        self.tail.observe(head);
        self.early.retain(|seq, _| *seq > head);
    }

    /// Gives up waiting for entries that were not reported: members read them from the log.
    pub fn repair(&mut self) {
        if let Some((last, _)) = self.early.last_key_value() {
            self.advance(*last);
        }
    }

    /// Returns true if an entry waits for an earlier one.
    pub fn has_hole(&self) -> bool {
        !self.early.is_empty()
    }

    /// Takes note that the log has begun another life: those who are here get nothing more.
    pub fn renew(&mut self, head: u64) {
        self.life += 1;
        self.early.clear();
        self.tail.restart(head);
    }

    /// Announces that a member is, or is no longer, writing.
    pub fn typing(&mut self, member: &Member, active: bool) {
        if let Some(user) = &member.user {
            self.announce_typing(user, active, Some(member.id));
        }
    }

    /// Takes the number of connections that a user has on another node; 0 if the last one has left.
    pub fn set_remote(&mut self, node: &str, user: &User, connections: usize) {
        let was_here = self.roster.contains(user);
        self.roster.set_remote(node, user, connections);
        match (was_here, self.roster.contains(user)) {
            (false, true) => self.announce(user, PresenceState::Joined),
            (true, false) => self.announce(user, PresenceState::Left),
            _ => {}
        }
    }

    /// Announces that a user on another node is, or is no longer, writing.
    pub fn remote_typing(&mut self, user: &User, active: bool) {
        self.announce_typing(user, active, None);
    }

    /// Removes the users of a node that has gone.
    pub fn remove_node(&mut self, node: &str) {
        for user in self.roster.remove_node(node) {
            self.announce(&user, PresenceState::Left);
        }
    }

    /// Takes what comes next for a member.
    pub fn take(&mut self, member: &mut Member) -> Delivery {
        if member.life != self.life {
            return Delivery::Renewed;
        }
        loop {
            match self.tail.next(&mut member.cursor, self.max_batch) {
                Next::Nothing => {
                    if let Some(waiting) = self.members.get_mut(&member.id) {
                        waiting.is_awake = false;
                    }
                    return Delivery::Nothing;
                }
                Next::CatchUp { up_to } => return Delivery::CatchUp { up_to },
                Next::Events(mut events) => {
                    events.retain(|event| event.except != Some(member.id));
                    if !events.is_empty() {
                        return Delivery::Events(events);
                    }
                }
            }
        }
    }

    /// Returns those who must be woken because something has happened, each once until it has taken everything.
    pub fn to_wake(&mut self) -> impl Iterator<Item = &W> {
        self.members
            .values_mut()
            .filter_map(|waiting| (!std::mem::replace(&mut waiting.is_awake, true)).then_some(&waiting.waker))
    }

    /// Returns how to wake a member, unless it is awake.
    pub fn wake(&mut self, member: &Member) -> Option<&W> {
        let waiting = self.members.get_mut(&member.id)?;
        (!std::mem::replace(&mut waiting.is_awake, true)).then_some(&waiting.waker)
    }

    /// Brings what the log and the tail know of the newest entry together.
    fn observe(&mut self, mut bounds: LogBounds) -> LogBounds {
        // With members here every commit is reported: then the log is ahead for a moment only.
        if self.members.is_empty() {
            self.advance(bounds.head);
        }
        bounds.head = bounds.head.max(self.tail.head());
        bounds
    }

    fn resume(&mut self, bounds: LogBounds, from: &JoinFrom) -> Result<(LogBounds, Resumption), ErrorCode> {
        let bounds = self.observe(bounds);
        let resumption = resume(from, &bounds, self.default_page)?;
        Ok((bounds, resumption))
    }

    fn add(&mut self, id: u64, user: Option<User>, waker: W, bounds: &LogBounds, after: u64) -> Member {
        self.members.insert(id, Waiting { waker, is_awake: false });
        let cursor = self.tail.cursor(after);
        Member { id, user, epoch: bounds.epoch.clone(), life: self.life, cursor }
    }

    fn announce(&mut self, user: &User, state: PresenceState) {
        let event = Event::Presence { room: self.name.clone(), user: user.clone(), state };
        self.push(&event, None);
    }

    fn announce_typing(&mut self, user: &User, active: bool, except: Option<u64>) {
        let event = Event::Typing { room: self.name.clone(), user: user.clone(), active };
        self.push(&event, except);
    }

    fn push(&mut self, event: &Event, except: Option<u64>) {
        self.tail.push_event(RoomEvent { frame: event.encode(), is_entry: false, except });
    }
}

impl Member {
    /// Returns the `seq` of the last entry that was taken.
    pub fn seq(&self) -> u64 {
        self.cursor.seq
    }

    /// Takes a page of the log, read from [`seq`](Self::seq) on, as far as `up_to`. Returns the frames to send,
    /// with a `gap` for each entry that the log no longer has; `None` if the log has begun another epoch.
    pub fn catch_up(&mut self, room: &RoomName, page: Page, up_to: u64) -> Option<Vec<RoomEvent>> {
        if page.epoch != self.epoch {
            return None;
        }
        let mut events = Vec::new();
        let is_empty = page.messages.is_empty();
        for StoredMessage { seq, frame } in page.messages {
            let is_beyond = seq > up_to;
            events.extend(self.gap(room, if is_beyond { up_to } else { seq - 1 }));
            if is_beyond {
                return Some(events);
            }
            events.push(RoomEvent::entry(frame));
            self.cursor.seq = seq;
        }
        if is_empty {
            events.extend(self.gap(room, up_to));
        }
        Some(events)
    }

    /// Passes over the entries up to `to`. Returns the event that says so, if there are any.
    fn gap(&mut self, room: &RoomName, to: u64) -> Option<RoomEvent> {
        let from = self.cursor.seq + 1;
        if from > to {
            return None;
        }
        self.cursor.seq = to;
        let gap = Event::Gap { room: room.clone(), epoch: self.epoch.clone(), from, to };
        Some(RoomEvent::entry(gap.encode()))
    }
}
