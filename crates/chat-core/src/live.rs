use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use chat_proto::{Cursor, Event, Next, PresenceState, Resumption, Roster, Tail, command, resume};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::inbox::Inbox;
use crate::rooms::Rooms;
use crate::{CommitSink, ErrorCode, Limits, LogBounds, Page, Room, RoomName, StoredMessage, User};

/// A room as this process has it open: its log, the tail of its events, and the connections in it.
pub(crate) struct LiveRoom {
    name: RoomName,
    pub(crate) log: Arc<dyn Room>,
    // Nothing is awaited while this is held.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tail: Tail<Delivery>,
    roster: Roster,
    members: BTreeMap<u64, Member>,
    /// Since when nobody is here and nothing happens.
    idle_since: Option<Instant>,
}

#[derive(Debug)]
struct Member {
    inbox: Arc<Inbox>,
    /// Whether the inbox holds this room's name, or the connection is taking from the room.
    awake: bool,
}

/// An event in the tail.
#[derive(Clone, Debug)]
struct Delivery {
    frame: Bytes,
    /// The connection that caused it and is not to get it.
    except: Option<u64>,
    is_message: bool,
}

impl AsRef<[u8]> for Delivery {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
}

impl LiveRoom {
    pub(crate) fn open(
        name: RoomName,
        limits: &Limits,
        log: impl FnOnce(CommitSink) -> Arc<dyn Room>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|room: &Weak<Self>| Self {
            name,
            log: log(Self::outlet(room.clone())),
            state: Mutex::new(State {
                tail: Tail::new(0, limits.rooms.tail_events, limits.rooms.log_bytes),
                roster: Roster::default(),
                members: BTreeMap::new(),
                idle_since: Some(Instant::now()),
            }),
        })
    }

    /// The way from the room's log to this room, as long as there is one.
    fn outlet(room: Weak<Self>) -> CommitSink {
        CommitSink::new(move |stored| {
            if let Some(room) = room.upgrade() {
                room.deliver(stored);
            }
        })
    }

    /// Hands a committed message to everybody here.
    fn deliver(&self, stored: &StoredMessage) {
        let mut state = self.state.lock();
        state.tail.push_message(
            stored.seq,
            Delivery { frame: stored.frame.clone(), except: None, is_message: true },
        );
        state.wake(&self.name);
        if state.members.is_empty() {
            state.idle_since = Some(Instant::now());
        }
    }

    pub(crate) fn name(&self) -> &RoomName {
        &self.name
    }

    pub(crate) fn members(&self) -> Vec<User> {
        self.state.lock().roster.members()
    }

    /// Whether nobody is here and nothing was ever written.
    pub(crate) fn is_blank(&self) -> bool {
        let state = self.state.lock();
        state.members.is_empty() && state.tail.head() == 0
    }

    pub(crate) fn idle_since(&self) -> Option<Instant> {
        self.state.lock().idle_since
    }
}

impl std::fmt::Debug for LiveRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveRoom").field("name", &self.name).finish_non_exhaustive()
    }
}

impl State {
    /// Brings what the log and the tail know of the head together.
    fn observe(&mut self, bounds: &mut LogBounds) {
        // With members here, the outlet tells the tail of everything: then the log is only a moment ahead.
        if self.members.is_empty() {
            self.tail.observe(bounds.head);
        }
        bounds.head = bounds.head.max(self.tail.head());
    }

    fn announce(&mut self, room: &RoomName, event: &Event, except: Option<u64>) {
        self.tail.push_event(Delivery { frame: event.encode(), except, is_message: false });
        self.wake(room);
    }

    fn wake(&mut self, room: &RoomName) {
        for member in self.members.values_mut() {
            if !std::mem::replace(&mut member.awake, true) {
                member.inbox.push(room.clone());
            }
        }
    }
}

/// One connection's place in one room. Dropping it leaves the room, whatever dropped it.
#[derive(Debug)]
pub(crate) struct Membership {
    rooms: Arc<Rooms>,
    room: Arc<LiveRoom>,
    connection: u64,
    user: User,
    /// The epoch in which the cursor counts.
    epoch: String,
    cursor: Cursor,
}

/// An event that a member has taken from a room.
pub(crate) struct Taken {
    pub(crate) frame: Bytes,
    /// Whether it is a message, or stands for some.
    pub(crate) is_message: bool,
}

impl From<Delivery> for Taken {
    fn from(delivery: Delivery) -> Self {
        Self { frame: delivery.frame, is_message: delivery.is_message }
    }
}

/// What [`Membership::join`] and [`Membership::rejoin`] answer.
pub(crate) struct Entered {
    pub(crate) bounds: LogBounds,
    pub(crate) resumption: Resumption,
    pub(crate) members: usize,
}

