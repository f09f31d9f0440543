//! One server of the chat, as a part of the cluster.

mod asked;
mod claim;
mod connection;
mod heard;
mod peers;
mod tasks;
mod tend;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use chat_core::{Health, Limits, RoomName, Unavailable};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::life::{Life, token};
use crate::link::Link;
use crate::record::Unreadable;
use crate::room::SharedRoom;
use crate::stats::{Counters, count};

pub(crate) use asked::Asked;
pub(crate) use claim::ClaimedName;
pub(crate) use connection::Connection;
pub(crate) use peers::Peers;
pub(crate) use tend::{wait_for, wait_for_stream};

/// The time without an answer of the stream's leader after which the store is impaired. It is asked every 2 s.
const LATE: Duration = Duration::from_secs(6);

/// The time without an answer of the stream's leader after which the store is not reachable. It is longer than an
/// election, during which no node can reach the leader.
const MAX_SILENCE: Duration = Duration::from_secs(20);

/// The time without a connection to any server after which the store is not reachable.
const MAX_CUT: Duration = Duration::from_secs(10);

/// The time for the leader of the stream to answer a question.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// The open rooms after whose number those that are not open any more are forgotten.
const SWEEP_ROOMS: usize = 1_024;

/// One server of the chat.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) link: Link,
    pub(crate) connection: Arc<Connection>,
    pub(crate) peers: Peers,
    pub(crate) max_keys_per_user: usize,
    pub(crate) retain_messages: Option<u64>,
    replicas: usize,
    life: Mutex<Arc<Life>>,
    /// The rooms by their tokens. A room is dropped with its last opening and its writer.
    rooms: Mutex<BTreeMap<String, Weak<SharedRoom>>>,
    /// The limits of the chat, once it has opened a room.
    limits: OnceLock<Arc<Limits>>,
    /// The time of the last answer of the stream's leader.
    answered: Mutex<Instant>,
    /// The number of times that the node has asked the leader of the stream.
    rounds: watch::Sender<u64>,
    /// Held while the stream is compared after a lost connection, so that many rooms ask once.
    comparing: tokio::sync::Mutex<()>,
    pub(crate) counters: Counters,
}

impl Node {
    pub(crate) fn new(
        link: Link,
        connection: Arc<Connection>,
        options: &crate::Options,
        name: String,
        life: Life,
    ) -> Self {
        Self {
            link,
            connection,
            peers: Peers::new(name),
            max_keys_per_user: options.max_keys_per_user,
            retain_messages: options.retain_messages,
            replicas: options.replicas,
            life: Mutex::new(Arc::new(life)),
            rooms: Mutex::default(),
            limits: OnceLock::new(),
            answered: Mutex::new(Instant::now()),
            rounds: watch::Sender::new(0),
            comparing: tokio::sync::Mutex::default(),
            counters: Counters::default(),
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
            self.nudge();
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
        self.connection.nudge.notify_one();
    }

    /// Counts a record that cannot be read, and returns the error.
    pub(crate) fn unreadable(&self, unreadable: Unreadable) -> Unavailable {
        count(&self.counters.unreadable, 1);
        tracing::error!(place = unreadable.place, stream = %self.link.stream, "record unreadable; it is left out");
        Unavailable::from_source(unreadable)
    }

    /// Asks the leader of the stream, and returns when this node has drawn the conclusions.
    pub(crate) async fn check(&self) {
        let mut rounds = self.rounds.subscribe();
        // The first round may have begun before.
        for _ in 0..2 {
            rounds.mark_unchanged();
            self.nudge();
            let _late = timeout(CHECK_TIMEOUT, rounds.changed()).await;
        }
    }

    /// Compares the stream with what this node knows, if that was not done since the connection was lost. Returns true
    /// if it is done.
    pub(crate) async fn compare(&self) -> bool {
        if self.connection.is_compared() {
            return true;
        }
        let _turn = self.comparing.lock().await;
        if !self.connection.is_compared() {
            self.check().await;
        }
        self.connection.is_compared()
    }

    pub(crate) fn health(&self) -> Health {
        let silence = self.answered.lock().elapsed();
        let (cause, is_over) = match self.connection.cut_for() {
            Some(time) => ("no connection to the servers of the stream", time >= MAX_CUT),
            None if silence >= LATE => ("the leader of the stream does not answer", silence >= MAX_SILENCE),
            None => return Health::Ready,
        };
        if is_over { Health::Unreachable(cause.to_owned()) } else { Health::Degraded(cause.to_owned()) }
    }
}
