use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

use crate::bus::{Bus, Heard, NodeId, Notice};
use crate::room::LiveRoom;
use crate::room::throttle::WarnThrottle;
use crate::{BodyError, Limits, RoomName, Store, Unavailable};

/// When too many rooms are open, this fraction of them is closed at once, so that not every further room has to look
/// for one to close.
const EVICTION_FRACTION: usize = 16;

/// The check of a message's body.
pub(crate) type CheckBody = fn(&RawValue, &Limits) -> Result<(), BodyError>;

/// The rooms that this process has open.
pub(crate) struct Rooms {
    pub(crate) limits: Arc<Limits>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) check_body: CheckBody,
    pub(crate) node: NodeId,
    pub(crate) bus: Option<Arc<dyn Bus>>,
    pub(crate) warnings: WarnThrottle,
    // Nothing is awaited while this is held.
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    rooms: HashMap<RoomName, Arc<LiveRoom>>,
    /// Whether a task waits to close idle rooms.
    sweeping: bool,
}

impl Rooms {
    pub(crate) fn new(
        limits: Arc<Limits>,
        store: Arc<dyn Store>,
        check_body: CheckBody,
        (node, bus): (NodeId, Option<Arc<dyn Bus>>),
    ) -> Self {
        let (warnings, open) = (WarnThrottle::default(), Mutex::default());
        Self { limits, store, check_body, node, bus, warnings, open }
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

    /// Returns the room of this name, and opens it if it is not open.
    pub(crate) async fn open(self: &Arc<Self>, name: &RoomName) -> Result<Arc<LiveRoom>, Unavailable> {
        if let Some(room) = self.find(name) {
            return Ok(room);
        }
        // Opened without the lock, since a store may take its time. Of two rooms opened at once, one goes.
        let opened = LiveRoom::open(self, name).await?;
        let room = self.insert(name, opened)?;
        self.learn_roster(&room).await;
        Ok(room)
    }

    fn insert(self: &Arc<Self>, name: &RoomName, opened: LiveRoom) -> Result<Arc<LiveRoom>, Unavailable> {
        let mut open = self.open.lock();
        let closed = if open.rooms.len() < self.limits.rooms.max_open {
            Vec::new()
        } else {
            open.longest_idle(self.limits.rooms.max_open / EVICTION_FRACTION + 1)
        };
        if open.rooms.len() >= self.limits.rooms.max_open && !open.rooms.contains_key(name) {
            return Err(Unavailable::new("too many rooms are open"));
        }
        let room = Arc::clone(open.rooms.entry(name.clone()).or_insert_with(|| Arc::new(opened)));
        drop(open);
        drop(closed);
        // Nobody is in it yet, and perhaps nobody will be.
        self.sweep_later();
        Ok(room)
    }

    /// Learns who is in a room on other nodes.
    async fn learn_roster(&self, room: &LiveRoom) {
        let Some(bus) = &self.bus else { return };
        if let Ok(users) = super::within(self, bus.roster(&self.node, room.name())).await {
            room.change(|state| {
                for (node, user, connections) in &users {
                    state.set_remote(node.as_str(), user, *connections);
                }
            });
        }
    }

    /// Takes what the bus brings about rooms.
    pub(crate) fn hear(&self, heard: &Heard<'_>) {
        match heard {
            Heard::Notice(node, Notice::Presence { room, user, connections }) => {
                if let Some(room) = self.find(room) {
                    room.change(|state| state.set_remote(node.as_str(), user, *connections));
                }
            }
            Heard::Notice(_, Notice::Typing { room, user, active }) => {
                if let Some(room) = self.find(room) {
                    room.change(|state| state.remote_typing(user, *active));
                }
            }
            Heard::Notice(_, Notice::Kick { .. }) => {}
            Heard::NodeLost(node) => {
                let rooms: Vec<_> = self.open.lock().rooms.values().cloned().collect();
                for room in rooms {
                    room.change(|state| state.remove_node(node.as_str()));
                }
            }
        }
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
