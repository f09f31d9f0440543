use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use chat_proto::room::Room as RoomState;
use parking_lot::Mutex;

use crate::bus::{NodePresence, Notice};
use crate::room::granted::role_here;
use crate::room::{Rooms, Seat};
use crate::{Role, RoomName, User, UserKey};

/// The changes on their way to the bus: at most one state for each user in each room, however slow the bus is.
///
/// A change is queued under the lock of its room and published without it, so that the bus's code never runs under a
/// lock, and a later state never overtakes an earlier one.
#[derive(Debug, Default)]
pub(crate) struct Outbox(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    order: VecDeque<(RoomName, UserKey)>,
    changes: HashMap<(RoomName, UserKey), Change>,
    is_publishing: bool,
}

/// The last states of one user in one room.
#[derive(Debug)]
struct Change {
    user: User,
    presence: Option<(NodePresence, Role, u64)>,
    typing: Option<bool>,
}

impl Outbox {
    fn push(&self, room: &RoomName, user: &User, change: impl FnOnce(&mut Change)) {
        let mut queue = self.0.lock();
        let key = (room.clone(), user.key());
        if !queue.changes.contains_key(&key) {
            queue.order.push_back(key.clone());
        }
        let none = || Change { user: user.clone(), presence: None, typing: None };
        change(queue.changes.entry(key).or_insert_with(none));
    }

    /// Passes the queued notices to `publish`, which does not panic. If another thread is publishing, that thread
    /// publishes them.
    pub(crate) fn drain(&self, publish: impl Fn(&Notice)) {
        if std::mem::replace(&mut self.0.lock().is_publishing, true) {
            return;
        }
        while let Some((room, change)) = self.next() {
            let Change { user, presence, typing } = change;
            if let Some((state, role, version)) = presence {
                publish(&Notice::Presence { room: room.clone(), user: user.clone(), state, role, version });
            }
            if let Some(active) = typing {
                publish(&Notice::Typing { room, user, active });
            }
        }
    }

    fn next(&self) -> Option<(RoomName, Change)> {
        let mut queue = self.0.lock();
        let next = queue.order.pop_front();
        queue.is_publishing = next.is_some();
        let key = next?;
        let change = queue.changes.remove(&key)?;
        Some((key.0, change))
    }
}

impl Rooms {
    /// Queues the presence of a user on this node in a room, whose lock is held, if it has changed. The connection with
    /// this seat has entered, or has left.
    pub(super) fn announce_presence(
        &self,
        room: &RoomState<Arc<Seat>>,
        user: &User,
        seat: &Seat,
        has_entered: bool,
    ) {
        if self.nodes.is_alone() {
            return;
        }
        let connections = room.roster().local_connections(user);
        let is_first_or_last = connections == usize::from(has_entered);
        let state = match connections {
            0 if seat.has_left() => NodePresence::Left,
            0 => NodePresence::Disconnected,
            _ => NodePresence::Connected,
        };
        if seat.granted().protects() {
            // Another connection of the user may have a higher role.
            self.queue_presence(room, user, (state, role_here(room, user)));
        } else if is_first_or_last {
            self.queue_presence(room, user, (state, Role::None));
        }
    }

    /// Queues the presence and the role of a user on this node in a room, whose lock is held.
    pub(super) fn queue_presence(
        &self,
        room: &RoomState<Arc<Seat>>,
        user: &User,
        (state, role): (NodePresence, Role),
    ) {
        let version = self.nodes.next_version();
        self.nodes.outbox.push(room.name(), user, |change| change.presence = Some((state, role, version)));
    }

    /// Queues that a user started or stopped typing.
    pub(crate) fn announce_typing(&self, room: &RoomName, user: &User, active: bool) {
        if !self.nodes.is_alone() {
            self.nodes.outbox.push(room, user, |change| change.typing = Some(active));
        }
    }

    /// Publishes what is queued.
    pub(crate) fn publish_announced(&self) {
        if !self.nodes.is_alone() {
            self.nodes.outbox.drain(|notice| self.nodes.publish(notice));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn only_the_last_state_of_each_user_is_published() {
        let (outbox, room) = (Outbox::default(), "lobby".parse().unwrap());
        let users = ["ann", "bob"].map(|name| User::guest(name).unwrap());
        for version in 1..=1_000 {
            for user in &users {
                let presence = (NodePresence::Connected, Role::Owner, version);
                outbox.push(&room, user, |change| change.presence = Some(presence));
                outbox.push(&room, user, |change| change.typing = Some(version % 2 == 0));
            }
        }
        let published = RefCell::new(Vec::new());
        outbox.drain(|notice| {
            // A publication that comes from within another one is left to that one.
            outbox.drain(|_| panic!("two publications at once"));
            published.borrow_mut().push(notice.clone());
        });
        let expected = users.into_iter().flat_map(|user| {
            let (room, state, role, version) = (room.clone(), NodePresence::Connected, Role::Owner, 1_000);
            let typing = Notice::Typing { room: room.clone(), user: user.clone(), active: true };
            [Notice::Presence { room, user, state, role, version }, typing]
        });
        assert_eq!(published.into_inner(), expected.collect::<Vec<_>>());
        assert!(!outbox.0.lock().is_publishing);
    }
}
