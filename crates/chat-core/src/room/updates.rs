use std::collections::BTreeMap;

use crate::sync::Mutex;
use crate::{RoomName, Unread, User};

/// The largest number of rooms with updates. It is more than a connection is in and follows by default.
const MAX_ROOMS: usize = 512;

/// The updates for one connection that are not entries of rooms that it is in. Each room has the newest ones only.
#[derive(Debug, Default)]
#[expect(
    clippy::box_collection,
    reason = "few connections have updates at one time, and an empty box is smaller"
)]
pub(crate) struct Updates(Mutex<Option<Box<BTreeMap<RoomName, Update>>>>);

/// The updates of one room.
#[derive(Debug, Default)]
pub(crate) struct Update {
    /// The position to which another connection of the user has moved the marker.
    pub(crate) read: Option<u64>,
    /// False if another connection of the user no longer follows the room. True if it is a direct room that was
    /// opened.
    pub(crate) followed: Option<bool>,
    /// The unread messages of a followed room, and the other user of a direct room.
    pub(crate) activity: Option<Box<(Unread, Option<User>)>>,
    /// True if the room has changed since the activity was counted.
    pub(crate) is_stale: bool,
}

impl Updates {
    /// Changes the updates of a room. If too many rooms have updates, a new one is dropped: a client can ask again.
    pub(super) fn change(&self, room: &RoomName, change: impl FnOnce(&mut Update)) {
        let mut rooms = self.0.lock();
        let rooms = rooms.get_or_insert_default();
        if rooms.len() < MAX_ROOMS || rooms.contains_key(room) {
            change(rooms.entry(room.clone()).or_default());
        }
    }

    /// Returns true if the connection has taken the last activity of a room. Otherwise, records that there is more.
    pub(super) fn takes_activity(&self, room: &RoomName) -> bool {
        match self.0.lock().as_mut().and_then(|rooms| rooms.get_mut(room)) {
            Some(update) if update.activity.is_some() => {
                update.is_stale = true;
                false
            }
            _ => true,
        }
    }

    /// Forgets that another connection of the user no longer follows a room.
    pub(super) fn forget_unfollowed(&self, room: &RoomName) {
        if let Some(update) = self.0.lock().as_mut().and_then(|rooms| rooms.get_mut(room)) {
            update.followed = update.followed.filter(|followed| *followed);
        }
    }

    /// Takes all updates, if there are any.
    pub(crate) fn take(&self) -> Option<BTreeMap<RoomName, Update>> {
        self.0.lock().take().map(|rooms| *rooms)
    }
}
