use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use chat_core::{
    AppendError, AppendReceipt, Commit, CommitSink, Health, Limits, LogBounds, MemoryRoom, NewMessage, Page,
    Range, Room, RoomName, Search, SearchError, SearchPage, Store, Unavailable,
};
use chat_store_conformance::Fixture;
use parking_lot::Mutex;

use crate::gate::Gate;

/// A store that holds its rooms in memory through all of its lives. Both nodes use the same rooms.
#[derive(Default)]
pub(crate) struct Held {
    logs: Arc<Logs>,
    nodes: [Arc<Node>; 2],
}

type Logs = Mutex<BTreeMap<RoomName, Arc<Log>>>;

#[derive(Default)]
struct Node {
    logs: Arc<Logs>,
    gate: Arc<Gate>,
}

struct Log {
    name: RoomName,
    limits: Arc<Limits>,
    room: Mutex<Arc<MemoryRoom>>,
    sinks: Arc<Sinks>,
}

type Sinks = Mutex<Vec<Weak<CommitSink>>>;

struct Opening {
    log: Arc<Log>,
    gate: Arc<Gate>,
    /// The sink hears of entries until the opening is dropped.
    _sink: Arc<CommitSink>,
}

impl Held {
    pub(crate) fn new() -> Self {
        Self::of(Arc::default())
    }

    fn of(logs: Arc<Logs>) -> Self {
        let node = || Arc::new(Node { logs: Arc::clone(&logs), gate: Arc::default() });
        Self { nodes: [node(), node()], logs }
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
        let logs: Vec<_> = self.logs.lock().values().cloned().collect();
        for log in logs {
            let room = log.new_room();
            let bounds = room.bounds().await.expect("a room in memory is available");
            *log.room.lock() = room;
            report(&log.sinks, &Commit::Renewed(&bounds));
        }
        true
    }
}

#[async_trait]
impl Store for Node {
    async fn open(
        &self,
        room: &RoomName,
        limits: &Arc<Limits>,
        sink: CommitSink,
    ) -> Result<Arc<dyn Room>, Unavailable> {
        self.gate.check()?;
        let mut logs = self.logs.lock();
        let log = logs.entry(room.clone()).or_insert_with(|| Arc::new(Log::new(room, limits)));
        let sink = Arc::new(sink);
        log.sinks.lock().push(Arc::downgrade(&sink));
        Ok(Arc::new(Opening { log: Arc::clone(log), gate: Arc::clone(&self.gate), _sink: sink }))
    }

    fn health(&self) -> Health {
        self.gate.health()
    }

    async fn close(&self) -> Result<(), Unavailable> {
        self.gate.close();
        Ok(())
    }
}

impl Log {
    fn new(name: &RoomName, limits: &Arc<Limits>) -> Self {
        let sinks = Arc::default();
        let room = Mutex::new(memory_room(name, limits, &sinks));
        Self { name: name.clone(), limits: Arc::clone(limits), room, sinks }
    }

    fn new_room(&self) -> Arc<MemoryRoom> {
        memory_room(&self.name, &self.limits, &self.sinks)
    }

    fn room(&self) -> Arc<MemoryRoom> {
        Arc::clone(&self.room.lock())
    }
}

fn memory_room(name: &RoomName, limits: &Arc<Limits>, sinks: &Arc<Sinks>) -> Arc<MemoryRoom> {
    let sinks = Arc::clone(sinks);
    let sink = CommitSink::new(move |commit| report(&sinks, &commit));
    Arc::new(MemoryRoom::new(name.clone(), Arc::clone(limits), sink))
}

fn report(sinks: &Sinks, commit: &Commit<'_>) {
    sinks.lock().retain(|sink| {
        let Some(sink) = sink.upgrade() else { return false };
        match commit {
            Commit::Entry(stored) => sink.publish(stored),
            Commit::Head(head) => sink.advance(*head),
            Commit::Renewed(bounds) => sink.renewed(bounds),
            _ => {}
        }
        true
    });
}

#[async_trait]
impl Room for Opening {
    async fn append(&self, message: NewMessage) -> Result<AppendReceipt, AppendError> {
        self.gate.check()?;
        self.log.room().append(message).await
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        self.gate.check()?;
        self.log.room().read(range).await
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        self.gate.check()?;
        self.log.room().bounds().await
    }

    async fn search(&self, search: Search) -> Result<SearchPage, SearchError> {
        self.gate.check()?;
        self.log.room().search(search).await
    }
}
