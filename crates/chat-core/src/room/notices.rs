//! The notices of other nodes about rooms, and the exchange of rosters.

use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::sleep;

use crate::bus::{BusEvent, NodeId, NodePresence, Notice, RosterEntry};
use crate::room::granted::roles_here;
use crate::room::nodes::MAX_ROOMS;
use crate::room::{LiveRoom, Rooms};
use crate::{RoomName, User, timer};

/// Time after which a node that has not answered is asked again.
const ASK_INTERVAL: Duration = Duration::from_secs(1);

impl Rooms {
    /// Takes the notices of other nodes about rooms.
    pub(crate) fn receive(self: &Arc<Self>, received: BusEvent<'_>) {
        match received {
            BusEvent::NodeJoined(node) if *node != self.nodes.id => self.node_joined(node),
            BusEvent::NodeLeft(node) => self.node_left(node),
            BusEvent::Notice(from, Notice::RosterRequest { to, rooms }, _) if *from != self.nodes.id => {
                if to.as_ref().is_none_or(|to| *to == self.nodes.id) {
                    rooms.iter().take(MAX_ROOMS).for_each(|room| self.publish_roster(from, room));
                }
            }
            BusEvent::Notice(from, notice, _) if self.nodes.has_joined(from) => {
                self.receive_state(from, notice);
            }
            BusEvent::Notice(..) | BusEvent::NodeJoined(_) => {}
        }
    }

    fn receive_state(self: &Arc<Self>, from: &NodeId, notice: &Notice) {
        let node = from.as_str();
        match notice {
            Notice::Presence { room, user, state, role, version } => {
                let Some(room) = self.find(room) else { return };
                self.change_roster(&room, |room| match state {
                    NodePresence::Connected => room.enter_remote(node, user, *role, *version),
                    _ => room.leave_remote(node, user, *version, *state == NodePresence::Left),
                });
                self.ask_if_uncertain(from, &room);
            }
            Notice::Typing { room, user, active } => {
                if let Some(room) = self.find(room) {
                    room.remote_typing(node, user, *active);
                }
            }
            Notice::Read { room, user, epoch, seq, receipt: true } => {
                if let Some(room) = self.find(room) {
                    room.receipt(epoch, user, *seq);
                }
            }
            Notice::Activity { room } => self.note_activity(room),
            Notice::Roster { to, room, users, version } if *to == self.nodes.id => {
                let open = self.find(room);
                if let Some(room) = &open {
                    let users = users.iter().map(|entry| (&entry.user, entry.role));
                    self.change_roster(room, |room| room.set_node(node, *version, users));
                }
                self.ask(from, &self.nodes.answered(room, from));
                if open.is_some_and(|room| self.await_if_uncertain(from, &room)) {
                    // The next answer may be as old, if the node counts wrongly.
                    self.ask_again_later();
                }
            }
            _ => {}
        }
    }

    fn node_joined(self: &Arc<Self>, node: &NodeId) {
        if self.nodes.join(node) {
            self.exchange(node);
        }
        self.ask_again_later();
    }

    /// Asks a node for its users in all open rooms. It is asked for some of them, and for the next ones after its
    /// answers: all answers at once would be more than the queues of a bus hold.
    fn exchange(&self, node: &NodeId) {
        self.ask(node, &self.nodes.begin_exchange(node, self.names()));
    }

    fn node_left(self: &Arc<Self>, node: &NodeId) {
        self.nodes.leave(node);
        for room in self.open_rooms() {
            self.change_roster(&room, |room| room.remove_node(node.as_str()));
        }
    }

    /// Asks a node for its users in a room if a state of the node came so late that it may be new or not.
    fn ask_if_uncertain(self: &Arc<Self>, node: &NodeId, room: &LiveRoom) {
        if self.await_if_uncertain(node, room) {
            self.ask(node, &[room.name().clone()]);
            self.ask_again_later();
        }
    }

    /// Records that the users of a node in a room are not known, if a state of the node may be new or not. Returns true
    /// if the node must be asked.
    fn await_if_uncertain(&self, node: &NodeId, room: &LiveRoom) -> bool {
        let is_uncertain = room.state().roster().is_uncertain(node.as_str());
        is_uncertain && self.nodes.await_node(node, room.name())
    }

    /// Asks the other nodes for their users in a room that was opened. Waits for them, but not for long.
    pub(super) async fn learn_roster(self: &Arc<Self>, room: &RoomName) {
        let Some(answered) = self.nodes.await_roster(room) else { return };
        let mut answered = pin!(answered.notified());
        answered.as_mut().enable();
        self.nodes.publish(&Notice::RosterRequest { to: None, rooms: vec![room.clone()] });
        if self.nodes.is_awaited(room) {
            self.ask_again_later();
            // Without all answers, the room opens with the users that are known.
            let _answered = timer::timeout(self.limits.nodes.roster_timeout, answered).await;
        }
    }

    fn ask(&self, node: &NodeId, rooms: &[RoomName]) {
        for rooms in rooms.chunks(MAX_ROOMS) {
            self.nodes.publish(&Notice::RosterRequest { to: Some(node.clone()), rooms: rooms.to_vec() });
        }
    }

    fn publish_roster(&self, to: &NodeId, name: &RoomName) {
        // Before the look at the room: users who enter meanwhile have a later version.
        let before = self.nodes.next_version();
        let (users, version) = self.find(name).map_or((Vec::new(), before), |room| {
            let state = room.state();
            let roles = roles_here(&state);
            let role = |user: &User| roles.get(&user.key()).copied().unwrap_or_default();
            let users =
                state.roster().local().map(|user| RosterEntry::new(user.clone(), role(user))).collect();
            // Under the lock of the room, like the versions of changes.
            (users, self.nodes.next_version())
        });
        self.nodes.publish(&Notice::Roster { to: to.clone(), room: name.clone(), users, version });
    }

    /// Starts the task that asks again, unless it runs or all nodes have answered.
    fn ask_again_later(self: &Arc<Self>) {
        if let Some(runtime) = self.nodes.runtime()
            && self.nodes.begin_asking()
        {
            runtime.spawn(Asking { rooms: Arc::downgrade(self), done: false }.run());
        }
    }
}

/// The task that asks the nodes again that have not answered.
struct Asking {
    rooms: Weak<Rooms>,
    /// True if it has ended by itself.
    done: bool,
}

impl Asking {
    async fn run(mut self) {
        loop {
            sleep(ASK_INTERVAL).await;
            let Some(rooms) = self.rooms.upgrade() else { return };
            let Some(due) = rooms.nodes.due() else {
                self.done = true;
                return;
            };
            due.rooms.iter().for_each(|(node, names)| rooms.ask(node, names));
            due.exchanges.iter().for_each(|node| rooms.exchange(node));
        }
    }
}

impl Drop for Asking {
    // If the runtime of the task has ended, the next request starts another one.
    fn drop(&mut self) {
        if !self.done
            && let Some(rooms) = self.rooms.upgrade()
        {
            rooms.nodes.end_asking();
        }
    }
}
