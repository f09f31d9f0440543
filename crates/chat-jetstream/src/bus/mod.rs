//! A bus between the servers of a chat, on the same servers of NATS.

mod clock;
mod exchanges;
mod kicks;
mod packet;
mod parts;
mod peer;
mod task;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_nats::Client;
use async_trait::async_trait;
use chat_core::{Bus, BusSink, NodeId, Notice};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::life::is_chat_name;
use crate::node::Connection;
use crate::{OpenError, Options};

pub(crate) use self::clock::Clock;
use self::task::Task;

/// The notices that wait to be sent. Further ones are lost, and the other nodes ask for the users of this one.
const MAX_WAITING: usize = 16 * 1024;

/// A notice that waits to be sent, with the time at which it was published.
type Waiting = (Duration, Notice);

/// The bus of a chat on several servers, over the servers of NATS. It needs no stream.
///
/// Each notice has a number, so that a node notices a lost one. Then both nodes exchange their users, at most once per
/// second. Each node gives a sign of life every second. It has left if there was none for 4 s, or when its chat has
/// drained.
///
/// Each message has the time at which it was published, by a clock of the node that begins with the bus. So the bus
/// tells for how long a notice was on its way, compared with the fastest of the last messages of its node, whatever
/// time the machines have. A kick is sent 0.6 s after it was published, after two signs of life: they show the others
/// if the clock of the node has stood still before.
///
/// ```no_run
/// use chat_core::Chat;
/// use chat_jetstream::{JetStreamStore, NatsBus, Options};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let servers = "nats://n1:4222,nats://n2:4222,nats://n3:4222";
/// let bus = NatsBus::open(servers, &Options::default()).await?;
/// let store = JetStreamStore::open(servers, Options::default()).await?;
/// let chat = Chat::builder().node("eu-1".parse()?).store(store).bus(bus).build();
/// # drop(chat);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct NatsBus {
    client: Client,
    connection: Arc<Connection>,
    /// The first part of each subject.
    prefix: String,
    /// The runtime in which the bus was opened.
    runtime: Handle,
    /// The beginning of the time of this node.
    started: Instant,
    /// The queue of the notices. `None` is the end: the node leaves.
    notices: mpsc::Sender<Option<Waiting>>,
    /// The number of notices for which there was no place.
    refused: Arc<AtomicU64>,
    /// The number of other nodes that are reachable.
    others: Arc<AtomicU64>,
    /// The other end of the queue, until a node connects.
    waiting: Mutex<Option<mpsc::Receiver<Option<Waiting>>>>,
}

impl NatsBus {
    /// Connects to one of the servers with these addresses, separated by commas. The bus uses
    /// [`Options::stream`] as the first part of its subjects, and [`Options::connect`].
    ///
    /// It must be called in a runtime of tokio, in which the bus then runs.
    ///
    /// # Errors
    ///
    /// [`OpenError::InvalidName`] and [`OpenError::Unreachable`].
    pub async fn open(servers: &str, options: &Options) -> Result<Self, OpenError> {
        if !is_chat_name(&options.stream) {
            return Err(OpenError::InvalidName);
        }
        let opened = Connection::open(servers, options.connect.clone()).await;
        let (client, connection) = opened.map_err(|error| OpenError::unreachable(servers, &error))?;
        let (notices, waiting) = mpsc::channel(MAX_WAITING);
        Ok(Self {
            client,
            connection,
            prefix: format!("{}.b", options.stream),
            runtime: Handle::current(),
            started: Instant::now(),
            notices,
            refused: Arc::default(),
            others: Arc::default(),
            waiting: Mutex::new(Some(waiting)),
        })
    }

    /// Returns the number of other servers of the chat that are reachable.
    pub fn other_nodes(&self) -> u64 {
        self.others.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Bus for NatsBus {
    fn connect(&self, node: &NodeId, sink: BusSink) {
        let Some(waiting) = self.waiting.lock().take() else { return };
        let (client, connection) = (self.client.clone(), Arc::clone(&self.connection));
        let others = Arc::clone(&self.others);
        let names = (self.prefix.clone(), node.clone());
        let task = Task::new(client, connection, self.started, names, (sink, others));
        self.runtime.spawn(task.run(waiting, Arc::clone(&self.refused)));
    }

    fn publish(&self, _node: &NodeId, notice: &Notice) {
        if self.notices.try_send(Some((self.started.elapsed(), notice.clone()))).is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn disconnect(&self, _node: &NodeId) {
        // Without a node, nobody takes the end.
        drop(self.waiting.lock().take());
        if self.notices.send(None).await.is_ok() {
            // The task ends when the other nodes are told.
            self.notices.closed().await;
        }
    }
}
