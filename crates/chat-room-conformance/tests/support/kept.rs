use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use chat_core::{
    AppendError, AppendReceipt, CommitSink, Limits, LogBounds, MemoryRoom, NewMessage, Page, Range, Room,
    RoomName, Search, SearchError, SearchPage, Unavailable,
};
use chat_room_conformance::Store;
use parking_lot::Mutex;

/// A sound store whose rooms last: rooms in memory that it holds itself, through all of its lives.
#[derive(Default)]
pub(crate) struct Kept {
    rooms: Mutex<BTreeMap<RoomName, Arc<Log>>>,
}

struct Log {
    room: MemoryRoom,
    openings: Arc<Mutex<Vec<Weak<CommitSink>>>>,
}

/// One opening of a room.
struct Opening {
    log: Arc<Log>,
    /// Told for as long as this is here.
    _outlet: Arc<CommitSink>,
}

#[async_trait]
impl Store for Kept {
    fn room(&self, name: RoomName, limits: Arc<Limits>, outlet: CommitSink) -> Arc<dyn Room> {
        let mut rooms = self.rooms.lock();
        let log = rooms.entry(name.clone()).or_insert_with(|| Arc::new(Log::new(name, limits)));
        let outlet = Arc::new(outlet);
        log.openings.lock().push(Arc::downgrade(&outlet));
        Arc::new(Opening { log: Arc::clone(log), _outlet: outlet })
    }

    async fn reopen(self: Box<Self>) -> Box<dyn Store> {
        self
    }
}

impl Log {
    fn new(name: RoomName, limits: Arc<Limits>) -> Self {
        let openings: Arc<Mutex<Vec<Weak<CommitSink>>>> = Arc::default();
        let told = Arc::clone(&openings);
        let outlet = CommitSink::new(move |stored| {
            told.lock().retain(|outlet| {
                let outlet = outlet.upgrade();
                outlet.inspect(|outlet| outlet.committed(stored)).is_some()
            });
        });
        Self { room: MemoryRoom::new(name, limits, outlet), openings }
    }
}

#[async_trait]
impl Room for Opening {
    async fn append(&self, draft: NewMessage) -> Result<AppendReceipt, AppendError> {
        self.log.room.append(draft).await
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        self.log.room.read(range).await
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        self.log.room.bounds().await
    }

    async fn search(&self, search: Search) -> Result<SearchPage, SearchError> {
        self.log.room.search(search).await
    }
}
