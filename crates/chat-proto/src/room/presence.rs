//! Presence and typing in a room, over all nodes.

use std::collections::BTreeSet;

use super::{Member, Room, RoomEvent};
use crate::{Event, PresenceState, RoomName, User, UserKey};

/// The changes on other nodes since the room asked for their users. They are newer than the answer.
#[derive(Debug, Default)]
pub(super) struct RemoteChanges {
    users: BTreeSet<(String, UserKey)>,
    lost_nodes: BTreeSet<String>,
}

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

    /// Takes the number of connections that a user has on another node; 0 if the last one has left.
    pub fn set_remote(&mut self, node: &str, user: &User, connections: usize) {
        if let Some(changes) = &mut self.remote_changes {
            changes.users.insert((node.to_owned(), user.key()));
        }
        let was_here = self.roster.contains(user);
        self.roster.set_remote(node, user, connections);
        match (was_here, self.roster.contains(user)) {
            (false, true) => self.announce(user, PresenceState::Joined),
            (true, false) => self.announce(user, PresenceState::Left),
            _ => {}
        }
    }

    /// Removes the users of a node that is gone.
    pub fn remove_node(&mut self, node: &str) {
        if let Some(changes) = &mut self.remote_changes {
            changes.lost_nodes.insert(node.to_owned());
        }
        for user in self.roster.remove_node(node) {
            self.announce(&user, PresenceState::Left);
        }
    }

    /// Records that the other nodes are asked for their users. Until [`finish_roster`](Self::finish_roster), the
    /// room remembers the changes on them.
    pub fn begin_roster(&mut self) {
        self.remote_changes = Some(RemoteChanges::default());
    }

    /// Takes the answer of the other nodes: node, user, and number of connections. A change that was reported
    /// meanwhile is newer than the answer, and stays.
    pub fn finish_roster<'a>(&mut self, users: impl IntoIterator<Item = (&'a str, &'a User, usize)>) {
        let changes = self.remote_changes.take().unwrap_or_default();
        for (node, user, connections) in users {
            let is_newer = changes.users.contains(&(node.to_owned(), user.key()));
            if !is_newer && !changes.lost_nodes.contains(node) {
                self.set_remote(node, user, connections);
            }
        }
    }

    pub(super) fn announce(&mut self, user: &User, state: PresenceState) {
        let event = Event::Presence { room: self.room(), user: user.clone(), state };
        self.push(&event, None);
    }

    fn announce_typing(&mut self, user: &User, active: bool, except: Option<u64>) {
        let event = Event::Typing { room: self.room(), user: user.clone(), active };
        self.push(&event, except);
    }

    fn room(&self) -> RoomName {
        self.name.clone()
    }

    fn push(&mut self, event: &Event, except: Option<u64>) {
        self.tail.push_event(RoomEvent { frame: event.encode(), is_entry: false, except });
        self.has_news = true;
    }
}
