use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::{Cursor, LogBounds, Page, Restriction, Resumption, Rights, RoomEvent, StoredMessage};
use crate::{Event, PresenceMode, PresenceState, Role, RoomName, User, UserKey};

/// One connection's position in one room: see [`Room::join`](super::Room::join).
#[derive(Clone, Debug)]
pub struct Member {
    pub(super) id: u64,
    /// `None` for a subscriber, which no user sees.
    pub(super) user: Option<User>,
    /// The epoch in which the cursor counts.
    pub(super) epoch: Arc<str>,
    pub(super) generation: u64,
    pub(super) cursor: Cursor,
    /// The number of times that the room had started to count its users when `missed` was collected.
    pub(super) starts: u64,
    /// `None` for most members: boxed, because it is large.
    pub(super) missed: Option<Box<Missed>>,
}

/// The number of a member, and its position among the events of the room: see [`Room::wake_at`](super::Room::wake_at).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub(super) id: u64,
    pub(super) position: u64,
}

/// The events that the tail has dropped and that a member has not taken yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Missed {
    /// The last `occupancy` event.
    occupancy: Option<Bytes>,
    /// The changes of presence.
    presence: BTreeMap<UserKey, (PresenceState, Bytes)>,
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
    /// The way in which the room announces its users.
    pub presence: PresenceMode,
    /// The role of the user, which the caller of [`Room::join`](super::Room::join) knows.
    pub role: Role,
    /// The rights of the user, which the caller knows too.
    pub may: Rights,
    /// The other user of a direct room, whom the caller knows too.
    pub with: Option<User>,
    /// The title of the room, which the caller knows too.
    pub title: Option<String>,
    /// The restriction of the user, which the caller knows too.
    pub restricted: Option<Restriction>,
}

/// The next step of a member: see [`Room::take`](super::Room::take).
#[derive(Debug)]
pub enum Delivery {
    /// These events. The member's cursor is past them now.
    Events(Vec<RoomEvent>),
    /// The entries after the member's cursor must be read from the log, up to this one.
    CatchUp {
        /// The last entry to read from the log.
        up_to: u64,
    },
    /// Nothing. The member has everything, and is woken when there is more.
    Nothing,
    /// No more events. The log has started a new epoch, and the member must join again.
    Renewed,
}

impl Member {
    /// Returns the number of the connection, or of the subscription.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Returns the `seq` of the last entry that was taken.
    pub fn seq(&self) -> u64 {
        self.cursor.seq
    }

    /// Returns the place of the member now.
    pub fn place(&self) -> Place {
        Place { id: self.id, position: self.cursor.position }
    }

    /// Takes a page of the log, which was read after [`seq`](Self::seq) and up to `up_to`.
    ///
    /// Returns the frames to send, with a `gap` for the entries that the log no longer has. Returns `None` if the
    /// log has started a new epoch.
    pub fn catch_up(&mut self, room: &RoomName, page: Page, up_to: u64) -> Option<Vec<RoomEvent>> {
        if *page.epoch != *self.epoch {
            return None;
        }
        let mut events = Vec::new();
        let is_empty = page.messages.is_empty();
        for StoredMessage { seq, frame } in page.messages {
            let is_beyond = seq > up_to;
            events.extend(self.gap(room, if is_beyond { up_to } else { seq.saturating_sub(1) }));
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

    /// Adds a change of presence that was missed. Two changes of one user that are not taken yet cancel each other.
    pub(super) fn miss(&mut self, user: &UserKey, state: PresenceState, frame: &Bytes) {
        let presence = &mut self.missed.get_or_insert_default().presence;
        if presence.get(user).is_some_and(|(missed, _)| *missed != state) {
            presence.remove(user);
        } else {
            presence.insert(user.clone(), (state, frame.clone()));
        }
    }

    /// Forgets the changes of presence that were missed.
    pub(super) fn forget_presence(&mut self) {
        if let Some(missed) = &mut self.missed {
            missed.presence.clear();
        }
    }

    /// Sets the last `occupancy` event, which was missed.
    pub(super) fn miss_occupancy(&mut self, frame: Bytes) {
        self.missed.get_or_insert_default().occupancy = Some(frame);
    }

    /// Takes the last `occupancy` event and the next changes of presence that were missed: of at most `max_bytes`, or
    /// one that is longer.
    pub(super) fn take_missed(&mut self, max_bytes: usize) -> Option<Vec<RoomEvent>> {
        let missed = self.missed.as_mut()?;
        let mut events: Vec<_> = missed.occupancy.take().into_iter().map(RoomEvent::presence).collect();
        let mut bytes: usize = events.iter().map(|event| event.frame.len()).sum();
        while let Some(first) = missed.presence.first_entry() {
            bytes += first.get().1.len();
            if !events.is_empty() && bytes > max_bytes {
                break;
            }
            events.push(RoomEvent::presence(first.remove().1));
        }
        if missed.presence.is_empty() {
            self.missed = None;
        }
        (!events.is_empty()).then_some(events)
    }

    /// Passes over the entries up to `to`. Returns the event that reports them, if there are any.
    fn gap(&mut self, room: &RoomName, to: u64) -> Option<RoomEvent> {
        let from = self.cursor.seq + 1;
        if from > to {
            return None;
        }
        self.cursor.seq = to;
        let gap = Event::Gap { room: room.clone(), epoch: self.epoch.to_string(), from, to };
        Some(RoomEvent::entry(gap.encode()))
    }
}
