use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use chat_core::{
    AppendError, AppendReceipt, ChangeError, ChangeReceipt, Commit, CommitSink, Limits, LogBounds, Marked,
    MarkerError, MemoryRoom, MemoryStore, NewAct, NewChange, NewMessage, Page, Range, Room, RoomName,
    RoomRules, Search, SearchError, SearchPage, Standing, Store, ThreadError, Unavailable, Unread, UserKey,
};
use chat_store_conformance::Fixture;
use parking_lot::Mutex;

use crate::base::{Gate, Node, Rooms, Sinks};

/// A store that holds its rooms in memory through all of its lives. Both nodes use the same rooms.
pub(crate) struct Held {
    logs: Arc<Logs>,
    nodes: [Arc<Node<Logs>>; 2],
}

struct Logs {
    rooms: Mutex<BTreeMap<RoomName, Arc<Log>>>,
    follows: MemoryStore,
    /// Returns the sink that hears in place of one of the caller.
    sink: fn(CommitSink) -> CommitSink,
}

struct Log {
    name: RoomName,
    limits: Arc<Limits>,
    room: Mutex<Arc<MemoryRoom>>,
    sinks: Arc<Sinks>,
}

struct Opening {
    log: Arc<Log>,
    _sink: Arc<CommitSink>,
}

impl Held {
    pub(crate) fn new() -> Self {
        Self::with_sinks(|sink| sink)
    }

    /// Returns a store whose rooms report to the sinks that this function returns.
    pub(crate) fn with_sinks(sink: fn(CommitSink) -> CommitSink) -> Self {
        Self::of(Arc::new(Logs { rooms: Mutex::default(), follows: MemoryStore::default(), sink }))
    }

    fn of(logs: Arc<Logs>) -> Self {
        Self { nodes: [Node::new(&logs), Node::new(&logs)], logs }
    }
}

#[async_trait]
impl Fixture for Held {
    fn store(&self, node: usize) -> Option<Arc<dyn Store>> {
        self.nodes.get(node).map(|node| Arc::clone(node) as Arc<dyn Store>)
    }

    async fn restart(&mut self) {
        *self = Self::of(Arc::clone(&self.logs));
    }

    fn set_reachable(&self, reachable: bool) -> bool {
        self.nodes[0].gate.set_reachable(reachable);
        true
    }

    async fn renew(&self) -> bool {
        let logs: Vec<_> = self.logs.rooms.lock().values().cloned().collect();
        for log in logs {
            let room = memory_room(&log.name, &log.limits, &log.sinks);
            let bounds = room.bounds().await.expect("a room in memory is available");
            *log.room.lock() = room;
            log.sinks.report(Commit::Renewed(&bounds));
        }
        true
    }
}

#[async_trait]
impl Rooms for Logs {
    async fn open(
        &self,
        room: &RoomName,
        limits: &Arc<Limits>,
        sink: CommitSink,
        _gate: &Arc<Gate>,
    ) -> Result<Arc<dyn Room>, Unavailable> {
        let log = Arc::clone(self.rooms.lock().entry(room.clone()).or_insert_with(|| Log::new(room, limits)));
        let sink = log.sinks.add((self.sink)(sink));
        Ok(Arc::new(Opening { log, _sink: sink }))
    }

    fn follows(&self) -> Option<&dyn Store> {
        Some(&self.follows)
    }
}

impl Log {
    fn new(name: &RoomName, limits: &Arc<Limits>) -> Arc<Self> {
        let sinks = Arc::default();
        let room = Mutex::new(memory_room(name, limits, &sinks));
        Arc::new(Self { name: name.clone(), limits: Arc::clone(limits), room, sinks })
    }

    fn room(&self) -> Arc<MemoryRoom> {
        Arc::clone(&self.room.lock())
    }
}

fn memory_room(name: &RoomName, limits: &Arc<Limits>, sinks: &Arc<Sinks>) -> Arc<MemoryRoom> {
    let sinks = Arc::clone(sinks);
    let sink = CommitSink::new(move |commit| sinks.report(commit));
    Arc::new(MemoryRoom::new(name.clone(), Arc::clone(limits), sink))
}

#[async_trait]
impl Room for Opening {
    async fn append(&self, message: NewMessage) -> Result<AppendReceipt, AppendError> {
        self.log.room().append(message).await
    }

    async fn change(&self, change: NewChange) -> Result<ChangeReceipt, ChangeError> {
        self.log.room().change(change).await
    }

    async fn govern(&self, act: NewAct) -> Result<ChangeReceipt, ChangeError> {
        self.log.room().govern(act).await
    }

    async fn purge(&self, act: NewAct) -> Result<ChangeReceipt, ChangeError> {
        self.log.room().purge(act).await
    }

    async fn standing(&self, user: &UserKey) -> Result<(RoomRules, Standing), Unavailable> {
        self.log.room().standing(user).await
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        self.log.room().read(range).await
    }

    async fn thread(&self, root: u64, range: Range) -> Result<Page, ThreadError> {
        self.log.room().thread(root, range).await
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        self.log.room().bounds().await
    }

    async fn mark(&self, user: &UserKey, seq: u64) -> Result<Marked, MarkerError> {
        self.log.room().mark(user, seq).await
    }

    async fn unread(&self, user: &UserKey, up_to: u64) -> Result<Unread, MarkerError> {
        self.log.room().unread(user, up_to).await
    }

    async fn search(&self, search: Search) -> Result<SearchPage, SearchError> {
        self.log.room().search(search).await
    }
}
