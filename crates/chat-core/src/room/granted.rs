//! The roles that credentials and the host give to users of this node, on their way to the other nodes.
//!
//! They learn only of roles that [protect](Role::protects), with the presence of the user: of a few users in each room.

use std::collections::HashMap;
use std::sync::Arc;

use chat_proto::room::Room as RoomState;

use crate::bus::NodePresence;
use crate::room::{LiveRoom, Rooms, Seat};
use crate::{Role, User, UserKey};

/// Returns the highest role of the connections of a user in a room, if it protects.
pub(super) fn role_here(room: &RoomState<Arc<Seat>>, user: &User) -> Role {
    let key = user.key();
    let seats = room.members_of(user.id()).filter(|(known, _)| known.key() == key);
    seats.map(|(_, seat)| seat.granted()).filter(|role| role.protects()).max().unwrap_or_default()
}

/// Returns the roles of the users in a room that protect.
pub(super) fn roles_here(room: &RoomState<Arc<Seat>>) -> HashMap<UserKey, Role> {
    let mut roles = HashMap::<_, Role>::new();
    for (user, seat) in room.connections() {
        let granted = seat.granted();
        if granted.protects() {
            let role = roles.entry(user.key()).or_default();
            *role = granted.max(*role);
        }
    }
    roles
}

impl Rooms {
    /// Sets the role that the credentials and the host give a user on one connection in a room.
    pub(crate) fn set_granted(&self, room: &LiveRoom, user: &User, seat: &Seat, granted: Role) {
        let before = seat.granted();
        if before == granted {
            return;
        }
        if self.nodes.is_alone() || !(before.protects() || granted.protects()) {
            seat.set_granted(granted);
            return;
        }
        {
            // Under the lock of the room, so that the last version has the last role.
            let state = room.state();
            seat.set_granted(granted);
            // The connection may have left.
            if state.roster().local_connections(user) > 0 {
                self.queue_presence(&state, user, (NodePresence::Connected, role_here(&state, user)));
            }
        }
        self.publish_announced();
    }
}
