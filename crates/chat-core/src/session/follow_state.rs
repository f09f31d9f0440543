//! Changes of the rooms that a user follows, if they come from another node or from another user.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::reads::ReadQueues;
use super::registry::Sessions;
use crate::room::{Backoff, READ_PAUSE, Rooms, within};
use crate::sync::spawn;
use crate::{MarkerError, RoomName, UserKey};

/// The maximum number of changes of one user that wait. By default, a connection gets the activity of fewer rooms.
const MAX_CHANGES: usize = 1_024;

/// The changes that the connections of users do not know yet: a room, and true if the user follows it. A task notifies
/// the connections of each of these users.
#[derive(Debug, Default)]
pub(super) struct FollowChanges(Mutex<HashMap<UserKey, BTreeSet<(RoomName, bool)>>>);

impl FollowChanges {
    /// Adds a change. Returns true if no task notifies the connections of the user. If too many changes wait, it is
    /// dropped: a connection learns of it when it asks for its rooms again.
    fn add(&self, user: &UserKey, change: (RoomName, bool)) -> bool {
        let mut users = self.0.lock();
        let has_task = users.contains_key(user);
        let changes = users.entry(user.clone()).or_default();
        if changes.len() < MAX_CHANGES {
            changes.insert(change);
        }
        !has_task
    }

    /// Takes the changes of a user. `None` if there are none, or if the user has no connection here: then the task
    /// ends.
    fn take(&self, user: &UserKey, sessions: &Sessions) -> Option<BTreeSet<(RoomName, bool)>> {
        let mut users = self.0.lock();
        let changes = users.get_mut(user).map(std::mem::take).unwrap_or_default();
        if changes.is_empty() || sessions.inboxes(user).is_empty() {
            // Under the same lock: a change in between would find a task that has ended.
            users.remove(user);
            return None;
        }
        Some(changes)
    }

    /// Puts back changes that were taken, as long as there is space beside those that came meanwhile.
    fn put_back(&self, user: &UserKey, taken: BTreeSet<(RoomName, bool)>) {
        let mut users = self.0.lock();
        let changes = users.entry(user.clone()).or_default();
        let space = MAX_CHANGES.saturating_sub(changes.len());
        changes.extend(taken.into_iter().take(space));
    }
}

/// The task that notifies the connections of a user.
struct Notifier {
    sessions: Arc<Sessions>,
    rooms: Arc<Rooms>,
    reads: Arc<ReadQueues>,
    user: UserKey,
    /// True if no change is left.
    done: bool,
}

impl Sessions {
    /// Notifies the connections of a user that the user follows a room, or no longer follows it, if the store has the
    /// same state. The change may be late, and the user may have made another one since. A store that fails is asked
    /// again until it works.
    pub(crate) fn announce_follow(
        self: &Arc<Self>,
        rooms: &Arc<Rooms>,
        reads: &Arc<ReadQueues>,
        (user, room, on): (UserKey, RoomName, bool),
    ) {
        let Ok(runtime) = Handle::try_current() else { return };
        if self.inboxes(&user).is_empty() || !self.follow_changes.add(&user, (room, on)) {
            return;
        }
        let (sessions, rooms, reads) = (Arc::clone(self), Arc::clone(rooms), Arc::clone(reads));
        // Nobody waits for it, so the time of an answer does not tell if another user is connected.
        spawn(&runtime, Notifier { sessions, rooms, reads, user, done: false }.run());
    }
}

impl Notifier {
    async fn run(mut self) {
        let mut backoff = Backoff::new(READ_PAUSE);
        while let Some(changes) = self.sessions.follow_changes.take(&self.user, &self.sessions) {
            if self.notify(&changes).await {
                backoff.reset();
            } else {
                self.sessions.follow_changes.put_back(&self.user, changes);
                sleep(backoff.next_pause()).await;
            }
        }
        self.done = true;
    }

    /// Notifies the connections of these changes. Returns false if the store has failed.
    async fn notify(&self, changes: &BTreeSet<(RoomName, bool)>) -> bool {
        // In turn with the commands of the user, which notify the connections too.
        let Ok(_turn) = self.reads.count(self.user.clone()).await else { return false };
        let followed = match within(&self.rooms, self.rooms.store.followed(&self.user)).await {
            Ok(followed) => followed,
            // In such a store, nobody follows a room.
            Err(MarkerError::Unsupported) => return true,
            Err(_) => return false,
        };
        for (room, on) in changes.iter().filter(|(room, on)| followed.contains(room) == *on) {
            self.sessions.inboxes(&self.user).iter().for_each(|inbox| inbox.note_follow(room, *on));
        }
        true
    }
}

impl Drop for Notifier {
    // If the runtime of the task has ended, or the store has panicked, the next change starts another one.
    fn drop(&mut self) {
        if !self.done {
            self.sessions.follow_changes.0.lock().remove(&self.user);
        }
    }
}
