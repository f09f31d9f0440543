use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chat_core::{
    Act, AppendError, AppendReceipt, ChangeError, ChangeReceipt, CommitSink, Limits, LogBounds, Marked,
    MarkerError, NewAct, NewChange, NewMessage, Page, Range, Role, Room, RoomName, RoomRules, Scan, Search,
    SearchError, SearchPage, Standing, ThreadError, Unavailable, Unread, UserKey,
};
use sha1::{Digest, Sha1};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::read::{self, ReaderPool, RoomBounds};
use crate::search::{SearchTask, match_expression, room_prefix};
use crate::threads::WorkClock;
use crate::write::{
    AppendQueue, IdempotencyKey, Position, Prepared, PreparedAct, PreparedChange, PreparedMarker,
    PreparedMessage, Reply, StoreState,
};

/// Time for which a search keeps a connection and its snapshot. Then other searches run, and the write-ahead log can be
/// emptied.
const SEARCH_SLICE: Duration = Duration::from_millis(100);

/// The parts of a store that its rooms share.
#[derive(Clone, Debug)]
pub(crate) struct SharedParts {
    pub(crate) queue: Arc<AppendQueue>,
    pub(crate) readers: Arc<ReaderPool>,
    pub(crate) searches: Arc<ReaderPool>,
    pub(crate) state: Arc<StoreState>,
    /// Time that a search may work.
    pub(crate) search_time_limit: Duration,
}

/// A room of a store. Its row in the database is created by its first message.
#[derive(Debug)]
pub(crate) struct SqliteRoom {
    name: RoomName,
    epoch: String,
    limits: Arc<Limits>,
    parts: SharedParts,
    subscription: u64,
}

impl SqliteRoom {
    pub(crate) fn new(
        name: RoomName,
        epoch: String,
        limits: Arc<Limits>,
        sink: CommitSink,
        parts: SharedParts,
    ) -> Self {
        parts.state.extend_key_window(key_window(&limits));
        parts.state.extend_tail(limits.rooms.tail_events);
        let subscription = parts.state.notifier.subscribe(&name, &epoch, sink);
        Self { name, epoch, limits, parts, subscription }
    }

    fn call_timeout(&self) -> Duration {
        self.limits.rooms.call_timeout
    }

    fn prepare(&self, message: NewMessage) -> PreparedMessage {
        let window = key_window(&self.limits);
        let key = message.key.clone().map(|key| {
            let digest = Sha1::digest(&*message.content()).into();
            IdempotencyKey { key, digest, window }
        });
        PreparedMessage { room: self.name.clone(), message, key }
    }

    fn prepare_change(&self, mut change: NewChange) -> PreparedChange {
        let digest = change.content().map(|content| Sha1::digest(content).into());
        let key = change.key.take().zip(digest);
        let key = key.map(|(key, digest)| IdempotencyKey { key, digest, window: key_window(&self.limits) });
        PreparedChange { room: self.name.clone(), change, key, limits: Arc::clone(&self.limits) }
    }

    /// Returns the receipt of a change or an act.
    fn receipt(&self, position: Position) -> ChangeReceipt {
        let Some(seq) = position.seq else { return ChangeReceipt::unchanged(self.epoch.clone()) };
        let receipt = ChangeReceipt::new(self.epoch.clone(), seq);
        if position.duplicate { receipt.repeated() } else { receipt }
    }

    /// Passes an entry to the writer thread, and waits for its reply.
    async fn write(&self, entry: Prepared) -> Reply {
        self.parts.write(entry, self.call_timeout()).await
    }
}

