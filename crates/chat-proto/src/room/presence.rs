//! Presence in a room, over all nodes.

use super::typing::Source;
use super::{Room, RoomEvent};
use crate::{Event, PresenceState, Role, RoomName, User};

impl<W> Room<W> {
    /// Lets a user whose last connection is lost stay until [`end_deferred`](Self::end_deferred), so that the user can
    /// move to another node without an event.
    pub fn defer_leaving(&mut self) {
        self.defers_leaving = true;
    }

    /// Records that a user has connections on another node, where the credentials and the host give this role. A state
    /// that is older than a known one changes nothing.
    pub fn enter_remote(&mut self, node: &str, user: &User, granted: Role, version: u64) {
        if self.roster.enter_remote(node, user, granted, version) {
            self.announce(user, PresenceState::Joined);
        }
    }

    /// Records that a user has no connections on another node. `has_left` is true if the user left on purpose, which is
    /// not deferred. A state that is older than a known one changes nothing.
    pub fn leave_remote(&mut self, node: &str, user: &User, version: u64, has_left: bool) {
        self.typing.end(&user.key(), &Source::Node(node.to_owned()));
        if self.roster.leave_remote(node, user, version, self.defers_leaving && !has_left) {
            self.announce(user, PresenceState::Left);
        }
    }

    /// Takes all users of another node, with the roles that they have there. A state that is older than a known one
    /// changes nothing.
    pub fn set_node<'a>(
        &mut self,
        node: &str,
        version: u64,
        users: impl IntoIterator<Item = (&'a User, Role)>,
    ) {
        for (user, state) in self.roster.set_node(node, version, users, self.defers_leaving) {
            self.announce(&user, state);
        }
    }

    /// Removes the users of a node that is gone.
    pub fn remove_node(&mut self, node: &str) {
        self.typing.end_node(node);
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
        if state == PresenceState::Left {
            self.typing.leave(&user.key());
        }
        if self.count_users() {
            return;
        }
        let event = Event::Presence { room: self.room(), user: user.clone(), state };
        let frame = event.encode();
        self.missed.push(self.tail.end(), user.key(), state, frame.clone());
        self.push(RoomEvent::presence(frame));
    }

    fn room(&self) -> RoomName {
        self.name.clone()
    }

    pub(super) fn push(&mut self, event: RoomEvent) {
        self.tail.push_event(event);
        self.drop_presence();
        self.has_news = true;
    }
}
