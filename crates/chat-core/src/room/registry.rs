use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until};

use crate::bus::{Bus, NodeId};
use crate::room::LiveRoom;
use crate::room::departures::Departures;
use crate::room::nodes::Nodes;
use crate::room::opening::Opening;
use crate::room::repair::MAX_REPAIRS;
use crate::room::throttle::WarnThrottle;
use crate::{BodyError, Limits, RoomName, Store, Unavailable};

/// The divisor for the number of rooms that are closed at once when too many are open. Most further rooms then find
/// space.
const EVICTION_FRACTION: usize = 16;

/// The check of a message's body.
pub(crate) type CheckBody = fn(&RawValue, &Limits) -> Result<(), BodyError>;

/// The rooms that this process has open.
pub(crate) struct Rooms {
    pub(crate) limits: Arc<Limits>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) check_body: CheckBody,
    pub(crate) warnings: WarnThrottle,
    pub(crate) nodes: Nodes,
    pub(super) departures: Departures,
    /// True once the chat has drained, which ends subscriptions.
    pub(crate) drained: watch::Sender<bool>,
    /// The turns of reads for repairs.
    pub(super) repairs: Semaphore,
    // Nothing is awaited while this is held.
    pub(super) open: Mutex<Open>,
}

#[derive(Default)]
pub(super) struct Open {
    pub(super) rooms: HashMap<RoomName, Arc<LiveRoom>>,
    /// The rooms that are being opened.
    pub(super) opening: HashMap<RoomName, Opening>,
    /// True while a task waits to close idle rooms.
    sweeping: bool,
}

impl Rooms {
    pub(crate) fn new(
        limits: Arc<Limits>,
        store: Arc<dyn Store>,
        check_body: CheckBody,
        (node, bus): (NodeId, Option<Arc<dyn Bus>>),
    ) -> Self {
        let (warnings, departures, open) = (WarnThrottle::default(), Departures::default(), Mutex::default());
        let (nodes, drained) = (Nodes::new(node, bus), watch::Sender::new(false));
        let repairs = Semaphore::new(MAX_REPAIRS);
        Self { limits, store, check_body, warnings, nodes, departures, drained, repairs, open }
    }

    pub(crate) fn len(&self) -> usize {
        self.open.lock().rooms.len()
    }

    pub(crate) fn find(&self, name: &RoomName) -> Option<Arc<LiveRoom>> {
        self.open.lock().rooms.get(name).cloned()
    }

    /// Returns the names of the rooms that are open.
    pub(crate) fn names(&self) -> Vec<RoomName> {
        self.open.lock().rooms.keys().cloned().collect()
    }

    pub(super) fn open_rooms(&self) -> Vec<Arc<LiveRoom>> {
        self.open.lock().rooms.values().cloned().collect()
    }

    /// Enters a room into the map. Returns the room of its name, which another task may have entered before.
    pub(super) fn insert(self: &Arc<Self>, opened: &Arc<LiveRoom>) -> Result<Arc<LiveRoom>, Unavailable> {
        // Dropped after the lock, because the drop runs code of the store.
        let evicted: Vec<Arc<LiveRoom>>;
        {
            let mut open = self.open.lock();
            if let Some(room) = open.rooms.get(opened.name()) {
                return Ok(Arc::clone(room));
            }
            let max = self.limits.rooms.max_open;
            let excess = if open.rooms.len() < max { 0 } else { max / EVICTION_FRACTION + 1 };
            evicted = open.longest_idle(excess);
            if open.rooms.len() >= max {
                return Err(Unavailable::new("too many rooms are open"));
            }
            open.rooms.insert(opened.name().clone(), Arc::clone(opened));
        }
        drop(evicted);
        // The room has no member yet, and may never have one.
        self.sweep_later();
        Ok(Arc::clone(opened))
    }

    /// Records that a connection has left a room. An empty room is closed, at once or later.
    pub(crate) fn left(self: &Arc<Self>, room: &Arc<LiveRoom>) {
        if room.is_blank() {
            let mut open = self.open.lock();
            // The two holders are this call and the map, so the room is not in use.
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

    /// Starts the task that closes idle rooms, unless it runs.
    fn sweep_later(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else { return };
        if std::mem::replace(&mut self.open.lock().sweeping, true) {
            return;
        }
        runtime.spawn(Sweeper { rooms: Arc::downgrade(self), done: false }.run());
    }

    /// Closes the rooms that have been empty for long enough. Returns the time of the next check.
    fn sweep(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut next = None;
        let mut open = self.open.lock();
        // A room in use has another holder, and a new holder needs this lock.
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
        // The additional tenth lets one check close many rooms.
        next.map(|until| until.max(now) + (self.limits.rooms.idle_timeout / 10).max(Duration::from_millis(1)))
    }
}

impl Open {
    /// Removes this many of the rooms that are not in use, those with the longest idle time first.
    fn longest_idle(&mut self, count: usize) -> Vec<Arc<LiveRoom>> {
        if count == 0 {
            return Vec::new();
        }
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

/// The task that closes idle rooms. It runs while there are any.
struct Sweeper {
    rooms: Weak<Rooms>,
    /// True if it has ended by itself.
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
    // The runtime of the task has ended: the next room that becomes empty starts another one.
    fn drop(&mut self) {
        if !self.done
            && let Some(rooms) = self.rooms.upgrade()
        {
            rooms.open.lock().sweeping = false;
        }
    }
}