impl SharedParts {
    /// Passes a write to the writer thread, and waits for its reply. It waits for a place in the queue for `limit`.
    pub(crate) async fn write(&self, entry: Prepared, limit: Duration) -> Reply {
        let unavailable = |cause: &str| ChangeError::from(Unavailable::new(cause));
        let (reply, receiver) = oneshot::channel();
        let notifier = &self.state.notifier;
        let is_deletion = match &entry {
            Prepared::Change(change) => change.is_deletion(),
            Prepared::Purge(_) => true,
            _ => false,
        };
        let room = entry.room().clone();
        let pending = if is_deletion {
            notifier.pending_deletion(room, receiver)
        } else {
            notifier.pending(room, receiver)
        };
        let entry = self.queue.enter(entry, reply);
        let mut pending = pin!(pending.wait());
        let reply = if entry.is_waiting() {
            match timeout(limit, &mut pending).await {
                Ok(reply) => reply,
                Err(_) if entry.is_waiting() => return Err(unavailable("the append queue is full")),
                Err(_) => pending.await,
            }
        } else {
            pending.await
        };
        // The reply channel is closed if the store was closed or the writer thread panicked.
        reply.unwrap_or_else(|| Err(unavailable("the store is closed")))
    }
}

/// Returns the error of a marker, which has no errors of changes.
pub(crate) fn marker_error(error: ChangeError) -> MarkerError {
    match error {
        ChangeError::Unavailable(unavailable) => unavailable.into(),
        error => Unavailable::from_source(error).into(),
    }
}

#[async_trait]
impl Room for SqliteRoom {
    async fn append(&self, message: NewMessage) -> Result<AppendReceipt, AppendError> {
        match self.write(Prepared::Message(self.prepare(message))).await {
            Ok(Position { seq, at, duplicate }) => {
                let receipt = AppendReceipt::new(self.epoch.clone(), seq.unwrap_or_default(), at);
                Ok(if duplicate { receipt.repeated() } else { receipt })
            }
            Err(ChangeError::KeyConflict) => Err(AppendError::KeyConflict),
            Err(ChangeError::NoMessage) => Err(AppendError::NoMessage),
            Err(ChangeError::Forbidden) => Err(AppendError::Forbidden),
            Err(ChangeError::Muted) => Err(AppendError::Muted),
            Err(ChangeError::Unavailable(unavailable)) => Err(unavailable.into()),
            Err(error) => Err(Unavailable::from_source(error).into()),
        }
    }

    async fn change(&self, change: NewChange) -> Result<ChangeReceipt, ChangeError> {
        let prepared = self.prepare_change(change);
        let position = self.write(Prepared::Change(Box::new(prepared))).await?;
        Ok(self.receipt(position))
    }

    async fn govern(&self, act: NewAct) -> Result<ChangeReceipt, ChangeError> {
        let act = PreparedAct { room: self.name.clone(), act, limits: Arc::clone(&self.limits) };
        let position = self.write(Prepared::Act(Box::new(act))).await?;
        Ok(self.receipt(position))
    }

    async fn purge(&self, act: NewAct) -> Result<ChangeReceipt, ChangeError> {
        if !matches!(act.act, Act::Purge { .. }) {
            return Err(ChangeError::Unsupported);
        }
        let act = PreparedAct { room: self.name.clone(), act, limits: Arc::clone(&self.limits) };
        let position = self.write(Prepared::Purge(Box::new(act))).await?;
        Ok(self.receipt(position))
    }

    async fn standing(&self, user: &UserKey) -> Result<(RoomRules, Standing), Unavailable> {
        let (name, id) = (self.name.clone(), user.id().to_owned());
        let standing = self
            .parts
            .readers
            .read(self.call_timeout(), move |connection| read::standing(connection, &name, &id));
        let (rules, standing) = standing.await?;
        let standing = rules.standing(user, standing, Role::None);
        Ok((rules, standing))
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        let (state, name) = (Arc::clone(&self.parts.state), self.name.clone());
        let max_bytes = self.limits.wire.max_batch_bytes;
        let page = self.parts.readers.read(self.call_timeout(), move |connection| {
            read::read_page(connection, &name, range, max_bytes, &state.unreadable)
        });
        let page = page.await?;
        Ok(Page::new(self.epoch.clone(), page.messages).with_more(page.more))
    }

