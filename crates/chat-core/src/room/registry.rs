use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use hashlink::{LinkedHashMap, LinkedHashSet};
use serde_json::value::RawValue;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until};

use crate::bus::{Bus, NodeId};
use crate::room::blank::BlankRooms;
use crate::room::departures::Departures;
use crate::room::markers::Announced;
use crate::room::nodes::Nodes;
use crate::room::opening::Opening;
use crate::room::openings::Openings;
use crate::room::repair::MAX_REPAIRS;
use crate::room::throttle::WarnThrottle;
use crate::room::watch::Watchers;
use crate::room::{LiveRoom, MemoryBudget};
use crate::stats::Counters;
use crate::sync::Mutex;
use crate::{BodyError, Limits, RoomName, Store};

/// The number of rooms that one insertion looks at to close one. A room in use is passed over.
const EVICTION_ATTEMPTS: usize = 8;

/// The check of a message's body.
pub(crate) type CheckBody = fn(&RawValue, &Limits) -> Result<(), BodyError>;

/// The rooms that this process has open.
pub(crate) struct Rooms {
    pub(crate) limits: Arc<Limits>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) check_body: CheckBody,
    pub(crate) warnings: WarnThrottle,
    pub(crate) counters: Arc<Counters>,
    pub(crate) openings: Openings,
    pub(crate) nodes: Nodes,
    pub(super) departures: Departures,
    /// The rooms without messages that users are in.
    pub(super) blank: BlankRooms,
    pub(crate) budget: Arc<MemoryBudget>,
    /// True once the chat has drained, which ends subscriptions.
    pub(crate) drained: watch::Sender<bool>,
    /// The turns of reads for repairs.
    pub(super) repairs: Semaphore,
    pub(super) watchers: Watchers,
    pub(super) announced: Announced,
    // Nothing is awaited while this is held.
    pub(super) open: Mutex<Open>,
}

#[derive(Default)]
pub(super) struct Open {
    pub(super) rooms: HashMap<RoomName, Arc<LiveRoom>>,
    /// The rooms without members, with the times of their last uses: the room that was used last is at the back.
    idle: LinkedHashMap<RoomName, Instant>,
    /// The rooms that were opened since the last sweep. Those without a message are closed in the next one.
    fresh: LinkedHashSet<RoomName>,
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
        let (repairs, blank) = (Semaphore::new(MAX_REPAIRS), BlankRooms::new(&limits.rooms));
        let budget = Arc::new(MemoryBudget::new(limits.rooms.memory_bytes));
        let (counters, watchers, announced) = Default::default();
        let openings = Openings::new(&limits);
        Self {
            limits,
            store,
            check_body,
            warnings,
            counters,
            openings,
            nodes,
            departures,
            blank,
            budget,
            drained,
            repairs,
            watchers,
            announced,
            open,
        }
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
    ///
    /// If too many rooms have no members, those that were used longest ago are closed.
    pub(super) fn insert(self: &Arc<Self>, opened: &Arc<LiveRoom>) -> Arc<LiveRoom> {
        // Dropped after the lock, because the drop runs code of the store.
        let evicted: Vec<Arc<LiveRoom>>;
        {
            let mut open = self.open.lock();
            if let Some(room) = open.rooms.get(opened.name()) {
                return Arc::clone(room);
            }
            // Before the insertion, because the new room is in use.
            evicted = open.evict(self.limits.rooms.max_idle);
            let name = opened.name().clone();
            open.rooms.insert(name.clone(), Arc::clone(opened));
            open.fresh.insert(name.clone());
            open.idle.insert(name, Instant::now());
        }
        drop(evicted);
        // The room has no member yet, and may never have one.
        self.sweep_later();
        Arc::clone(opened)
    }

    /// Records that a room has a member, so that it is not idle.
    pub(crate) fn entered(&self, room: &LiveRoom) {
        let mut open = self.open.lock();
        // The member may have left again.
        if room.idle_since().is_none() {
            open.idle.remove(room.name());
        }
    }

