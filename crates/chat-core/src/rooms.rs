use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

use crate::live::LiveRoom;
use crate::{ErrorCode, Limits, Outlet, Room, RoomName};

/// How a room's log is made or found.
pub(crate) type OpenLog = dyn Fn(RoomName, Arc<Limits>, Outlet) -> Arc<dyn Room> + Send + Sync;

/// The rooms that this process has open.
pub(crate) struct Rooms {
    pub(crate) limits: Arc<Limits>,
    open_log: Box<OpenLog>,
    // Nothing is awaited while this is held.
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    rooms: HashMap<RoomName, Arc<LiveRoom>>,
    /// Whether a task is waiting to forget idle rooms.
    sweeping: bool,
}

impl Rooms {
    pub(crate) fn new(limits: Arc<Limits>, open_log: Box<OpenLog>) -> Self {
        Self { limits, open_log, open: Mutex::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.open.lock().rooms.len()
    }

    pub(crate) fn find(&self, name: &RoomName) -> Option<Arc<LiveRoom>> {
        self.open.lock().rooms.get(name).cloned()
    }

    /// The room of this name, opened if it is not open.
    pub(crate) fn open(self: &Arc<Self>, name: &RoomName) -> Result<Arc<LiveRoom>, ErrorCode> {
        let mut open = self.open.lock();
        if let Some(room) = open.rooms.get(name) {
            return Ok(Arc::clone(room));
        }
        if open.rooms.len() >= self.limits.max_open_rooms {
            return Err(ErrorCode::Unavailable);
        }
        let room = LiveRoom::open(name.clone(), &self.limits, |outlet| {
            (self.open_log)(name.clone(), Arc::clone(&self.limits), outlet)
        });
        open.rooms.insert(name.clone(), Arc::clone(&room));
        drop(open);
        // Nobody is in it yet, and perhaps nobody will be.
        self.sweep_later();
        Ok(room)
    }

    /// Sees to it that rooms which stay empty are forgotten.
    pub(crate) fn sweep_later(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if std::mem::replace(&mut self.open.lock().sweeping, true) {
            return;
        }
        let sweeper = Sweeper(Arc::downgrade(self));
        runtime.spawn(sweeper.run());
    }

    /// Forgets the rooms that have been empty for long enough; says when to look again.
    fn sweep(&self) -> Option<Instant> {
        let now = Instant::now();
        let idle = self.limits.room_idle;
        let mut next = None;
        let mut open = self.open.lock();
        open.rooms.retain(|_, room| {
            let Some(since) = room.idle_since() else {
                return true;
            };
            // Others hold the room while they use it; a new holder needs the lock held here.
            if since + idle <= now && Arc::strong_count(room) == 1 {
                return false;
            }
            next = Some(next.map_or(since, |next: Instant| next.min(since)));
            true
        });
        open.sweeping = next.is_some();
        // A tenth more than the time is left: so many rooms are looked at ten times, not once each.
        next.map(|since| (since + idle).max(now) + idle / 10)
    }
}

impl std::fmt::Debug for Rooms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rooms").field("open", &self.len()).finish_non_exhaustive()
    }
}

/// The task that forgets idle rooms. It lives while there are any.
struct Sweeper(std::sync::Weak<Rooms>);

impl Sweeper {
    async fn run(self) {
        while let Some(next) = self.next() {
            sleep_until(next).await;
        }
    }

    fn next(&self) -> Option<Instant> {
        self.0.upgrade()?.sweep()
    }
}

impl Drop for Sweeper {
    // Also when the runtime that it ran on ends: the next room that empties starts another.
    fn drop(&mut self) {
        if let Some(rooms) = self.0.upgrade() {
            rooms.open.lock().sweeping = false;
        }
    }
}
