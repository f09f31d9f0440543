use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use chat_core::{
    AppendError, Appended, Draft, Found, Limits, MemoryRoom, Outlet, Page, Range, Room, RoomName, Search,
    SearchError, Standing, Unavailable,
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
    openings: Arc<Mutex<Vec<Weak<Outlet>>>>,
}

/// One opening of a room.
struct Opening {
    log: Arc<Log>,
    /// Told for as long as this is here.
    _outlet: Arc<Outlet>,
}

#[async_trait]
impl Store for Kept {
    fn room(&self, name: RoomName, limits: Arc<Limits>, outlet: Outlet) -> Arc<dyn Room> {
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
        let openings: Arc<Mutex<Vec<Weak<Outlet>>>> = Arc::default();
        let told = Arc::clone(&openings);
        let outlet = Outlet::new(move |stored| {
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
    async fn append(&self, draft: Draft) -> Result<Appended, AppendError> {
        self.log.room.append(draft).await
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        self.log.room.read(range).await
    }

    async fn standing(&self) -> Result<Standing, Unavailable> {
        self.log.room.standing().await
    }

    async fn search(&self, search: Search) -> Result<Found, SearchError> {
        self.log.room.search(search).await
    }
}
