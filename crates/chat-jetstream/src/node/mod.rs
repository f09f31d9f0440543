//! One server of the chat, as a part of the cluster.

mod asked;
mod claim;
mod connection;
mod heard;
mod late;
mod peers;
mod purging;
mod removals;
mod retention;
mod signs;
mod streams;
mod sweep;
mod tasks;
mod tend;
mod time;
mod unfinished;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use chat_core::{Health, Limits, RoomName, Unavailable};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, timeout};

use crate::life::{Life, token};
use crate::link::Link;
use crate::record::Unreadable;
use crate::room::{QuietLogs, SharedRoom};
#[cfg(feature = "search-index")]
use crate::search::SearchIndex;
use crate::shard::Shard;
use crate::stats::{Counters, StreamStatus, count};

use connection::Compared;
use late::Clocks;
use peers::Peers;
use retention::Retention;

pub(crate) use asked::Asked;
use asked::MAX_ASKED;
pub(crate) use claim::ClaimedName;
pub(crate) use connection::Connection;
pub(crate) use purging::{PurgePlace, Purging};
pub(crate) use removals::ValidPlaces;
pub(crate) use streams::{OpenStream, Streams, find_streams, open_streams};
pub(crate) use tend::wait_for;
pub(crate) use time::MAX_AHEAD;

/// The time without an answer of the stream's leader after which the store is impaired. It is asked every 2 s.
const LATE: Duration = Duration::from_secs(6);

/// The time without an answer of the stream's leader after which the store is not reachable. It is longer than an
/// election, during which no node can reach the leader.
const MAX_SILENCE: Duration = Duration::from_secs(20);

/// The time without a connection to any server after which the store is not reachable.
const MAX_CUT: Duration = Duration::from_secs(10);

/// The time for the leader of the stream to answer a question.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// The removals from the stream that wait for their answers at the same time. Each costs the servers a write.
const MAX_REMOVING: usize = 16;

/// The open rooms after whose number those that are not open any more are forgotten.
const SWEEP_ROOMS: usize = 1_024;

/// One server of the chat, in one of the streams of the rooms.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) link: Link,
    /// The stream, among those of the chat.
    shard: Shard,
    /// The copies that the stream had when it was opened.
    pub(crate) copies: usize,
    pub(crate) connection: Arc<Connection>,
    pub(crate) peers: Arc<Peers>,
    /// The purges that this node carries out.
    pub(crate) purging: Purging,
    pub(crate) max_keys_per_user: usize,
    pub(crate) retain_messages: Option<u64>,
    retain_age: Option<Duration>,
    /// The same limits, as other nodes learn them.
    retention: Retention,
    /// The copies of the stream if it must be created again.
    replicas: usize,
    life: Mutex<Arc<Life>>,
    /// The rooms by their tokens. A room is dropped with its last opening and its writer.
    rooms: Mutex<BTreeMap<String, Weak<SharedRoom>>>,
    /// The logs of rooms whose writers have ended.
    pub(crate) quiet: Arc<QuietLogs>,
    /// The limits of the chat, once it has opened a room.
    limits: Arc<OnceLock<Arc<Limits>>>,
    /// The time of the last answer of the stream's leader.
    answered: Mutex<Instant>,
    /// The time of the leader's clock at its last answer, and when that was.
    leader_time: Mutex<Option<(u64, Instant)>>,
    /// True while that clock and the one of this node differ much.
    clocks_differ: AtomicBool,
    /// Wakes those who wait until the node has asked the leader of the stream, in the order in which they began.
    rounds: Notify,
    /// Wakes the task that tends the open rooms, after the node has asked the leader of the stream.
    is_asked: Notify,
    /// Held while the stream is compared after a lost connection, so that many rooms ask once.
    comparing: tokio::sync::Mutex<()>,
    /// The places of the removals that wait for their answers.
    removing: Semaphore,
    compared: Compared,
    /// The places of the appends that other nodes have asked for.
    asked: Arc<Semaphore>,
    clocks: Clocks,
    /// Wakes the task that asks the leader of the stream.
    nudge: Notify,
    pub(crate) counters: Arc<Counters>,
    /// The search index, if this node keeps one.
    #[cfg(feature = "search-index")]
    pub(crate) index: OnceLock<Arc<SearchIndex>>,
}

/// The values that a server of the chat has once for all streams.
#[derive(Debug)]
struct Shared {
    connection: Arc<Connection>,
    peers: Arc<Peers>,
    quiet: Arc<QuietLogs>,
    purging: Purging,
    limits: Arc<OnceLock<Arc<Limits>>>,
    counters: Arc<Counters>,
}

