//! The rooms that the user follows, as far as this connection has asked for them, and their markers.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Effect, InFlight, Listing, Outcome, Phase, Session};
use crate::room::{Marked, Unread};
use crate::{ErrorCode, Event, RoomName, User};

/// The rooms of which the connection gets `activity` and `read` events although it is not in them.
pub(super) type Following = BTreeSet<RoomName>;

impl<M> Session<M> {
    /// Returns true if the connection has learned that the user follows a room: by its own `follow`, or by a `rooms`.
    pub fn is_following(&self, room: &RoomName) -> bool {
        self.following.contains(room)
    }

    /// Returns the rooms of which the connection must get the activity: it follows them and is not in them.
    pub fn watched(&self) -> impl Iterator<Item = &RoomName> {
        self.following.iter().filter(|room| !self.rooms.contains(room))
    }

    /// Records that another connection of the user has moved the marker of a room.
    pub fn handle_read(&mut self, room: RoomName, seq: u64) -> Vec<Effect> {
        if !self.rooms.contains(&room) && !self.is_following(&room) {
            return Vec::new();
        }
        self.read(None, room, &Marked::new("", seq))
    }

    /// Records that another connection of the user no longer follows a room.
    pub fn handle_unfollowed(&mut self, room: &RoomName) {
        self.follow(room, false);
    }

    /// Records that the user follows a direct room, because one of its users has opened it.
    pub fn handle_followed(&mut self, room: &RoomName) {
        self.follow(room, true);
    }

    /// Records that a room has new entries, with the present numbers of unread messages. `with` is the other user of a
    /// direct room.
    pub fn handle_activity(&mut self, room: RoomName, unread: &Unread, with: Option<User>) -> Vec<Effect> {
        if self.phase == Phase::Closed || self.rooms.contains(&room) || !self.is_following(&room) {
            return Vec::new();
        }
        let Unread { head, unread, mentions, .. } = *unread;
        vec![Effect::Reply(Event::Activity { room, seq: head, unread, mentions, with })]
    }

    pub(super) fn list(
        &mut self,
        reference: Option<String>,
        after: Option<RoomName>,
        limit: usize,
    ) -> Vec<Effect> {
        self.in_flight.push(InFlight { reference, room: None, is_submitted: false });
        let is_next = |name: &&RoomName| after.as_ref().is_none_or(|after| *name > after);
        let joined = self.rooms.names().filter(is_next).cloned().collect();
        vec![Effect::List(Listing { after, limit, joined })]
    }

    pub(super) fn reply_with_rooms(
        &mut self,
        now: Duration,
        reference: Option<String>,
        outcome: Outcome<M>,
    ) -> Vec<Effect> {
        match outcome {
            Outcome::Listed { rooms, more, followed } => {
                followed.iter().for_each(|room| self.follow(room, true));
                vec![Effect::Reply(Event::Rooms { reference, rooms, more })]
            }
            Outcome::Refused { code, detail } => self.error(now, reference, code, detail.as_deref(), None),
            Outcome::TooEarly(wait) => self.refuse_for_rate(now, reference, wait),
            Outcome::Skipped => Vec::new(),
            _ => self.error(now, reference, ErrorCode::Unavailable, None, None),
        }
    }

    pub(super) fn read(&mut self, reference: Option<String>, room: RoomName, marked: &Marked) -> Vec<Effect> {
        let Some(user) = self.user.clone().filter(|_| self.phase != Phase::Closed) else { return Vec::new() };
        vec![Effect::Reply(Event::Read { reference, room, user, seq: marked.seq })]
    }

    /// Adds a room to those that the connection follows, or removes it. Beyond the limit of a user, the first one is
    /// removed: another connection of the user must have unfollowed one. Direct rooms count separately.
    pub(super) fn follow(&mut self, room: &RoomName, on: bool) {
        if on {
            self.following.insert(room.clone());
            let is_counted = |followed: &&RoomName| followed.is_direct() == room.is_direct();
            let mut counted = self.following.iter().filter(is_counted);
            let first = counted.next().cloned();
            if counted.count() >= self.limits.rooms.max_followed_per_user
                && let Some(first) = first
            {
                self.following.remove(&first);
            }
        } else {
            self.following.remove(room);
        }
    }
}
