//! The other nodes of the chat, and what this node knows of them.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::FutureExt;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::RoomName;
use crate::bus::{Bus, NodeId, Notice};
use crate::room::memory::unix_millis;
use crate::room::outbox::Outbox;
use crate::room::throttle::WarnThrottle;

/// The rooms in one request, and the rooms for which a node that has joined is asked at the same time.
pub(super) const MAX_ROOMS: usize = 100;

/// Requests to a node for its users in one room. After them, the users stay unknown until the node joins again.
const MAX_REQUESTS: usize = 5;

/// The other nodes of the chat, and the way to them.
pub(crate) struct Nodes {
    pub(crate) id: NodeId,
    bus: Option<Arc<dyn Bus>>,
    pub(super) outbox: Outbox,
    warnings: WarnThrottle,
    /// The version of the last state of this node. A restarted node continues with higher versions.
    version: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    joined: BTreeSet<NodeId>,
    /// The rooms whose users on some node are not known yet.
    awaited: HashMap<RoomName, Awaited>,
    /// The exchanges with nodes that have joined. One that is complete stays until the task that asks again looks at
    /// it, so that no other one begins right after it.
    exchanges: BTreeMap<NodeId, Exchange>,
    /// True while a task asks again.
    is_asking: bool,
    /// The runtime of the last room that was opened. A bus may call from a thread that has none.
    runtime: Option<Handle>,
}

#[derive(Debug, Default)]
struct Awaited {
    nodes: BTreeSet<NodeId>,
    requests: usize,
    /// Notified when all nodes have answered.
    answered: Arc<Notify>,
}

/// The exchange of rosters with a node: it is asked for its users in all open rooms, some rooms at a time.
#[derive(Debug, Default)]
struct Exchange {
    /// The rooms for which the node is asked later.
    left: Vec<RoomName>,
    /// The rooms for which the node was asked, and has not answered.
    asked: BTreeSet<RoomName>,
    /// True if the node has joined again meanwhile. Another exchange follows then.
    is_outdated: bool,
}

/// The requests that are due.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// The rooms to ask for, by node.
    pub(super) rooms: BTreeMap<NodeId, Vec<RoomName>>,
    /// The nodes with which another exchange begins.
    pub(super) exchanges: Vec<NodeId>,
}

impl Nodes {
    pub(crate) fn new(id: NodeId, bus: Option<Arc<dyn Bus>>) -> Self {
        let version = AtomicU64::new(unix_millis().saturating_mul(1_000));
        Self {
            id,
            bus,
            outbox: Outbox::default(),
            warnings: WarnThrottle::default(),
            version,
            state: Mutex::default(),
        }
    }

    /// Returns true if the chat has no bus.
    pub(crate) fn is_alone(&self) -> bool {
        self.bus.is_none()
    }