impl Node {
    /// Returns the server in a stream.
    fn new(stream: OpenStream, shared: &Shared, options: &crate::Options) -> Self {
        let OpenStream { link, shard, copies, life } = stream;
        Self {
            link,
            shard,
            copies,
            connection: Arc::clone(&shared.connection),
            peers: Arc::clone(&shared.peers),
            purging: shared.purging.clone(),
            max_keys_per_user: options.max_keys_per_user,
            retain_messages: options.retain_messages,
            retain_age: options.retain_age,
            retention: Retention::new(options),
            replicas: options.replicas,
            life: Mutex::new(Arc::new(life)),
            rooms: Mutex::default(),
            quiet: Arc::clone(&shared.quiet),
            limits: Arc::clone(&shared.limits),
            answered: Mutex::new(Instant::now()),
            leader_time: Mutex::default(),
            clocks_differ: AtomicBool::default(),
            rounds: Notify::new(),
            is_asked: Notify::new(),
            comparing: tokio::sync::Mutex::default(),
            removing: Semaphore::new(MAX_REMOVING),
            compared: Compared::default(),
            asked: Arc::new(Semaphore::new(MAX_ASKED)),
            clocks: Clocks::new(),
            nudge: Notify::new(),
            counters: Arc::clone(&shared.counters),
            #[cfg(feature = "search-index")]
            index: OnceLock::new(),
        }
    }

    /// Returns the room of this name.
    pub(crate) fn room(self: &Arc<Self>, name: &RoomName, limits: &Arc<Limits>) -> Arc<SharedRoom> {
        let mut rooms = self.rooms.lock();
        if let Some(room) = rooms.get(&token(name)).and_then(Weak::upgrade) {
            return room;
        }
        if rooms.len() % SWEEP_ROOMS == SWEEP_ROOMS - 1 {
            rooms.retain(|_, room| room.strong_count() > 0);
        }
        // With the lock of the rooms: a life that begins meanwhile finds the room there.
        let life = self.life();
        let room = SharedRoom::new(self, name.clone(), Arc::clone(limits), life);
        rooms.insert(room.token.clone(), Arc::downgrade(&room));
        room
    }

    /// Sets the limits of the chat. From then on, this node takes part in the cluster.
    pub(crate) fn set_limits(&self, limits: &Arc<Limits>) {
        if self.limits.set(Arc::clone(limits)).is_ok() {
            self.peers.nudge.notify_one();
        }
    }

    fn limits(&self) -> Option<&Arc<Limits>> {
        self.limits.get()
    }

    pub(crate) fn life(&self) -> Arc<Life> {
        Arc::clone(&self.life.lock())
    }

    fn open_room(&self, token: &str) -> Option<Arc<SharedRoom>> {
        self.rooms.lock().get(token).and_then(Weak::upgrade)
    }

    fn is_open(&self, token: &str) -> bool {
        self.rooms.lock().get(token).is_some_and(|room| room.strong_count() > 0)
    }

    fn open_rooms(&self) -> Vec<Arc<SharedRoom>> {
        let mut rooms: Vec<_> = self.rooms.lock().values().filter_map(Weak::upgrade).collect();
        if cfg!(test) {
            // The order of the map is random, and a test with a seed repeats each step.
            rooms.sort_by(|one, other| one.token.cmp(&other.token));
        }
        rooms
    }

    /// Lets the node ask the leader of the stream soon, because something is not as it should be.
    pub(crate) fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Counts a record that cannot be read, and returns the error.
    pub(crate) fn unreadable(&self, unreadable: Unreadable) -> Unavailable {
        count(&self.counters.unreadable, 1);
        tracing::error!(place = unreadable.place, stream = %self.link.stream, "record unreadable; it is left out");
        Unavailable::from_source(unreadable)
    }

    /// Asks the leader of the stream, and returns when the node has compared it with what it knows. The rooms that have
    /// missed something look again after that.
    pub(crate) async fn check(&self) {
        // The first round may have begun before.
        for _ in 0..2 {
            let ended = self.rounds.notified();
            self.nudge();
            let _late = timeout(CHECK_TIMEOUT, ended).await;
        }
    }

    /// Compares the stream with what this node knows, because it may have lost its end while the node did not run. No
    /// message is stored before that.
    pub(crate) async fn doubt(&self) {
        self.compared.doubt();
        self.check().await;
    }

    /// Compares the stream with what this node knows, if that was not done since the connection was lost. Returns true
    /// if it is done.
    pub(crate) async fn compare(&self) -> bool {
        if self.is_compared() {
            return true;
        }
        let _turn = self.comparing.lock().await;
        if !self.is_compared() {
            self.check().await;
        }
        self.is_compared()
    }

    fn is_compared(&self) -> bool {
        self.compared.is_current(&self.connection)
    }

    /// Returns the state of the stream for this server.
    pub(crate) fn status(&self) -> StreamStatus {
        StreamStatus { name: self.link.stream.clone(), copies: self.copies, health: self.health() }
    }

    /// Returns the health of this server in the stream.
    pub(crate) fn health(&self) -> Health {
        let silence = self.answered.lock().elapsed();
        let (cause, is_over) = match self.connection.cut_for() {
            Some(time) => ("no connection to the servers of the stream".to_owned(), time >= MAX_CUT),
            None if silence >= LATE => {
                let cause = format!("the leader of the stream {} does not answer", self.link.stream);
                (cause, silence >= MAX_SILENCE)
            }
            None => return Health::Ready,
        };
        if is_over { Health::Unreachable(cause) } else { Health::Degraded(cause) }
    }
}
