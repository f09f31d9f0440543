use std::sync::Arc;

use async_trait::async_trait;
use chat_core::{
    AppendError, AppendReceipt, CommitSink, Limits, LogBounds, NewMessage, Page, Range, Room, RoomName, Scan,
    Search, SearchError, SearchPage, Unavailable,
};
use sha1::{Digest, Sha1};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::ledger::{Key, Prepared};
use crate::store::Shared;
use crate::writer::Job;
use crate::{pages, record, terms};

/// A room in a store. Making one costs nothing; the room begins with its first message.
#[derive(Debug)]
pub(crate) struct SqliteRoom {
    shared: Arc<Shared>,
    name: RoomName,
    epoch: String,
    limits: Arc<Limits>,
    /// Its number among those to be told of messages.
    listener: u64,
}

impl SqliteRoom {
    pub(crate) fn new(shared: Arc<Shared>, name: RoomName, limits: Arc<Limits>, outlet: CommitSink) -> Self {
        let epoch = record::epoch(shared.epoch(), &name);
        let listener = shared.hub().teller.listen(&name, outlet);
        Self { shared, name, epoch, limits, listener }
    }

    fn prepare(&self, draft: NewMessage) -> Prepared {
        let NewMessage { user, key, body } = draft;
        let window = u64::try_from(self.limits.rooms.key_window.as_millis()).unwrap_or(u64::MAX);
        let key = key.map(|key| Key { key, digest: Sha1::digest(body.get()).into(), window });
        Prepared { room: self.name.clone(), user, key, body }
    }
}

#[async_trait]
impl Room for SqliteRoom {
    async fn append(&self, draft: NewMessage) -> Result<AppendReceipt, AppendError> {
        let unavailable = |cause: &str| AppendError::Unavailable(cause.to_owned());
        let place = timeout(self.limits.rooms.call_timeout, self.shared.queue())
            .await
            .map_err(|_| unavailable("too much waits to be written"))?
            .ok_or_else(|| unavailable("the store is closed"))?;
        let (answer, answered) = oneshot::channel();
        let pending = self.shared.hub().teller.pending(answered);
        self.shared.send(Job { message: self.prepare(draft), answer, place });
        // The store may end, or its thread: both drop what waits.
        pending.wait().await.unwrap_or_else(|| Err(unavailable("the store is closed")))
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        let (hub, name, bytes) =
            (Arc::clone(self.shared.hub()), self.name.clone(), self.limits.wire.max_batch_bytes);
        let rows = self.shared.readers().run(self.limits.rooms.call_timeout, move |connection| {
            pages::read(connection, &name, range, bytes, &hub.unreadable)
        });
        let rows = rows.await?;
        Ok(Page { epoch: self.epoch.clone(), messages: rows.messages, more: rows.more })
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        let name = self.name.clone();
        let bounds = self
            .shared
            .readers()
            .run(self.limits.rooms.call_timeout, move |connection| pages::bounds(connection, &name));
        let (head, first) = bounds.await?;
        Ok(LogBounds { epoch: self.epoch.clone(), head, first })
    }

    async fn search(&self, search: Search) -> Result<SearchPage, SearchError> {
        let pattern =
            terms::pattern(&terms::scope(&self.name), &search.query).ok_or(SearchError::BadQuery)?;
        let scan = Scan::new(&search, &self.limits);
        let (hub, name, before) = (Arc::clone(self.shared.hub()), self.name.clone(), search.before);
        let found = self.shared.readers().run_long(self.limits.rooms.call_timeout, move |connection| {
            pages::search(connection, &name, &pattern, before, scan, &hub.unreadable)
        });
        found.await.map_err(|Unavailable(cause)| SearchError::Unavailable(cause))
    }
}

impl Drop for SqliteRoom {
    fn drop(&mut self) {
        self.shared.hub().teller.forget(&self.name, self.listener);
    }
}
