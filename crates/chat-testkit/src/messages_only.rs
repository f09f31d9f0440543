use std::sync::Arc;

use async_trait::async_trait;
use chat_core::{
    AppendError, AppendReceipt, CommitSink, Limits, LogBounds, MemoryRoom, NewMessage, Page, Range, Room,
    RoomName, Store, Unavailable,
};

/// A store of rooms in memory that keeps messages and their mentions, and leaves out each optional part.
#[derive(Clone, Copy, Debug, Default)]
pub struct MessagesOnly;

struct Log(MemoryRoom);

#[async_trait]
impl Store for MessagesOnly {
    async fn open(
        &self,
        room: &RoomName,
        limits: &Arc<Limits>,
        sink: CommitSink,
    ) -> Result<Arc<dyn Room>, Unavailable> {
        Ok(Arc::new(Log(MemoryRoom::new(room.clone(), Arc::clone(limits), sink))))
    }
}

#[async_trait]
impl Room for Log {
    async fn append(&self, message: NewMessage) -> Result<AppendReceipt, AppendError> {
        message.judge_without_threads()?;
        self.0.append(message).await
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        self.0.read(range).await
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        self.0.bounds().await
    }
}
