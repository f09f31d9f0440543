use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;

use super::Shared;
use crate::address::{LineLimits, PlainConnections};
use crate::room::{CheckBody, MemoryStore, Rooms};
use crate::session::{Identities, ReadQueues, Returning, Sessions};
use crate::{Authorize, Bus, Chat, Limits, Message, NodeId, Store, Text};

/// A builder of a [`Chat`]. The default is a chat of guests who send text, with rooms in memory.
///
/// ```
/// use chat_core::{Chat, Limits, MemoryStore, Text};
///
/// let chat = Chat::builder()
///     .limits(Limits::default().with(|limits| limits.connection.max_rooms = 10))
///     .store(MemoryStore::default())
///     .messages::<Text>()
///     .build();
/// assert_eq!(chat.limits().connection.max_rooms, 10);
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    limits: Limits,
    store: Option<Arc<dyn Store>>,
    check_body: CheckBody,
    authorize: Option<Arc<dyn Authorize>>,
    node: Option<NodeId>,
    bus: Option<Arc<dyn Bus>>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            limits: Limits::default(),
            store: None,
            check_body: check::<Text>,
            authorize: None,
            node: None,
            bus: None,
        }
    }

    /// Sets the limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the store that keeps the rooms.
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Sets the type of messages that clients may send.
    pub fn messages<M: Message>(mut self) -> Self {
        self.check_body = check::<M>;
        self
    }

    /// Sets the host's decision about what a user may do in a room.
    pub fn authorize(mut self, authorize: impl Authorize) -> Self {
        self.authorize = Some(Arc::new(authorize));
        self
    }

    /// Sets the name of this server. It makes the ids of connections unique among several servers.
    pub fn node(mut self, node: NodeId) -> Self {
        self.node = Some(node);
        self
    }

    /// Sets the bus to the other servers of this chat. They share a store, and each has its own
    /// [`node`](Self::node).
    pub fn bus(mut self, bus: impl Bus) -> Self {
        self.bus = Some(Arc::new(bus));
        self
    }

    /// Returns the chat.
    pub fn build(self) -> Chat {
        let limits = Arc::new(self.limits.clamped());
        let store = self.store.unwrap_or_else(|| Arc::new(MemoryStore::default()));
        let name = self.node.clone().unwrap_or_else(NodeId::random);
        // On a single server, ids are plain numbers.
        let node = self.node.or_else(|| self.bus.is_some().then(|| name.clone()));
        let grace = self.bus.is_some().then_some(limits.nodes.leave_grace);
        let returning = Returning::new(&limits.http, grace);
        let sessions = Sessions::new(limits.connection.clone(), returning, node);
        let identities = Arc::new(Identities::new(limits.rates.user, self.authorize));
        let reads = Arc::new(ReadQueues::new(&limits.reads));
        let lines = LineLimits::new(limits.rates.log_lines);
        let plain = Arc::new(PlainConnections::new(&limits.connection, Arc::clone(&lines.closed)));
        let chat = Chat::new(Shared {
            limits: RwLock::new(Arc::clone(&limits)),
            rooms: Arc::new(Rooms::new(limits, store, self.check_body, (name.clone(), self.bus.clone()))),
            sessions: Arc::new(sessions),
            identities,
            reads,
            plain,
            lines,
            subscriptions: AtomicU64::new(u64::MAX),
            closing: OnceLock::new(),
        });
        if let Some(bus) = self.bus {
            bus.connect(&name, chat.bus_sink());
        }
        chat
    }
}

fn check<M: Message>(body: &serde_json::value::RawValue, limits: &Limits) -> Result<(), crate::BodyError> {
    let message = M::parse(body, limits)?;
    tracing::debug!(kind = message.kind(), "append");
    Ok(())
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("limits", &self.limits).finish_non_exhaustive()
    }
}
