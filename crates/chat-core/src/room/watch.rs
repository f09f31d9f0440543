//! The activity of rooms, for connections of users who follow a room and are not in it.
//!
//! One task for each such room counts the unread messages of its followers, at most once per second. The connections
//! only take the results.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

use crate::fair_queue::NoTurn;
use crate::room::{Inbox, LiveRoom, NotOpened, Rooms, ask, unix_millis, wake_all, within};
use crate::stats::count;
use crate::sync::{Mutex, spawn};
use crate::{
    Action, Authorize, CommitSink, ErrorCode, Marked, MarkerError, Right, Role, Room, RoomName, RoomRules,
    Standing, Unavailable, Unread, User, UserKey,
};

/// Time between two counts of the unread messages of one user in one room.
const INTERVAL: Duration = Duration::from_secs(1);

/// Counts for all rooms at once. They leave most of the reads of a store to the commands of users.
const MAX_COUNTS: usize = 2;

/// The connections that get the activity of rooms, by room and user.
#[derive(Debug)]
pub(super) struct Watchers {
    /// The number of rooms, which each commit reads.
    count: AtomicUsize,
    // Nothing is awaited, and no other lock is taken, while this is held.
    rooms: Mutex<HashMap<RoomName, Watched>>,
    turns: Semaphore,
}

#[derive(Debug)]
struct Watched {
    users: HashMap<UserKey, Vec<Arc<Watcher>>>,
    /// True if the room has entries that were not counted.
    is_dirty: bool,
    /// The connections for which entries were not counted, because they had not taken the activity before.
    behind: Vec<Arc<Watcher>>,
    /// True while a task counts, or waits to count again.
    is_counting: bool,
    /// The runtime of a connection. A store may report from a thread that has none.
    runtime: Handle,
}

/// A connection that gets the activity of rooms.
pub(crate) struct Watcher {
    user: User,
    inbox: Arc<Inbox>,
    authorize: Mutex<Option<Arc<dyn Authorize>>>,
}

/// The task that counts the unread messages of the followers of a room.
struct Counter {
    rooms: Weak<Rooms>,
    room: RoomName,
    /// True if the room needs the task no longer.
    done: bool,
}

/// The log of a room: of one that is open, or of one that is opened for a single call. The call does not open the room
/// for members, which would need the users of other nodes, and would count as a use of the room.
enum OneLog {
    OfRoom(Arc<LiveRoom>),
    Opened(Arc<dyn Room>),
}

impl Watcher {
    pub(crate) fn new(user: User, inbox: Arc<Inbox>) -> Self {
        Self { user, inbox, authorize: Mutex::default() }
    }

    /// Sets the rights of the connection, which a `hello` may replace.
    pub(crate) fn set_rights(&self, authorize: Option<Arc<dyn Authorize>>) {
        *self.authorize.lock() = authorize;
    }

    /// Returns the role that the host gives the user, or `None` if the host forbids to join the room or cannot decide.
    async fn granted(&self, rooms: &Rooms, room: &RoomName) -> Option<Role> {
        let Some(authorize) = self.authorize.lock().clone() else { return Some(Role::None) };
        let asked = async {
            authorize.authorize(&self.user, room, &Action::Join).await?;
            authorize.role(&self.user, room).await
        };
        ask(rooms, asked).await.ok()
    }

    /// Returns false if the host forbids that the user is in a direct room with this one, or cannot decide.
    async fn may_be_with(&self, rooms: &Rooms, room: &RoomName, with: Option<&User>) -> bool {
        let authorize = self.authorize.lock().clone();
        let (Some(authorize), Some(with)) = (authorize, with) else { return true };
        let action = Action::Direct { with: with.id() };
        ask(rooms, async { authorize.authorize(&self.user, room, &action).await }).await.is_ok()
    }
}

impl Default for Watchers {
    fn default() -> Self {
        let (count, rooms) = Default::default();
        Self { count, rooms, turns: Semaphore::new(MAX_COUNTS) }
    }
}

impl Rooms {
    /// Begins to send the activity of a room to a connection.
    pub(crate) fn watch(&self, room: &RoomName, watcher: &Arc<Watcher>) {
        let mut rooms = self.watchers.rooms.lock();
        let watched = rooms.entry(room.clone()).or_insert_with(|| {
            self.watchers.count.fetch_add(1, Ordering::Relaxed);
            let runtime = Handle::current();
            let (users, behind) = (HashMap::new(), Vec::new());
            Watched { users, is_dirty: false, behind, is_counting: false, runtime }
        });
        watched.users.entry(watcher.user.key()).or_default().push(Arc::clone(watcher));
    }

