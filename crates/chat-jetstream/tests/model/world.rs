//! The servers, the connections to them, and the events that are to come.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::Rng;
use super::network::{Connected, Session};
use super::stream::{Group, Server};

type Act = Box<dyn FnOnce(&mut World) + Send>;

/// The state of all servers and connections.
pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) servers: Vec<Server>,
    pub(super) group: Group,
    pub(super) clients: Vec<Connected>,
    pub(super) sessions: BTreeMap<u64, Session>,
    /// The times at which the last messages arrive between two servers.
    pub(super) routes: BTreeMap<(usize, usize), u64>,
    /// The percentage of the messages between servers that are lost.
    pub(super) lossy: u64,
    /// True while the servers refuse the requests of the API, because they have no leader for it. Streams go on.
    pub(super) refuses: bool,
    /// The messages of the stream that nodes have read.
    pub(super) read: usize,
    /// The questions for the subjects of the stream.
    pub(super) listings: usize,
    /// The milliseconds by which the clocks of the servers are behind those of the nodes.
    pub(super) behind: u64,
    /// The milliseconds by which the clock of the leader has jumped.
    pub(super) jumped: u64,
    start: Instant,
    events: BTreeMap<(u64, u64), Act>,
    pub(super) next: u64,
}

/// The world, and the task that lets its events happen.
#[derive(Clone)]
pub(crate) struct Model {
    world: Arc<Mutex<World>>,
    wake: Arc<Notify>,
}

impl Model {
    /// Starts servers without a stream. Must be called in a runtime.
    pub(crate) fn start(seed: u64, servers: usize) -> Self {
        let world = World {
            rng: Rng::new(seed),
            servers: (0..servers).map(|_| Server::default()).collect(),
            group: Group::default(),
            clients: Vec::new(),
            sessions: BTreeMap::new(),
            routes: BTreeMap::new(),
            lossy: 0,
            refuses: false,
            read: 0,
            listings: 0,
            behind: 0,
            jumped: 0,
            start: Instant::now(),
            events: BTreeMap::new(),
            next: 0,
        };
        let model = Self { world: Arc::new(Mutex::new(world)), wake: Arc::default() };
        model.act(|world| world.elect(0));
        tokio::spawn(model.clone().run());
        model
    }

    /// Does something with the world now.
    pub(super) fn act<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let result = act(&mut self.world.lock());
        self.wake.notify_one();
        result
    }

    async fn run(self) {
        loop {
            let (due, event) = {
                let mut world = self.world.lock();
                let now = world.now();
                let due = world.events.first_key_value().map(|((due, _), _)| *due);
                let is_due = due.is_some_and(|due| due <= now);
                let event = if is_due { world.events.pop_first() } else { None };
                (due.map(|due| world.start + Duration::from_millis(due)), event)
            };
            match (due, event) {
                (_, Some((_, act))) => {
                    act(&mut self.world.lock());
                    yield_now().await;
                }
                (Some(due), None) => {
                    tokio::select! {
                        biased;
                        () = self.wake.notified() => {}
                        () = sleep_until(due) => {}
                    }
                }
                (None, None) => self.wake.notified().await,
            }
        }
    }
}

impl World {
    /// Returns the milliseconds since the start.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).expect("a short run")
    }

    /// Returns the time of the servers, in milliseconds since the Unix epoch.
    pub(super) fn clock(&self) -> u64 {
        super::unix_millis().unwrap_or_default() - self.behind + self.jumped
    }

    /// Lets something happen at a time. Events of one time happen in the order in which they were added.
    pub(super) fn at(&mut self, due: u64, act: impl FnOnce(&mut World) + Send + 'static) {
        self.next += 1;
        self.events.insert((due, self.next), Box::new(act));
    }

    /// Lets something happen after some milliseconds.
    pub(super) fn after(&mut self, delay: u64, act: impl FnOnce(&mut World) + Send + 'static) {
        self.at(self.now() + delay, act);
    }

    /// Returns the time that a message needs for a hop: mostly less than a millisecond.
    pub(super) fn latency(&mut self) -> u64 {
        match self.rng.between(0, 99) {
            0..60 => 0,
            60..95 => self.rng.between(1, 3),
            95..99 => self.rng.between(3, 20),
            _ => self.rng.between(20, 120),
        }
    }

    /// Returns a new number.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}