impl Membership {
    /// Enters a room whose log stands at `standing`.
    pub(crate) fn join(
        rooms: Arc<Rooms>,
        room: Arc<LiveRoom>,
        (connection, user): (u64, User),
        inbox: Arc<Inbox>,
        mut bounds: LogBounds,
        from: &command::JoinFrom,
    ) -> Result<(Self, Entered), ErrorCode> {
        let mut state = room.state.lock();
        state.observe(&mut bounds);
        let resumption = resume(from, &bounds, &rooms.limits)?;
        if state.roster.enter(&user) {
            let presence = PresenceState::Joined;
            let event = Event::Presence { room: room.name.clone(), user: user.clone(), state: presence };
            state.announce(&room.name, &event, None);
        }
        let cursor = state.tail.cursor(resumption.after);
        inbox.push(room.name.clone());
        state.members.insert(connection, Member { inbox, awake: true });
        state.idle_since = None;
        let members = state.roster.len();
        drop(state);
        let epoch = bounds.epoch.clone();
        Ok((Self { rooms, room, connection, user, epoch, cursor }, Entered { bounds, resumption, members }))
    }

    /// Joins again: reads on as before, or from another place.
    pub(crate) fn rejoin(
        &mut self,
        mut bounds: LogBounds,
        from: &command::JoinFrom,
    ) -> Result<Entered, ErrorCode> {
        let mut state = self.room.state.lock();
        state.observe(&mut bounds);
        let resumption = resume(from, &bounds, &self.rooms.limits)?;
        if *from != command::JoinFrom::Now {
            self.epoch.clone_from(&bounds.epoch);
            // Events that are no messages go on from where they were.
            self.cursor.seq = resumption.after;
            if let Some(member) = state.members.get_mut(&self.connection)
                && !std::mem::replace(&mut member.awake, true)
            {
                member.inbox.push(self.room.name.clone());
            }
        }
        Ok(Entered { bounds, resumption, members: state.roster.len() })
    }

    pub(crate) fn room(&self) -> &Arc<LiveRoom> {
        &self.room
    }

    /// The position up to which messages have been taken.
    pub(crate) fn seq(&self) -> u64 {
        self.cursor.seq
    }

    /// Takes a page of the log, read from [`seq`](Self::seq) on, as far as `up_to`: the frames to send, a `gap`
    /// wherever the log has none. `None` if the log has begun another epoch.
    pub(crate) fn catch_up(&mut self, page: Page, up_to: u64) -> Option<Vec<Taken>> {
        if page.epoch != self.epoch {
            return None;
        }
        let mut taken = Vec::new();
        let is_empty = page.messages.is_empty();
        for StoredMessage { seq, frame } in page.messages {
            let is_beyond = seq > up_to;
            taken.extend(self.gap(if is_beyond { up_to } else { seq - 1 }));
            if is_beyond {
                return Some(taken);
            }
            taken.push(Taken { frame, is_message: true });
            self.cursor.seq = seq;
        }
        if is_empty {
            taken.extend(self.gap(up_to));
        }
        Some(taken)
    }

    /// Passes over what follows as far as `to`: the event that says so, if anything does.
    fn gap(&mut self, to: u64) -> Option<Taken> {
        let from = self.cursor.seq + 1;
        if from > to {
            return None;
        }
        self.cursor.seq = to;
        let (room, epoch) = (self.room.name.clone(), self.epoch.clone());
        Some(Taken { frame: Event::Gap { room, epoch, from, to }.encode(), is_message: true })
    }

    /// Takes what comes next. After [`Next::Nothing`], the inbox is told when there is more.
    pub(crate) fn take(&mut self) -> Next<Taken> {
        let mut state = self.room.state.lock();
        loop {
            match state.tail.next(&mut self.cursor, self.rooms.limits.wire.max_batch_bytes) {
                Next::Nothing => {
                    if let Some(member) = state.members.get_mut(&self.connection) {
                        member.awake = false;
                    }
                    return Next::Nothing;
                }
                Next::CatchUp { up_to } => return Next::CatchUp { up_to },
                Next::Events(deliveries) => {
                    let mine = |delivery: &Delivery| delivery.except != Some(self.connection);
                    let frames: Vec<_> = deliveries.into_iter().filter(mine).map(Taken::from).collect();
                    if !frames.is_empty() {
                        return Next::Events(frames);
                    }
                }
            }
        }
    }

    /// Tells the others that this user is, or is no longer, writing.
    pub(crate) fn typing(&self, active: bool) {
        let event = Event::Typing { room: self.room.name.clone(), user: self.user.clone(), active };
        self.room.state.lock().announce(&self.room.name, &event, Some(self.connection));
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut state = self.room.state.lock();
        state.members.remove(&self.connection);
        if state.roster.leave(&self.user) {
            let presence = PresenceState::Left;
            let event =
                Event::Presence { room: self.room.name.clone(), user: self.user.clone(), state: presence };
            state.announce(&self.room.name, &event, None);
        }
        if state.members.is_empty() {
            state.idle_since = Some(Instant::now());
            drop(state);
            self.rooms.left(&self.room);
        }
    }
}