    /// Ends to send the activity of a room to a connection.
    pub(crate) fn unwatch(&self, room: &RoomName, watcher: &Arc<Watcher>) {
        let mut rooms = self.watchers.rooms.lock();
        let Some(watched) = rooms.get_mut(room) else { return };
        watched.behind.retain(|other| !Arc::ptr_eq(other, watcher));
        let user = watcher.user.key();
        if let Some(watchers) = watched.users.get_mut(&user) {
            watchers.retain(|other| !Arc::ptr_eq(other, watcher));
            if watchers.is_empty() {
                watched.users.remove(&user);
            }
        }
        // A task that counts removes the room at its end, so that its followers are not counted again too early.
        if watched.users.is_empty() && !watched.is_counting {
            rooms.remove(room);
            self.watchers.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Records that a room has new entries.
    pub(crate) fn note_activity(self: &Arc<Self>, room: &RoomName) {
        if self.watchers.count.load(Ordering::Relaxed) > 0 {
            self.count_after(room, |watched| watched.is_dirty = true);
        }
    }

    /// Records that a connection which watches the room has taken the activity, and that there is more.
    pub(crate) fn note_behind(self: &Arc<Self>, room: &RoomName, watcher: &Arc<Watcher>) {
        self.count_after(room, |watched| {
            if !watched.behind.iter().any(|other| Arc::ptr_eq(other, watcher)) {
                watched.behind.push(Arc::clone(watcher));
            }
        });
    }

    /// Records that a task must count in a room, for all followers or for some, and starts the task, unless it runs.
    fn count_after(self: &Arc<Self>, room: &RoomName, change: impl FnOnce(&mut Watched)) {
        let runtime = {
            let mut rooms = self.watchers.rooms.lock();
            let Some(watched) = rooms.get_mut(room) else { return };
            change(watched);
            if std::mem::replace(&mut watched.is_counting, true) {
                return;
            }
            Handle::try_current().unwrap_or_else(|_| watched.runtime.clone())
        };
        let counter = Counter { rooms: Arc::downgrade(self), room: room.clone(), done: false };
        spawn(&runtime, counter.run());
    }

    /// Returns the followers of a room for which entries were not counted, by user, or `None` if its task must end.
    fn followers(&self, room: &RoomName) -> Option<Vec<Vec<Arc<Watcher>>>> {
        let mut rooms = self.watchers.rooms.lock();
        let watched = rooms.get_mut(room)?;
        let behind = std::mem::take(&mut watched.behind);
        if watched.is_dirty && !watched.users.is_empty() {
            watched.is_dirty = false;
            return Some(watched.users.values().cloned().collect());
        }
        if !behind.is_empty() {
            let mut users: HashMap<_, Vec<_>> = HashMap::new();
            behind.into_iter().for_each(|watcher| users.entry(watcher.user.key()).or_default().push(watcher));
            return Some(users.into_values().collect());
        }
        // Under the same lock: an entry in between would find a task that counts no more.
        self.end_count_in(&mut rooms, room);
        None
    }

    /// Records that no task counts for a room.
    fn end_count(&self, room: &RoomName) {
        self.end_count_in(&mut self.watchers.rooms.lock(), room);
    }

    fn end_count_in(&self, rooms: &mut HashMap<RoomName, Watched>, room: &RoomName) {
        let Some(watched) = rooms.get_mut(room) else { return };
        watched.is_counting = false;
        if watched.users.is_empty() {
            rooms.remove(room);
            self.watchers.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Counts the unread messages of a user, for those connections of the user that have taken the last activity and
    /// may still join the room.
    async fn count_for(&self, room: &RoomName, watchers: Vec<Arc<Watcher>>) {
        let mut allowed = Vec::new();
        for watcher in watchers {
            if watcher.inbox.updates.takes_activity(room)
                && let Some(granted) = watcher.granted(self, room).await
            {
                allowed.push((watcher, granted));
            }
        }
        let Some(user) = allowed.first().map(|(watcher, _)| watcher.user.key()) else { return };
        // It may have to wait until the room is opened, in which time others are counted.
        let Ok(log) = self.one_log(room, &user).await else { return };
        // Before the reads of the store, of which there are two for a user however many connections there are.
        let Ok(turn) = self.watchers.turns.acquire().await else { return };
        let Ok((rules, standing)) = within(self, log.log().standing(&user)).await else { return };
        drop(turn);
        let now = unix_millis();
        allowed.retain(|(_, granted)| {
            rules.check(Right::Join, &rules.standing(&user, standing, *granted), now).is_ok()
        });
        let with = rules.other(&user);
        let mut watchers = Vec::new();
        for (watcher, _) in allowed {
            if watcher.may_be_with(self, room, with).await {
                watchers.push(watcher);
            }
        }
        if watchers.is_empty() {
            return;
        }
        let Ok(_turn) = self.watchers.turns.acquire().await else { return };
        let Ok(unread) = within(self, log.log().unread(&user, u64::MAX)).await else { return };
        let activity = (unread, with.cloned());
        for watcher in watchers {
            watcher.inbox.updates.change(room, |update| update.activity = Some(Box::new(activity.clone())));
            wake_all(watcher.inbox.waker.take());
        }
    }

    /// Counts the unread messages of a user in a room, up to an entry.
    pub(crate) async fn unread(
        &self,
        room: &RoomName,
        user: &UserKey,
        up_to: u64,
    ) -> Result<Unread, MarkerError> {
        let log = self.one_log(room, user).await?;
        within(self, log.log().unread(user, up_to)).await
    }

    /// Moves the marker of a user in a room.
    pub(crate) async fn mark(
        &self,
        room: &RoomName,
        user: &UserKey,
        seq: u64,
    ) -> Result<Marked, MarkerError> {
        let log = self.one_log(room, user).await?;
        within(self, log.log().mark(user, seq)).await
    }

    /// Returns the rules of a room, or `None` if they and the standing of the user do not allow the user to be in it.
    pub(crate) async fn rules_for(
        &self,
        room: &RoomName,
        user: &UserKey,
        granted: Role,
    ) -> Result<Option<RoomRules>, MarkerError> {
        let (rules, standing) = self.standing(room, user).await?;
        let standing = rules.standing(user, standing, granted);
        Ok(rules.check(Right::Join, &standing, unix_millis()).is_ok().then_some(rules))
    }

    /// Returns the other user of a direct room, `None` for other rooms. No room is opened.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::Forbidden`] if the user is not one of the two. The room looks like one that does not exist.
    pub(crate) async fn other_user(
        &self,
        room: &RoomName,
        user: &UserKey,
    ) -> Result<Option<User>, ErrorCode> {
        if !room.is_direct() {
            return Ok(None);
        }
        let (rules, _) = self.standing(room, user).await?;
        rules.other(user).cloned().map(Some).ok_or(ErrorCode::Forbidden)
    }

    /// Reads the rules of a room, and the standing that its log keeps for a user.
    pub(crate) async fn standing(
        &self,
        room: &RoomName,
        user: &UserKey,
    ) -> Result<(RoomRules, Standing), MarkerError> {
        let log = self.one_log(room, user).await?;
        Ok(within(self, log.log().standing(user)).await?)
    }

    async fn one_log(&self, room: &RoomName, user: &UserKey) -> Result<OneLog, MarkerError> {
        if let Some(room) = self.find(room) {
            return Ok(OneLog::OfRoom(room));
        }
        let turn = self.openings.turn(user.clone()).await;
        let _turn = turn.map_err(|NoTurn| {
            count(&self.counters.openings_refused);
            Unavailable::from(NotOpened::Busy)
        })?;
        let opened = self.store.open(room, &self.limits, CommitSink::new(|_| {}));
        Ok(OneLog::Opened(within(self, opened).await?))
    }
}

impl OneLog {
    fn log(&self) -> &dyn Room {
        match self {
            Self::OfRoom(room) => room.log(),
            Self::Opened(log) => &**log,
        }
    }
}

impl Counter {
    async fn run(mut self) {
        while let Some(next) = self.count().await {
            // No time passes under shuttle.
            if !cfg!(feature = "shuttle") {
                sleep_until(next).await;
            }
        }
        self.done = true;
    }

    /// Counts once. Returns the time of the next count, or `None` if there is none.
    async fn count(&self) -> Option<Instant> {
        let rooms = self.rooms.upgrade()?;
        let followers = rooms.followers(&self.room)?;
        let next = Instant::now() + INTERVAL;
        for watchers in followers {
            rooms.count_for(&self.room, watchers).await;
        }
        Some(next)
    }
}

impl Drop for Counter {
    // The runtime of the task has ended, or the store has panicked: the next entry starts another one.
    fn drop(&mut self) {
        if !self.done
            && let Some(rooms) = self.rooms.upgrade()
        {
            rooms.end_count(&self.room);
        }
    }
}

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watcher").field("user", &self.user).finish_non_exhaustive()
    }
}