    /// Records that a connection has left a room, or could not enter it. An empty room is closed, at once or later.
    pub(crate) fn left(self: &Arc<Self>, room: &Arc<LiveRoom>) {
        // Dropped after the lock, because the drop runs code of the store.
        let mut closed = None;
        let mut evicted = Vec::new();
        {
            let mut open = self.open.lock();
            let Some(since) = room.idle_since() else { return };
            // The two holders are this call and the map, so the room is not in use.
            if room.is_blank() && Arc::strong_count(room) == 2 {
                closed = open.remove(room.name());
            } else if open.rooms.get(room.name()).is_some_and(|known| Arc::ptr_eq(known, room)) {
                open.touch(room.name(), since);
                if room.is_blank() {
                    open.fresh.insert(room.name().clone());
                }
                evicted = open.evict(self.limits.rooms.max_idle);
            }
        }
        drop(evicted);
        if closed.is_none() {
            self.sweep_later();
        }
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
        let timeout = self.limits.rooms.idle_timeout;
        // Dropped after the lock, because the drop runs code of the store.
        let mut closed;
        let next;
        {
            let mut open = self.open.lock();
            closed = open.close_blank();
            closed.extend(open.close_idle(now, timeout));
            let is_waiting = (!open.fresh.is_empty()).then_some(now);
            next = is_waiting.or_else(|| open.idle.front().map(|(_, since)| *since + timeout));
            open.sweeping = next.is_some();
        }
        drop(closed);
        // The additional tenth lets one check close many rooms.
        next.map(|until| until.max(now) + (timeout / 10).max(Duration::from_millis(1)))
    }
}

impl Open {
    fn remove(&mut self, name: &RoomName) -> Option<Arc<LiveRoom>> {
        self.idle.remove(name);
        self.fresh.remove(name);
        self.rooms.remove(name)
    }

    /// Makes a room the last one to be closed of those without members.
    fn touch(&mut self, name: &RoomName, since: Instant) {
        self.idle.remove(name);
        self.idle.insert(name.clone(), since);
    }

    /// Returns a room that is open, and records its use.
    pub(super) fn find(&mut self, name: &RoomName) -> Option<Arc<LiveRoom>> {
        let room = Arc::clone(self.rooms.get(name)?);
        if let Some(since) = self.idle.to_back(name) {
            *since = Instant::now();
        }
        Some(room)
    }

    /// Removes rooms without members while there are more than `max`, in the order of their last uses.
    ///
    /// The time that this takes does not depend on the number of rooms. A room in use is passed over, because a new
    /// user of a room needs the lock that the caller holds.
    fn evict(&mut self, max: usize) -> Vec<Arc<LiveRoom>> {
        let mut evicted = Vec::new();
        for _ in 0..EVICTION_ATTEMPTS {
            if self.idle.len() <= max {
                break;
            }
            let Some((name, since)) = self.idle.pop_front() else { break };
            let Some(room) = self.rooms.get(&name) else { continue };
            if Arc::strong_count(room) > 1 {
                self.idle.insert(name, since);
            } else {
                evicted.extend(self.remove(&name));
            }
        }
        evicted
    }

    /// Removes the new rooms without members that have no message. A room in use stays for the next sweep.
    fn close_blank(&mut self) -> Vec<Arc<LiveRoom>> {
        let mut closed = Vec::new();
        for name in std::mem::take(&mut self.fresh) {
            let Some(room) = self.rooms.get(&name).filter(|room| room.is_blank()) else { continue };
            if Arc::strong_count(room) > 1 {
                self.fresh.insert(name);
            } else {
                closed.extend(self.remove(&name));
            }
        }
        closed
    }

    /// Removes the rooms that have been without members for `timeout`.
    fn close_idle(&mut self, now: Instant, timeout: Duration) -> Vec<Arc<LiveRoom>> {
        let mut closed = Vec::new();
        while let Some((name, since)) = self.idle.front().map(|(name, since)| (name.clone(), *since)) {
            if since + timeout > now {
                break;
            }
            let Some(room) = self.rooms.get(&name) else {
                self.idle.pop_front();
                continue;
            };
            match room.idle_since() {
                None => drop(self.idle.pop_front()),
                // It was used after it was put into this place.
                Some(used) if used + timeout > now => self.touch(&name, used),
                Some(_) if Arc::strong_count(room) > 1 => self.touch(&name, now),
                Some(_) => closed.extend(self.remove(&name)),
            }
        }
        closed
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
