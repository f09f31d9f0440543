use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{
    AppendError, AppendReceipt, CommitSink, Limits, LogBounds, NewMessage, Page, Range, Room, RoomName, Scan,
    Search, SearchError, SearchPage, Unavailable,
};
use sha1::{Digest, Sha1};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::read::{self, ReaderPool};
use crate::search::{self, match_expression, room_prefix};
use crate::write::{AppendQueue, AppendRequest, IdempotencyKey, Position, PreparedMessage, StoreState};

/// A room of a store. Its row in the database is created by its first message.
#[derive(Debug)]
pub(crate) struct SqliteRoom {
    name: RoomName,
    epoch: String,
    limits: Arc<Limits>,
    queue: Arc<AppendQueue>,
    readers: Arc<ReaderPool>,
    state: Arc<StoreState>,
    subscription: u64,
}

impl SqliteRoom {
    pub(crate) fn new(
        name: RoomName,
        epoch: String,
        limits: Arc<Limits>,
        sink: CommitSink,
        (queue, readers, state): (Arc<AppendQueue>, Arc<ReaderPool>, Arc<StoreState>),
    ) -> Self {
        state.extend_key_window(key_window(&limits));
        let subscription = state.notifier.subscribe(&name, &epoch, sink);
        Self { name, epoch, limits, queue, readers, state, subscription }
    }

    fn call_timeout(&self) -> Duration {
        self.limits.rooms.call_timeout
    }

    fn prepare(&self, message: NewMessage) -> PreparedMessage {
        let NewMessage { user, key, body, .. } = message;
        let window = key_window(&self.limits);
        let key = key.map(|key| IdempotencyKey { key, digest: Sha1::digest(body.get()).into(), window });
        PreparedMessage { room: self.name.clone(), user, key, body }
    }
}

#[async_trait]
impl Room for SqliteRoom {
    async fn append(&self, message: NewMessage) -> Result<AppendReceipt, AppendError> {
        let unavailable = |cause: &str| AppendError::from(Unavailable::new(cause));
        let permit = timeout(self.call_timeout(), self.queue.reserve())
            .await
            .map_err(|_| unavailable("the append queue is full"))?
            .ok_or_else(|| unavailable("the store is closed"))?;
        let (reply, receiver) = oneshot::channel();
        let pending = self.state.notifier.pending(receiver);
        self.queue.push(AppendRequest { message: self.prepare(message), reply, permit });
        // The reply channel is closed if the store was closed or the writer thread panicked.
        let reply = pending.wait().await.unwrap_or_else(|| Err(unavailable("the store is closed")));
        reply.map(|Position { seq, at, duplicate }| {
            let receipt = AppendReceipt::new(self.epoch.clone(), seq, at);
            if duplicate { receipt.repeated() } else { receipt }
        })
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        let (state, name) = (Arc::clone(&self.state), self.name.clone());
        let max_bytes = self.limits.wire.max_batch_bytes;
        let page = self.readers.read(self.call_timeout(), move |connection| {
            read::read_page(connection, &name, range, max_bytes, &state.unreadable)
        });
        let page = page.await?;
        Ok(Page::new(self.epoch.clone(), page.messages).with_more(page.more))
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        let name = self.name.clone();
        let bounds =
            self.readers.read(self.call_timeout(), move |connection| read::bounds(connection, &name));
        let (head, first) = bounds.await?;
        Ok(LogBounds::new(self.epoch.clone(), head).with_first(first))
    }

    async fn search(&self, search: Search) -> Result<SearchPage, SearchError> {
        let expression =
            match_expression(&room_prefix(&self.name), &search.query).ok_or(SearchError::BadQuery)?;
        let scan = Scan::new(&search, &self.limits);
        let (state, name) = (Arc::clone(&self.state), self.name.clone());
        let found = self.readers.read_long(self.call_timeout(), move |connection| {
            search::search(connection, &name, &expression, search.before, scan, &state.unreadable)
        });
        Ok(found.await?)
    }
}

impl Drop for SqliteRoom {
    fn drop(&mut self) {
        self.state.notifier.unsubscribe(&self.name, self.subscription);
    }
}

/// Returns the key window in milliseconds.
fn key_window(limits: &Limits) -> u64 {
    u64::try_from(limits.rooms.key_window.as_millis()).unwrap_or(u64::MAX)
}
