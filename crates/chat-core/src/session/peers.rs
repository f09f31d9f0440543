use std::sync::Arc;

use super::registry::Sessions;
use crate::room::Inbox;
use crate::{RoomName, UserKey};

/// The other connections of the user of a session, on this node.
pub(super) struct Peers {
    pub(super) sessions: Arc<Sessions>,
    /// The inbox of the session itself.
    pub(super) inbox: Arc<Inbox>,
}

impl Peers {
    /// Tells the other connections that the marker of the user was moved.
    pub(super) fn announce_read(&self, user: &UserKey, room: &RoomName, seq: u64) {
        self.others(user).for_each(|inbox| inbox.note_read(room, seq));
    }

    /// Tells the other connections that the user no longer follows a room. If the user follows it, such an end that
    /// the session itself has not taken yet is of the past.
    pub(super) fn announce_follow(&self, user: &UserKey, room: &RoomName, on: bool) {
        if on {
            self.inbox.forget_unfollowed(room);
        } else {
            self.others(user).for_each(|inbox| inbox.note_follow(room, false));
        }
    }

    fn others(&self, user: &UserKey) -> impl Iterator<Item = Arc<Inbox>> {
        let inboxes = self.sessions.inboxes(user).into_iter();
        inboxes.filter(|inbox| !Arc::ptr_eq(inbox, &self.inbox))
    }
}
