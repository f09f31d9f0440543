//! Markers that have moved, on their way to the members of the room and to the other nodes.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::bus::Notice;
use crate::room::{LiveRoom, Rooms};
use crate::{Marked, MarkerError, RoomName, User, UserKey};

/// Time between two notices about the activity of a room.
const INTERVAL: Duration = Duration::from_secs(1);

/// The rooms about whose activity the other nodes were told in the last [`INTERVAL`]. True if there are entries since.
#[derive(Debug, Default)]
pub(super) struct Announced(Mutex<HashMap<RoomName, bool>>);

/// The task that tells the other nodes about further activity of a room.
struct Announcer {
    rooms: Weak<Rooms>,
    room: RoomName,
    /// True if the room needs the task no longer.
    done: bool,
}

impl Rooms {
    /// Tells the members of a room, and the other nodes, that a user has moved the marker.
    pub(crate) async fn announce_read(
        &self,
        room: &RoomName,
        user: &User,
        marked: &Marked,
    ) -> Result<(), MarkerError> {
        let open = self.find(room);
        let receipt = self.allows_receipts(open.as_deref(), room, &user.key()).await?;
        let Marked { epoch, seq, .. } = marked;
        if let Some(open) = open.filter(|_| receipt) {
            open.receipt(epoch, user, *seq);
        }
        if !self.nodes.is_alone() {
            let (room, user, epoch, seq) = (room.clone(), user.clone(), epoch.clone(), *seq);
            self.nodes.publish(&Notice::Read { room, user, epoch, seq, receipt });
        }
        Ok(())
    }

    /// Returns true if the rules of a room allow receipts, and if it may have members who get them.
    async fn allows_receipts(
        &self,
        open: Option<&LiveRoom>,
        room: &RoomName,
        user: &UserKey,
    ) -> Result<bool, MarkerError> {
        let may_have = open.map_or(!self.nodes.is_alone(), LiveRoom::has_rules);
        Ok(may_have && self.standing(room, user).await?.0.receipts)
    }

    /// Tells the other nodes that a user no longer follows a room, or follows a direct room that was opened.
    pub(crate) fn announce_followed(&self, room: &RoomName, user: &UserKey, on: bool) {
        if !self.nodes.is_alone() {
            self.nodes.publish(&Notice::Followed { room: room.clone(), user: user.clone(), on });
        }
    }

    /// Tells the other nodes that this one has stored an entry of a room: they may have followers of it, and may not
    /// have it open. The notice comes before those that the caller publishes later.
    pub(super) fn announce_activity(self: &Arc<Self>, room: &RoomName) {
        if self.nodes.is_alone() {
            return;
        }
        let mut announced = self.announced.0.lock();
        if let Some(has_more) = announced.get_mut(room) {
            *has_more = true;
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        announced.insert(room.clone(), false);
        drop(announced);
        self.nodes.publish(&Notice::Activity { room: room.clone() });
        let announcer = Announcer { rooms: Arc::downgrade(self), room: room.clone(), done: false };
        runtime.spawn(announcer.run());
    }
}

impl Announcer {
    async fn run(mut self) {
        loop {
            sleep(INTERVAL).await;
            let Some(rooms) = self.rooms.upgrade() else { return };
            let mut announced = rooms.announced.0.lock();
            // Under the same lock: an entry in between would find a task that has ended.
            if !announced.get_mut(&self.room).is_some_and(std::mem::take) {
                announced.remove(&self.room);
                self.done = true;
                return;
            }
            drop(announced);
            rooms.nodes.publish(&Notice::Activity { room: self.room.clone() });
        }
    }
}

impl Drop for Announcer {
    // If the runtime of the task has ended, the next entry starts another one.
    fn drop(&mut self) {
        if !self.done
            && let Some(rooms) = self.rooms.upgrade()
        {
            rooms.announced.0.lock().remove(&self.room);
        }
    }
}
