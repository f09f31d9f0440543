mod node;
mod notice;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use node::{InvalidNodeId, NodeId};
pub use notice::{InvalidNotice, NodePresence, Notice, RosterEntry};

/// A transport between the servers of one chat, for the notices that no log carries: presence, typing, markers that
/// have moved, followed rooms, activity, and kicks.
///
/// A chat on one server needs no bus. A bus only moves notices. The chat itself merges presence, asks other nodes for
/// their users, and repairs what was lost while a node was not reachable.
///
/// # Contract
///
/// - **Publish.** [`publish`](Self::publish) returns at once. It is called on any thread, while a connection joins or
///   leaves, also in `Drop` and from within a call of the sink. If it panics, the chat logs that and goes on without
///   the notice.
/// - **Nodes.** The bus calls [`BusSink::node_joined`] for each other node that is reachable when this node connects,
///   and for each that becomes reachable later. It calls [`BusSink::node_left`] within seconds when a node is not
///   reachable any more. Notices from a node that has not joined are ignored, except kicks.
/// - **Loss.** While two nodes are joined, each notice of one reaches the other. If a notice may have been lost, for
///   example because a buffer was full, the bus calls [`BusSink::node_joined`] again, on both nodes. They exchange
///   their rosters then.
/// - **Order.** Notices may arrive late, in any order, and more than once. Typing ends by itself after
///   8 s, so a lost end is repaired. A repeated kick closes no new connection. Markers only move forward, so a client
///   ignores a lower one.
/// - **End.** After [`disconnect`](Self::disconnect), the bus calls [`BusSink::node_left`] on the other nodes at once.
/// - **Delay.** A bus that knows for how long a notice was on its way, at least, calls [`BusSink::receive_late`]. A
///   late kick then closes no connection that is newer. A time that is too long would let a kick miss connections.
/// - **Echo.** A node may receive its own notices. It ignores them.
///
/// # Examples
///
/// A bus to no other server:
///
/// ```
/// use chat_core::{Bus, BusSink, Chat, NodeId, Notice};
///
/// struct Alone;
///
/// #[chat_core::async_trait]
/// impl Bus for Alone {
///     fn connect(&self, _node: &NodeId, _sink: BusSink) {}
///
///     fn publish(&self, node: &NodeId, notice: &Notice) {
///         println!("{node}: {}", String::from_utf8_lossy(&notice.encode()));
///     }
///
///     async fn disconnect(&self, _node: &NodeId) {}
/// }
///
/// let chat = Chat::builder().node("eu-1".parse()?).bus(Alone).build();
/// # drop(chat);
/// # Ok::<(), chat_core::InvalidNodeId>(())
/// ```
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Starts to deliver the notices of other nodes to `sink`. The chat calls it once, when it is built.
    fn connect(&self, node: &NodeId, sink: BusSink);

    /// Publishes a notice of `node` to the other nodes, or to its [recipient](Notice::recipient).
    fn publish(&self, node: &NodeId, notice: &Notice);

    /// Tells the other nodes that `node` leaves, after the notices that it has published. Later ones have no effect,
    /// and neither has a repeated call.
    ///
    /// [`Chat::drain`](crate::Chat::drain) calls it when the last session has ended, or the time of the sessions is
    /// over, and waits for it, because the process may end then. It waits for one second at most.
    async fn disconnect(&self, node: &NodeId);
}

#[async_trait]
impl<B: Bus + ?Sized> Bus for Arc<B> {
    fn connect(&self, node: &NodeId, sink: BusSink) {
        (**self).connect(node, sink);
    }

    fn publish(&self, node: &NodeId, notice: &Notice) {
        (**self).publish(node, notice);
    }

    async fn disconnect(&self, node: &NodeId) {
        (**self).disconnect(node).await;
    }
}

/// A notice, or a change of the nodes that are reachable: what a [`BusSink`] takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BusEvent<'a> {
    /// A node has published a notice, at least this long ago.
    Notice(&'a NodeId, &'a Notice, Duration),
    /// A node is reachable, or notices of it may have been lost.
    NodeJoined(&'a NodeId),
    /// A node is not reachable any more.
    NodeLeft(&'a NodeId),
}

/// The receiver of the notices of a [`Bus`]. It may be called from any thread, and returns at once. After the chat has
/// ended, its calls have no effect.
#[derive(Clone)]
pub struct BusSink(Arc<dyn Fn(BusEvent<'_>) + Send + Sync>);

impl BusSink {
    /// Returns a sink that calls `receive`. A chat makes its own; this one is for tests of a bus.
    pub fn new(receive: impl Fn(BusEvent<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(receive))
    }

    /// Takes a notice of another node. It is not known for how long it was on its way.
    pub fn receive(&self, from: &NodeId, notice: &Notice) {
        self.receive_late(from, notice, Duration::ZERO);
    }

    /// Takes a notice that another node published at least this long ago.
    pub fn receive_late(&self, from: &NodeId, notice: &Notice, delay: Duration) {
        (self.0)(BusEvent::Notice(from, notice, delay));
    }

    /// Records that a node is reachable, or that notices of it may have been lost. This node then asks it for its
    /// users. A repeated call is harmless.
    pub fn node_joined(&self, node: &NodeId) {
        (self.0)(BusEvent::NodeJoined(node));
    }

    /// Records that a node is not reachable any more. Its users leave the rooms on this node, after
    /// [`NodeLimits::leave_grace`](crate::NodeLimits::leave_grace).
    pub fn node_left(&self, node: &NodeId) {
        (self.0)(BusEvent::NodeLeft(node));
    }
}

impl fmt::Debug for BusSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusSink").finish_non_exhaustive()
    }
}
