//! Changes of the rooms that a user follows, if they come from another node or from another user.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::reads::ReadQueues;
use super::registry::Sessions;
use crate::room::{Rooms, marker};
use crate::sync::spawn;
use crate::{RoomName, UserKey};

impl Sessions {
    /// Tells the connections of a user that the user follows a room, or no longer, if the store has it so. The news may
    /// be late, and the user may have changed it since.
    pub(crate) fn announce_follow(
        self: &Arc<Self>,
        rooms: &Arc<Rooms>,
        reads: &Arc<ReadQueues>,
        (user, room, on): (UserKey, RoomName, bool),
    ) {
        let Ok(runtime) = Handle::try_current() else { return };
        if self.inboxes(&user).is_empty() {
            return;
        }
        let (sessions, rooms, reads) = (Arc::clone(self), Arc::clone(rooms), Arc::clone(reads));
        // Nobody waits for it, so the time of an answer does not tell if another user is connected.
        spawn(&runtime, async move {
            // In turn with the commands of the user, which tell the connections too.
            let Ok(_turn) = reads.count(user.clone()).await else { return };
            let Ok(followed) = marker(&rooms, rooms.store.followed(&user)).await else { return };
            if followed.contains(&room) == on {
                sessions.inboxes(&user).iter().for_each(|inbox| inbox.note_follow(&room, on));
            }
        });
    }
}
