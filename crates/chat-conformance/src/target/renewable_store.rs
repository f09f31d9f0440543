use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chat_core::{
    AppendError, AppendReceipt, CommitSink, Limits, LogBounds, MemoryRoom, NewMessage, Page, Range, Room,
    RoomName, Store, Unavailable,
};

/// A store in memory whose logs begin another life when a case asks for it.
#[derive(Clone, Debug, Default)]
pub(super) struct RenewableStore {
    rooms: Arc<Mutex<Vec<RenewableRoom>>>,
}

/// The log of one room.
#[derive(Clone, Debug)]
struct RenewableRoom {
    name: RoomName,
    limits: Arc<Limits>,
    sink: CommitSink,
    life: Arc<Mutex<Arc<MemoryRoom>>>,
}

impl RenewableStore {
    /// Replaces the log of each room by an empty one, and reports that to the chat.
    pub(super) async fn renew(&self) {
        let rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for room in rooms {
            room.renew().await;
        }
    }
}

impl RenewableRoom {
    fn log(&self) -> Arc<MemoryRoom> {
        Arc::clone(&self.life.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn renew(&self) {
        let log = MemoryRoom::new(self.name.clone(), Arc::clone(&self.limits), self.sink.clone());
        let bounds = log.bounds().await;
        *self.life.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(log);
        // The bounds of a log in memory are always available.
        if let Ok(bounds) = bounds {
            self.sink.renewed(&bounds);
        }
    }
}

#[async_trait]
impl Store for RenewableStore {
    async fn open(
        &self,
        room: &RoomName,
        limits: &Arc<Limits>,
        sink: CommitSink,
    ) -> Result<Arc<dyn Room>, Unavailable> {
        let log = MemoryRoom::new(room.clone(), Arc::clone(limits), sink.clone());
        let life = Arc::new(Mutex::new(Arc::new(log)));
        let room = RenewableRoom { name: room.clone(), limits: Arc::clone(limits), sink, life };
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner).push(room.clone());
        Ok(Arc::new(room))
    }
}

#[async_trait]
impl Room for RenewableRoom {
    async fn append(&self, message: NewMessage) -> Result<AppendReceipt, AppendError> {
        self.log().append(message).await
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        self.log().read(range).await
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        self.log().bounds().await
    }
}
