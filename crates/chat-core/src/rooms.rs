use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

use crate::complaints::Complaints;
use crate::live::LiveRoom;
use crate::{CommitSink, ErrorCode, Limits, Room, RoomName};

/// When there are too many rooms, one of so many is forgotten at once, so that not every newcomer has to look for
/// one.
const EVICTED: usize = 16;

/// How a room's log is made or found.
pub(crate) type OpenLog = dyn Fn(RoomName, Arc<Limits>, CommitSink) -> Arc<dyn Room> + Send + Sync;

/// The rooms that this process has open.
pub(crate) struct Rooms {
    pub(crate) limits: Arc<Limits>,
    pub(crate) complaints: Complaints,
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
        Self { limits, complaints: Complaints::default(), open_log, open: Mutex::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.open.lock().rooms.len()
    }

    pub(crate) fn find(&self, name: &RoomName) -> Option<Arc<LiveRoom>> {
        self.open.lock().rooms.get(name).cloned()
    }

    /// The room of this name, opened if it is not open.
    pub(crate) fn open(self: &Arc<Self>, name: &RoomName) -> Result<Arc<LiveRoom>, ErrorCode> {
        if let Some(room) = self.find(name) {
            return Ok(room);
        }
        // Made without the lock: how a host makes its logs is its own affair. Of two made at once, one goes.
        let room = LiveRoom::open(name.clone(), &self.limits, |outlet| {
            (self.open_log)(name.clone(), Arc::clone(&self.limits), outlet)
        });
        let mut open = self.open.lock();
        let forgotten = if open.rooms.len() < self.limits.rooms.max_open {
            Vec::new()
        } else {
            open.longest_idle(self.limits.rooms.max_open / EVICTED + 1)
        };
        if open.rooms.len() >= self.limits.rooms.max_open {
            return Err(ErrorCode::Unavailable);
        }
        let room = Arc::clone(open.rooms.entry(name.clone()).or_insert(room));
        drop(open);
        drop(forgotten);
        // Nobody is in it yet, and perhaps nobody will be.
        self.sweep_later();
        Ok(room)
    }

    /// A connection has left a room: one that is empty is forgotten, at once or later.
    pub(crate) fn left(self: &Arc<Self>, room: &Arc<LiveRoom>) {
        if room.is_blank() {
            let mut open = self.open.lock();
            // Two holders are this call and the map: nobody else uses the room.
            let forgotten = (room.is_blank() && Arc::strong_count(room) == 2)
                .then(|| open.rooms.remove(room.name()))
                .flatten();
            drop(open);
            if forgotten.is_some() {
                return;
            }
        }
        self.sweep_later();
    }

    /// Sees to it that rooms which stay empty are forgotten.
    fn sweep_later(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else { return };
        if std::mem::replace(&mut self.open.lock().sweeping, true) {
            return;
        }
        runtime.spawn(Sweeper { rooms: Arc::downgrade(self), done: false }.run());
    }

    /// Forgets the rooms that have been empty for long enough; says when to look again.
    fn sweep(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut next = None;
        let mut open = self.open.lock();
        // Others hold the room while they use it; a new holder needs the lock held here.
        let forgotten: Vec<_> = open
            .rooms
            .extract_if(|_, room| {
                let Some(since) = room.idle_since() else { return false };
                let until =
                    since + if room.is_blank() { Duration::ZERO } else { self.limits.rooms.idle_timeout };
                let goes = until <= now && Arc::strong_count(room) == 1;
                if !goes {
                    next = Some(next.map_or(until, |next: Instant| next.min(until)));
                }
                goes
            })
            .collect();
        open.sweeping = next.is_some();
        drop(open);
        drop(forgotten);
        // A tenth more than the time is left: so many rooms are looked at ten times, not once each.
        next.map(|until| until.max(now) + (self.limits.rooms.idle_timeout / 10).max(Duration::from_millis(1)))
    }
}

impl Open {
    /// Takes out this many of the rooms that nobody uses, those first that nobody has used for the longest.
    fn longest_idle(&mut self, count: usize) -> Vec<Arc<LiveRoom>> {
        let unused = |room: &Arc<LiveRoom>| room.idle_since().filter(|_| Arc::strong_count(room) == 1);
        let mut idle: Vec<_> =
            self.rooms.iter().filter_map(|(name, room)| Some((unused(room)?, name.clone()))).collect();
        idle.sort_unstable();
        idle.into_iter().take(count).filter_map(|(_, name)| self.rooms.remove(&name)).collect()
    }
}

impl std::fmt::Debug for Rooms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rooms").field("open", &self.len()).finish_non_exhaustive()
    }
}

/// The task that forgets idle rooms. It lives while there are any.
struct Sweeper {
    rooms: Weak<Rooms>,
    /// Whether it has ended by itself, and said so.
    done: bool,
}

impl Sweeper {
    async fn run(mut self) {
        while let Some(next) = self.next() {
            sleep_until(next).await;
        }
        self.done = true;
    }

    fn next(&self) -> Option<Instant> {
        self.rooms.upgrade()?.sweep()
    }
}

impl Drop for Sweeper {
    // Where the runtime that it ran on has ended: the next room that empties starts another.
    fn drop(&mut self) {
        if !self.done
            && let Some(rooms) = self.rooms.upgrade()
        {
            rooms.open.lock().sweeping = false;
        }
    }
}
