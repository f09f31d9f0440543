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

    /// Records that a node is reachable, and that its users in these rooms are not known.
    pub(super) fn join(&self, node: &NodeId, rooms: &[RoomName]) {
        let mut state = self.state.lock();
        state.joined.insert(node.clone());
        for room in rooms {
            let awaited = state.awaited.entry(room.clone()).or_default();
            awaited.nodes.insert(node.clone());
            awaited.requests = 0;
        }
    }

    /// Records that a node is not reachable.
    pub(super) fn leave(&self, node: &NodeId) {
        let mut state = self.state.lock();
        state.joined.remove(node);
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
        let awaited = state.awaited.entry(room.clone()).or_default();
        awaited.requests = 0;
        awaited.nodes.insert(node.clone())
    }

    pub(super) fn is_awaited(&self, room: &RoomName) -> bool {
        self.state.lock().awaited.contains_key(room)
    }

    /// Records that a node has answered for a room.
    pub(super) fn answered(&self, room: &RoomName, node: &NodeId) {
        let mut state = self.state.lock();
        if state.awaited.get_mut(room).is_some_and(|awaited| awaited.take_answer(node)) {
            state.awaited.remove(room);
        }
    }

    /// Returns the rooms to ask for again, by node, or `None` if there are none. The task that asks then ends.
    pub(super) fn unanswered(&self) -> Option<BTreeMap<NodeId, Vec<RoomName>>> {
        let mut state = self.state.lock();
        let mut by_node = BTreeMap::<_, Vec<_>>::new();
        state.awaited.retain(|room, awaited| {
            awaited.requests += 1;
            let goes_on = awaited.requests < MAX_REQUESTS;
            for node in awaited.nodes.iter().filter(|_| goes_on) {
                by_node.entry(node.clone()).or_default().push(room.clone());
            }
            goes_on
        });
        state.is_asking = !by_node.is_empty();
        state.is_asking.then_some(by_node)
    }

    /// Returns true if a task must be started that asks again.
    pub(super) fn begin_asking(&self) -> bool {
        let mut state = self.state.lock();
        !state.awaited.is_empty() && !std::mem::replace(&mut state.is_asking, true)
    }

    /// Records that the task that asks has ended.
    pub(super) fn end_asking(&self) {
        self.state.lock().is_asking = false;
    }
}

impl Awaited {
    /// Returns true if this was the last answer.
    fn take_answer(&mut self, node: &NodeId) -> bool {
        let is_last = self.nodes.remove(node) && self.nodes.is_empty();
        if is_last {
            self.answered.notify_waiters();
        }
        is_last
    }
}
