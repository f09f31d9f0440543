use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{RoomName, Unavailable, User, UserKey};

/// Bytes of a node's name.
const MAX_NODE_BYTES: usize = 12;

/// The name of one server of a chat.
///
/// ```
/// use chat_core::{Chat, NodeId};
///
/// let node: NodeId = "eu-1".parse()?;
/// let chat = Chat::builder().node(node).build();
/// # drop(chat);
/// # Ok::<(), chat_core::InvalidNodeId>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(Arc<str>);

/// The error of a name that is not valid for a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of a node is 1 to 12 ASCII letters, digits and -, with a letter or digit first")]
pub struct InvalidNodeId;

impl NodeId {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns a name that no other node has.
    pub(crate) fn random() -> Self {
        let number = getrandom::u32().expect("the operating system always has random numbers once it is up");
        Self(format!("{number:08x}").into())
    }
}

impl std::str::FromStr for NodeId {
    type Err = InvalidNodeId;

    fn from_str(name: &str) -> Result<Self, InvalidNodeId> {
        let fits = (1..=MAX_NODE_BYTES).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if fits { Ok(Self(name.into())) } else { Err(InvalidNodeId) }
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A transport between the servers of one chat, for the notices that no log carries: presence, typing, and kicks.
///
/// A chat on one server needs no bus.
///
/// # Contract
///
/// - [`publish`](Self::publish) returns at once. It is called while a connection joins or leaves, also in `Drop`.
/// - A notice reaches each other node at least once, or [`BusSink::node_lost`] is called there. Notices of one node
///   about one user in one room arrive in order. The latest [`Notice::Presence`] is the state, so earlier ones may be
///   left out.
/// - A node does not receive its own notices.
///
/// # Examples
///
/// A bus to no other server:
///
/// ```
/// use chat_core::{Bus, BusSink, Chat, NodeId, Notice, RoomName, Unavailable, User};
///
/// struct Alone;
///
/// #[async_trait::async_trait]
/// impl Bus for Alone {
///     fn connect(&self, _node: &NodeId, _sink: BusSink) {}
///
///     fn publish(&self, node: &NodeId, notice: &Notice) {
///         println!("{node}: {notice:?}");
///     }
///
///     async fn roster(
///         &self,
///         _node: &NodeId,
///         _room: &RoomName,
///     ) -> Result<Vec<(NodeId, User, usize)>, Unavailable> {
///         Ok(Vec::new())
///     }
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

    /// Publishes a notice to the other nodes.
    fn publish(&self, node: &NodeId, notice: &Notice);

    /// Returns the users that other nodes have in a room, with the number of their connections. The chat calls it when
    /// it opens the room.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the users cannot be determined now. The room opens without them, and gets them from later
    /// notices.
    async fn roster(&self, node: &NodeId, room: &RoomName)
    -> Result<Vec<(NodeId, User, usize)>, Unavailable>;
}

/// A message between nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A user has this many connections in a room on the node that publishes the notice.
    Presence {
        /// The room.
        room: RoomName,
        /// The user.
        user: User,
        /// The number of connections; 0 if the last one has left.
        connections: usize,
    },
    /// A user started or stopped typing.
    Typing {
        /// The room.
        room: RoomName,
        /// The user.
        user: User,
        /// True if the user is typing.
        active: bool,
    },
    /// All connections of a user must be closed.
    Kick {
        /// The user.
        user: UserKey,
    },
}

/// A notice, or the loss of a node.
#[derive(Debug)]
pub(crate) enum Received<'a> {
    Notice(&'a NodeId, &'a Notice),
    NodeLost(&'a NodeId),
}

/// The receiver of the notices of a [`Bus`]. It may be called from any thread.
#[derive(Clone)]
pub struct BusSink(Arc<dyn Fn(Received<'_>) + Send + Sync>);

impl BusSink {
    pub(crate) fn new(receive: impl Fn(Received<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(receive))
    }

    /// Takes a notice of another node.
    pub fn receive(&self, from: &NodeId, notice: &Notice) {
        (self.0)(Received::Notice(from, notice));
    }

    /// Records that a node is lost. Its users leave the rooms on this node.
    pub fn node_lost(&self, node: &NodeId) {
        (self.0)(Received::NodeLost(node));
    }
}

impl fmt::Debug for BusSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusSink").finish_non_exhaustive()
    }
}
