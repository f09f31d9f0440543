use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use chat_core::{
    AppendError, AppendReceipt, Builder, ChangeError, ChangeReceipt, Chat, CommitSink, Limits, LogBounds,
    Marked, MarkerError, MemoryRoom, NewAct, NewChange, NewMessage, Page, Range, Room, RoomName, RoomRules,
    Search, SearchError, SearchPage, Standing, Unavailable, Unread, UserKey,
};
use parking_lot::Mutex;

use crate::InProcessBus;

/// The nodes of one chat in this process: a store that all of them open, and a bus between them.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    store: SharedStore,
    bus: InProcessBus,
}

impl Cluster {
    /// Returns a cluster without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a cluster whose store keeps no markers and no followed rooms.
    pub fn without_markers() -> Self {
        let store = SharedStore { follows: None, ..SharedStore::default() };
        Self { store, ..Self::default() }
    }

    /// Returns the builder of a further node.
    pub fn builder(&self, name: &str) -> Builder {
        let node = name.parse().expect("a node's name");
        Chat::builder().node(node).store(self.store.clone()).bus(self.bus.clone())
    }

    /// Adds a node with the default limits.
    pub fn node(&self, name: &str) -> Chat {
        self.builder(name).build()
    }

    /// Returns the store that the nodes share.
    pub fn store(&self) -> &SharedStore {
        &self.store
    }

    /// Returns the bus between the nodes.
    pub fn bus(&self) -> &InProcessBus {
        &self.bus
    }

    /// Separates a node from the others. All notice it.
    pub fn lose(&self, name: &str) {
        self.bus.lose(&name.parse().expect("a node's name"));
    }

    /// Connects a node again that was [lost](Self::lose).
    ///
    /// # Panics
    ///
    /// If `name` is not the name of a node.
    pub fn restore(&self, name: &str) {
        self.bus.restore(&name.parse().expect("a node's name"));
    }
}

/// The rooms that each user follows.
type Follows = BTreeMap<UserKey, BTreeSet<RoomName>>;

/// A store of rooms in memory that several chats open. The commits of all of them are reported to each opening.
#[derive(Clone, Debug)]
pub struct SharedStore {
    rooms: Arc<Mutex<BTreeMap<RoomName, SharedRoom>>>,
    /// `None` if the store keeps neither markers nor followed rooms.
    follows: Option<Arc<Mutex<Follows>>>,
    /// True while the followed rooms cannot be read.
    hides_follows: Arc<AtomicBool>,
}

impl Default for SharedStore {
    fn default() -> Self {
        Self { rooms: Arc::default(), follows: Some(Arc::default()), hides_follows: Arc::default() }
    }
}

impl SharedStore {
    /// Lets the followed rooms not be read, or be read again.
    pub fn hide_follows(&self, hides: bool) {
        self.hides_follows.store(hides, Ordering::Relaxed);
    }

    /// Pauses or continues the reports to all sinks of a room. A commit during a pause is never reported.
    pub fn pause_reports(&self, room: &RoomName, is_paused: bool) {
        if let Some(room) = self.rooms.lock().get(room) {
            room.openings.lock().is_paused = is_paused;
        }
    }
}

/// One log, with the sinks of all openings.
#[derive(Clone, Debug)]
struct SharedRoom {
    log: Arc<MemoryRoom>,
    openings: Arc<Mutex<Openings>>,
}

#[derive(Debug, Default)]
struct Openings {
    next: u64,
    sinks: BTreeMap<u64, CommitSink>,
    is_paused: bool,
}

impl SharedRoom {
    fn new(name: RoomName, limits: Arc<Limits>) -> Self {
        let openings = Arc::<Mutex<Openings>>::default();
        let all = Arc::clone(&openings);
        let sink = CommitSink::new(move |commit| {
            let state = all.lock();
            let sinks: Vec<_> = state.sinks.values().filter(|_| !state.is_paused).cloned().collect();
            drop(state);
            for sink in sinks {
                sink.report(commit);
            }
        });
        Self { log: Arc::new(MemoryRoom::new(name, limits, sink)), openings }
    }
}

#[async_trait]
impl chat_core::Store for SharedStore {
    async fn open(
        &self,
        room: &RoomName,
        limits: &Arc<Limits>,
        sink: CommitSink,
    ) -> Result<Arc<dyn Room>, Unavailable> {
        let mut rooms = self.rooms.lock();
        let shared = rooms
            .entry(room.clone())
            .or_insert_with(|| SharedRoom::new(room.clone(), Arc::clone(limits)))
            .clone();
        let id = {
            let mut openings = shared.openings.lock();
            openings.next += 1;
            let id = openings.next;
            openings.sinks.insert(id, sink);
            id
        };
        Ok(Arc::new(Opening { shared, id, keeps_markers: self.follows.is_some() }))
    }

    async fn follow(&self, user: &UserKey, room: &RoomName, on: bool, max: usize) -> Result<(), MarkerError> {
        let follows = self.follows.as_ref().ok_or(MarkerError::Unsupported)?;
        let mut follows = follows.lock();
        let rooms = follows.entry(user.clone()).or_default();
        match on {
            true if rooms.len() >= max && !rooms.contains(room) => return Err(MarkerError::TooManyRooms),
            true => rooms.insert(room.clone()),
            false => rooms.remove(room),
        };
        Ok(())
    }

    async fn followed(&self, user: &UserKey) -> Result<Vec<RoomName>, MarkerError> {
        let follows = self.follows.as_ref().ok_or(MarkerError::Unsupported)?;
        if self.hides_follows.load(Ordering::Relaxed) {
            return Err(Unavailable::new("the disk is slow").into());
        }
        Ok(follows.lock().get(user).into_iter().flatten().cloned().collect())
    }
}

/// One opening of a shared room. Dropping it removes its sink.
struct Opening {
    shared: SharedRoom,
    id: u64,
    keeps_markers: bool,
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.shared.openings.lock().sinks.remove(&self.id);
    }
}

#[async_trait]
impl Room for Opening {
    async fn append(&self, message: NewMessage) -> Result<AppendReceipt, AppendError> {
        self.shared.log.append(message).await
    }

    async fn change(&self, change: NewChange) -> Result<ChangeReceipt, ChangeError> {
        self.shared.log.change(change).await
    }

    async fn govern(&self, act: NewAct) -> Result<ChangeReceipt, ChangeError> {
        self.shared.log.govern(act).await
    }

    async fn purge(&self, act: NewAct) -> Result<ChangeReceipt, ChangeError> {
        self.shared.log.purge(act).await
    }

    async fn standing(&self, user: &UserKey) -> Result<(RoomRules, Standing), Unavailable> {
        self.shared.log.standing(user).await
    }

    async fn mark(&self, user: &UserKey, seq: u64) -> Result<Marked, MarkerError> {
        if self.keeps_markers { self.shared.log.mark(user, seq).await } else { Err(MarkerError::Unsupported) }
    }

    async fn unread(&self, user: &UserKey, up_to: u64) -> Result<Unread, MarkerError> {
        if self.keeps_markers {
            self.shared.log.unread(user, up_to).await
        } else {
            Err(MarkerError::Unsupported)
        }
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        self.shared.log.read(range).await
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        self.shared.log.bounds().await
    }

    async fn search(&self, search: Search) -> Result<SearchPage, SearchError> {
        self.shared.log.search(search).await
    }
}