    /// Publishes a notice. A panic of the bus is caught, because a connection that leaves calls this in its drop.
    pub(crate) fn publish(&self, notice: &Notice) {
        let Some(bus) = &self.bus else { return };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| bus.publish(&self.id, notice))) {
            self.warn_of_panic(&*panic);
        }
    }

    /// Lets the bus tell the other nodes that this one leaves, within a time limit. After that, they notice the end of
    /// the node by themselves. A panic of the bus is caught.
    pub(crate) async fn disconnect(&self, limit: Duration) {
        let Some(bus) = &self.bus else { return };
        let disconnected = AssertUnwindSafe(async { bus.disconnect(&self.id).await }).catch_unwind();
        if let Ok(Err(panic)) = timeout(limit, disconnected).await {
            self.warn_of_panic(&*panic);
        }
    }

    fn warn_of_panic(&self, panic: &(dyn Any + Send)) {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        self.warnings.bus_panicked(&text.or_else(|| panic.downcast_ref().cloned()).unwrap_or_default());
    }

    pub(crate) fn next_version(&self) -> u64 {
        self.version.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn has_joined(&self, node: &NodeId) -> bool {
        self.state.lock().joined.contains(node)
    }

    pub(super) fn set_runtime(&self, runtime: Handle) {
        self.state.lock().runtime = Some(runtime);
    }

    pub(super) fn runtime(&self) -> Option<Handle> {
        Handle::try_current().ok().or_else(|| self.state.lock().runtime.clone())
    }

    /// Records that a node is reachable, and that its users are not known. Returns true if an exchange must begin. If
    /// one is in progress, another one follows it.
    pub(super) fn join(&self, node: &NodeId) -> bool {
        let mut state = self.state.lock();
        state.joined.insert(node.clone());
        if let Some(exchange) = state.exchanges.get_mut(node) {
            exchange.is_outdated = true;
            return false;
        }
        true
    }

    /// Begins an exchange about these rooms. Returns the rooms to ask for first.
    pub(super) fn begin_exchange(&self, node: &NodeId, rooms: Vec<RoomName>) -> Vec<RoomName> {
        let mut state = self.state.lock();
        if rooms.is_empty() || !state.joined.contains(node) {
            return Vec::new();
        }
        state.exchanges.insert(node.clone(), Exchange { left: rooms, ..Exchange::default() });
        state.next_rooms(node)
    }

    /// Records that a node is not reachable.
    pub(super) fn leave(&self, node: &NodeId) {
        let mut state = self.state.lock();
        state.joined.remove(node);
        state.exchanges.remove(node);
        state.awaited.retain(|_, awaited| !awaited.take_answer(node));
    }

    /// Records that the users of all nodes in a room are not known. Returns the notification of their answers, unless
    /// there is no other node.
    pub(super) fn await_roster(&self, room: &RoomName) -> Option<Arc<Notify>> {
        let mut state = self.state.lock();
        if state.joined.is_empty() {
            return None;
        }
        let nodes = state.joined.clone();
        let awaited = state.awaited.entry(room.clone()).or_default();
        awaited.nodes = nodes;
        awaited.requests = 0;
        Some(Arc::clone(&awaited.answered))
    }

    /// Records that the users of a node in a room are not known. Returns false if that is recorded already, or if the
    /// node is not reachable.
    pub(super) fn await_node(&self, node: &NodeId, room: &RoomName) -> bool {
        let mut state = self.state.lock();
        if !state.joined.contains(node) {
            return false;
        }
        state.awaited.entry(room.clone()).or_default().add(node)
    }

    pub(super) fn is_awaited(&self, room: &RoomName) -> bool {
        self.state.lock().awaited.contains_key(room)
    }

    /// Records that a node has answered for a room. Returns the rooms to ask it for next.
    pub(super) fn answered(&self, room: &RoomName, node: &NodeId) -> Vec<RoomName> {
        let mut state = self.state.lock();
        if state.awaited.get_mut(room).is_some_and(|awaited| awaited.take_answer(node)) {
            state.awaited.remove(room);
        }
        let exchange = state.exchanges.get_mut(node);
        let was_asked = exchange.is_some_and(|exchange| exchange.asked.remove(room));
        if was_asked { state.next_rooms(node) } else { Vec::new() }
    }

    /// Returns the requests that are due, or `None` if nothing is left to ask for. The task that asks then ends.
    pub(super) fn due(&self) -> Option<Due> {
        let mut state = self.state.lock();
        let State { awaited, exchanges, .. } = &mut *state;
        let mut due = Due::default();
        awaited.retain(|room, awaited| {
            awaited.requests += 1;
            let goes_on = awaited.requests < MAX_REQUESTS;
            for node in &awaited.nodes {
                if goes_on {
                    due.rooms.entry(node.clone()).or_default().push(room.clone());
                } else if let Some(exchange) = exchanges.get_mut(node) {
                    exchange.asked.remove(room);
                }
            }
            goes_on
        });
        exchanges.retain(|node, exchange| {
            let is_complete = exchange.left.is_empty() && exchange.asked.is_empty();
            if is_complete && exchange.is_outdated {
                due.exchanges.push(node.clone());
            }
            !is_complete
        });
        let nodes: Vec<_> = exchanges.keys().cloned().collect();
        for node in nodes {
            // After rooms for which the node does not answer, it is asked for the next ones.
            let next = state.next_rooms(&node);
            if !next.is_empty() {
                due.rooms.entry(node).or_default().extend(next);
            }
        }
        state.is_asking = !(due.rooms.is_empty() && due.exchanges.is_empty() && state.exchanges.is_empty());
        state.is_asking.then_some(due)
    }

    /// Returns true if a task must be started that asks again.
    pub(super) fn begin_asking(&self) -> bool {
        let mut state = self.state.lock();
        let has_requests = !(state.awaited.is_empty() && state.exchanges.is_empty());
        has_requests && !std::mem::replace(&mut state.is_asking, true)
    }

    /// Records that the task that asks has ended.
    pub(super) fn end_asking(&self) {
        self.state.lock().is_asking = false;
    }
}

impl State {
    /// Returns the next rooms of the exchange with a node, if no answer to the last ones is awaited.
    fn next_rooms(&mut self, node: &NodeId) -> Vec<RoomName> {
        let Some(exchange) = self.exchanges.get_mut(node).filter(|exchange| exchange.asked.is_empty()) else {
            return Vec::new();
        };
        let rooms = exchange.left.split_off(exchange.left.len().saturating_sub(MAX_ROOMS));
        exchange.asked.extend(rooms.iter().cloned());
        for room in &rooms {
            self.awaited.entry(room.clone()).or_default().add(node);
        }
        rooms
    }
}

impl Awaited {
    /// Adds a node that is asked now. Returns false if its answer is awaited already.
    fn add(&mut self, node: &NodeId) -> bool {
        self.requests = 0;
        self.nodes.insert(node.clone())
    }

    /// Returns true if this was the last answer.
    fn take_answer(&mut self, node: &NodeId) -> bool {
        let is_last = self.nodes.remove(node) && self.nodes.is_empty();
        if is_last {
            self.answered.notify_waiters();
        }
        is_last
    }
}
