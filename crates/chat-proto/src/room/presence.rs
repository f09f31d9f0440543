//! Presence and typing in a room, over all nodes.

use super::{Member, Room, RoomEvent};
use crate::{Event, PresenceState, RoomName, User};

impl<W> Room<W> {
    /// Announces that a member started or stopped typing. The member itself does not get the event.
    pub fn typing(&mut self, member: &Member, active: bool) {
        if let Some(user) = &member.user {
            self.announce_typing(user, active, Some(member.id));
        }
    }

    /// Announces that a user on another node started or stopped typing.
    pub fn remote_typing(&mut self, user: &User, active: bool) {
        self.announce_typing(user, active, None);
    }

    /// Lets a user whose last connection is lost stay until [`end_deferred`](Self::end_deferred), so that the user can
    /// move to another node without an event.
    pub fn defer_leaving(&mut self) {
        self.defers_leaving = true;
    }

    /// Records that a user has connections on another node. A state that is older than a known one changes nothing.
    pub fn enter_remote(&mut self, node: &str, user: &User, version: u64) {
        if self.roster.enter_remote(node, user, version) {
            self.announce(user, PresenceState::Joined);
        }
    }

    /// Records that a user has no connections on another node. `has_left` is true if the user left on purpose, which is
    /// not deferred. A state that is older than a known one changes nothing.
    pub fn leave_remote(&mut self, node: &str, user: &User, version: u64, has_left: bool) {
        if self.roster.leave_remote(node, user, version, self.defers_leaving && !has_left) {
            self.announce(user, PresenceState::Left);
        }
    }

    /// Takes all users of another node. A state that is older than a known one changes nothing.
    pub fn set_node<'a>(&mut self, node: &str, version: u64, users: impl IntoIterator<Item = &'a User>) {
        for (user, state) in self.roster.set_node(node, version, users, self.defers_leaving) {
            self.announce(&user, state);
        }
    }

    /// Removes the users of a node that is gone.
    pub fn remove_node(&mut self, node: &str) {
        for user in self.roster.remove_node(node, self.defers_leaving) {
            self.announce(&user, PresenceState::Left);
        }
    }

    /// Removes the users whose leaving was deferred and who have not come back, up to this number of
    /// [`Roster::last_deferred`](super::Roster::last_deferred).
    pub fn end_deferred(&mut self, up_to: u64) {
        for user in self.roster.end_deferred(up_to) {
            self.announce(&user, PresenceState::Left);
        }
    }

    pub(super) fn announce(&mut self, user: &User, state: PresenceState) {
        let event = Event::Presence { room: self.room(), user: user.clone(), state };
        let frame = event.encode();
        self.missed.push(self.tail.end(), user.key(), state, frame.clone());
        self.push(RoomEvent::presence(frame));
    }

    fn announce_typing(&mut self, user: &User, active: bool, except: Option<u64>) {
        let event = Event::Typing { room: self.room(), user: user.clone(), active };
        self.push(RoomEvent { frame: event.encode(), is_entry: false, except });
    }

    fn room(&self) -> RoomName {
        self.name.clone()
    }

    fn push(&mut self, event: RoomEvent) {
        self.tail.push_event(event);
        self.drop_presence();
        self.has_news = true;
    }
}
