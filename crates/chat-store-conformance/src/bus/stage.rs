use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chat_core::{Bus, BusEvent, BusSink, Chat, Limits, NodeId, NodeLimits, Notice, User};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::Fixture;
use crate::{Failure, TIME_LIMIT, TestChat, Verdict};

/// The value that a case works with: a bus of its own.
pub struct Stage {
    fixture: Box<dyn Fixture>,
}

impl Stage {
    pub(super) fn new(fixture: Box<dyn Fixture>) -> Self {
        Self { fixture }
    }

    /// Connects a node without a chat.
    pub async fn node(&self, name: &str) -> Node {
        self.node_with(name, |_, _| {}).await
    }

    /// Connects a node without a chat, which calls `react` with each notice.
    pub async fn node_with(
        &self,
        name: &str,
        react: impl Fn(&dyn Bus, &Notice) + Send + Sync + 'static,
    ) -> Node {
        let (bus, id) = (self.fixture.bus().await, node_id(name));
        let node = Node {
            id: id.clone(),
            bus: Arc::clone(&bus),
            heard: Arc::default(),
            news: Arc::default(),
            delay: Arc::default(),
        };
        let (heard, news) = (Arc::clone(&node.heard), Arc::clone(&node.news));
        let longest = Arc::clone(&node.delay);
        let sink_bus = Arc::clone(&bus);
        let sink = BusSink::new(move |event| {
            if let BusEvent::Notice(_, _, delay) = event {
                let mut longest = longest.lock();
                *longest = longest.max(delay);
            }
            heard.lock().extend(Heard::new(event));
            news.notify_waiters();
            if let BusEvent::Notice(_, notice, _) = event {
                react(&*sink_bus, notice);
            }
        });
        bus.connect(&id, sink);
        node
    }

    /// Connects nodes without chats, and waits until each knows all others.
    ///
    /// # Errors
    ///
    /// A failure if one does not hear of another.
    pub async fn nodes<const N: usize>(&self, names: [&str; N]) -> Result<Vec<Node>, Failure> {
        let mut nodes = Vec::new();
        for name in names {
            nodes.push(self.node(name).await);
        }
        for node in &nodes {
            for other in nodes.iter().filter(|other| other.id != node.id) {
                node.hears(&Heard::Joined(other.id.clone())).await?;
            }
        }
        Ok(nodes)
    }

    /// Returns a chat on a node of its own, with these limits.
    pub async fn chat(&self, name: &str, limits: NodeLimits) -> TestChat {
        let limits = Limits::default().with(|all| all.nodes = limits);
        let bus = self.fixture.bus().await;
        TestChat::from(Chat::builder().limits(limits).node(node_id(name)).bus(bus).build())
    }

    /// Separates a node from all others.
    pub async fn lose(&self, name: &str) {
        self.fixture.lose(&node_id(name)).await;
    }

    /// Connects a node again.
    pub async fn restore(&self, name: &str) {
        self.fixture.restore(&node_id(name)).await;
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").finish_non_exhaustive()
    }
}

/// A report that the sink of a [`Node`] got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A notice of a node.
    Notice(NodeId, Notice),
    /// A node has joined.
    Joined(NodeId),
    /// A node has left.
    Left(NodeId),
}

impl Heard {
    fn new(event: BusEvent<'_>) -> Option<Self> {
        match event {
            BusEvent::Notice(from, notice, _) => Some(Self::Notice(from.clone(), notice.clone())),
            BusEvent::NodeJoined(node) => Some(Self::Joined(node.clone())),
            BusEvent::NodeLeft(node) => Some(Self::Left(node.clone())),
            _ => None,
        }
    }
}

/// A node without a chat, which records all reports.
pub struct Node {
    id: NodeId,
    bus: Arc<dyn Bus>,
    heard: Arc<Mutex<Vec<Heard>>>,
    news: Arc<Notify>,
    delay: Arc<Mutex<Duration>>,
}

impl Node {
    /// Returns the node's name.
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// Returns the longest time for which a notice was on its way, as the bus says.
    pub fn longest_delay(&self) -> Duration {
        *self.delay.lock()
    }

    /// Publishes a notice.
    pub fn publish(&self, notice: &Notice) {
        self.bus.publish(&self.id, notice);
    }

    /// Leaves the others, within the limit.
    ///
    /// # Errors
    ///
    /// A failure if it takes longer.
    pub async fn disconnect(&self) -> Verdict {
        let disconnected = timeout(TIME_LIMIT, self.bus.disconnect(&self.id)).await;
        disconnected.map_err(|_| {
            Failure::new("a node that disconnects", format!("it does not within {TIME_LIMIT:?}"))
        })
    }

    /// Returns a function that publishes, for another thread.
    pub fn publisher(&self) -> impl Fn(&Notice) + Send + 'static {
        let (bus, id) = (Arc::clone(&self.bus), self.id.clone());
        move |notice| bus.publish(&id, notice)
    }

    /// Waits for a report.
    ///
    /// # Errors
    ///
    /// A failure if it does not come within the limit.
    pub async fn hears(&self, expected: &Heard) -> Verdict {
        let expectation = format!("{expected:?} on node {}", self.id);
        self.hears_all(&expectation, |heard| heard.contains(expected)).await
    }

    /// Waits until the reports are what is expected.
    ///
    /// # Errors
    ///
    /// A failure if they are not within the limit.
    pub async fn hears_all(&self, expectation: &str, mut holds: impl FnMut(&[Heard]) -> bool) -> Verdict {
        let wait = async {
            loop {
                let news = self.news.notified();
                if holds(&self.heard.lock()) {
                    return;
                }
                news.await;
            }
        };
        let waited = timeout(TIME_LIMIT, wait).await;
        waited
            .map_err(|_| Failure::new(expectation, format!("{:?} within {TIME_LIMIT:?}", self.last_heard())))
    }

    /// Forgets all reports.
    pub fn forget(&self) {
        self.heard.lock().clear();
    }

    /// Returns the reports so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().clone()
    }

    fn last_heard(&self) -> Vec<Heard> {
        let heard = self.heard.lock();
        heard[heard.len().saturating_sub(5)..].to_vec()
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("id", &self.id).finish_non_exhaustive()
    }
}

fn node_id(name: &str) -> NodeId {
    name.parse().expect("the suite has valid names of nodes")
}

/// Returns the notice that a user is typing.
pub(super) fn typing(name: &str) -> Notice {
    let user = User::new(name, name).expect("the suite has valid names of users");
    Notice::Typing { room: "lobby".parse().expect("a valid name"), user, active: true }
}