    async fn messages(&self, seqs: &[u64], max_bytes: usize) -> Result<Page, Unavailable> {
        let (state, name, seqs) = (Arc::clone(&self.parts.state), self.name.clone(), seqs.to_vec());
        let page = self.parts.readers.read(self.call_timeout(), move |connection| {
            read::read_messages(connection, &name, &seqs, max_bytes, &state.unreadable)
        });
        let page = page.await?;
        Ok(Page::new(self.epoch.clone(), page.messages).with_more(page.more))
    }

    async fn thread(&self, root: u64, range: Range) -> Result<Page, ThreadError> {
        let (state, name) = (Arc::clone(&self.parts.state), self.name.clone());
        let max_bytes = self.limits.wire.max_batch_bytes;
        let page = self.parts.readers.read(self.call_timeout(), move |connection| {
            read::read_thread(connection, &name, (root, range), max_bytes, &state.unreadable)
        });
        let page = page.await?.ok_or(ThreadError::NoMessage)?;
        Ok(Page::new(self.epoch.clone(), page.messages).with_more(page.more))
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        let (name, max_pins) = (self.name.clone(), self.limits.rooms.max_pins);
        let bounds = self
            .parts
            .readers
            .read(self.call_timeout(), move |connection| read::bounds(connection, &name, max_pins));
        let RoomBounds { head, first, changes, pins, governed } = bounds.await?;
        let bounds = LogBounds::new(self.epoch.clone(), head).with_first(first);
        Ok(bounds.with_changes(changes > 0).with_pins(pins).with_rules(governed))
    }

    async fn mark(&self, user: &UserKey, seq: u64) -> Result<Marked, MarkerError> {
        let marker = PreparedMarker { room: self.name.clone(), user: user.clone(), seq };
        let written = self.write(Prepared::Marker(marker)).await.map_err(marker_error)?;
        let seq = written.seq.ok_or(MarkerError::BeyondHead)?;
        Ok(Marked::new(self.epoch.clone(), seq).with_moved(!written.duplicate))
    }

    async fn unread(&self, user: &UserKey, up_to: u64) -> Result<Unread, MarkerError> {
        let (state, user) = (Arc::clone(&self.parts.state), user.clone());
        let (name, epoch) = (self.name.clone(), self.epoch.clone());
        let unread = self.parts.readers.read(self.call_timeout(), move |connection| {
            read::unread(connection, (&name, epoch), &user, up_to, &state.unreadable)
        });
        Ok(unread.await?)
    }

    async fn search(&self, search: Search) -> Result<SearchPage, SearchError> {
        let expression =
            match_expression(&room_prefix(self.name.as_str()), &search.query).ok_or(SearchError::BadQuery)?;
        let scan = Scan::new(&search, &self.limits);
        let mut task = SearchTask::new(self.name.clone(), expression, search.before, scan);
        let deadline = Instant::now().checked_add(self.call_timeout());
        let mut worked = Duration::ZERO;
        loop {
            let left = deadline.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            let state = Arc::clone(&self.parts.state);
            let slice = SEARCH_SLICE.min(self.parts.search_time_limit.saturating_sub(worked));
            let slice = self.parts.searches.read(left, move |connection| {
                let clock = WorkClock::start();
                let is_complete = task.run(connection, &state.unreadable, Instant::now() + slice)?;
                Ok((task, is_complete, clock.elapsed()))
            });
            let (continued, is_complete, elapsed) = slice.await?;
            task = continued;
            worked += elapsed;
            if is_complete {
                return Ok(task.finish());
            }
            if worked >= self.parts.search_time_limit {
                return Err(SearchError::TooExpensive);
            }
        }
    }
}

impl Drop for SqliteRoom {
    fn drop(&mut self) {
        self.parts.state.notifier.unsubscribe(&self.name, self.subscription);
    }
}

/// Returns the key window in milliseconds.
fn key_window(limits: &Limits) -> u64 {
    u64::try_from(limits.rooms.key_window.as_millis()).unwrap_or(u64::MAX)
}
