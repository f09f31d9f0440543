//! The common part of the stores: a gate in front of a store, and the sinks of a log.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use chat_core::{
    AppendError, AppendReceipt, ChangeError, ChangeReceipt, Commit, CommitSink, Health, Limits, LogBounds,
    Marked, MarkerError, NewAct, NewChange, NewMessage, Page, Range, Room, RoomName, RoomRules, Search,
    SearchError, SearchPage, Standing, Store, ThreadError, Unavailable, Unread, UserKey,
};
use parking_lot::Mutex;

/// The state of a store as one node has it: reachable or not, closed or not.
#[derive(Default)]
pub(crate) struct Gate {
    is_down: AtomicBool,
    is_closed: AtomicBool,
}

impl Gate {
    pub(crate) fn check(&self) -> Result<(), Unavailable> {
        match self.health() {
            Health::Ready => Ok(()),
            Health::Degraded(cause) | Health::Unreachable(cause) => Err(Unavailable::new(cause)),
            _ => Err(Unavailable::new("an unknown state")),
        }
    }

    pub(crate) fn set_reachable(&self, reachable: bool) {
        self.is_down.store(!reachable, Ordering::SeqCst);
    }

    fn health(&self) -> Health {
        if self.is_closed.load(Ordering::SeqCst) {
            Health::Unreachable("the store is closed".to_owned())
        } else if self.is_down.load(Ordering::SeqCst) {
            Health::Unreachable("the store does not answer".to_owned())
        } else {
            Health::Ready
        }
    }
}

/// The rooms of a store, as a node opens them behind its [`Gate`].
#[async_trait]
pub(crate) trait Rooms: Send + Sync + 'static {
    async fn open(
        &self,
        room: &RoomName,
        limits: &Arc<Limits>,
        sink: CommitSink,
        gate: &Arc<Gate>,
    ) -> Result<Arc<dyn Room>, Unavailable>;

    /// Returns the store of the followed rooms, if there is one.
    fn follows(&self) -> Option<&dyn Store> {
        None
    }
}

/// A store as one node has it. Each call passes the gate first.
pub(crate) struct Node<R> {
    pub(crate) rooms: Arc<R>,
    pub(crate) gate: Arc<Gate>,
}

impl<R: Rooms> Node<R> {
    pub(crate) fn new(rooms: &Arc<R>) -> Arc<Self> {
        Arc::new(Self { rooms: Arc::clone(rooms), gate: Arc::default() })
    }
}

#[async_trait]
impl<R: Rooms> Store for Node<R> {
    async fn open(
        &self,
        room: &RoomName,
        limits: &Arc<Limits>,
        sink: CommitSink,
    ) -> Result<Arc<dyn Room>, Unavailable> {
        self.gate.check()?;
        let log = self.rooms.open(room, limits, sink, &self.gate).await?;
        Ok(Arc::new(Opening { log, gate: Arc::clone(&self.gate) }))
    }

    async fn follow(&self, user: &UserKey, room: &RoomName, on: bool, max: usize) -> Result<(), MarkerError> {
        self.gate.check()?;
        self.rooms.follows().ok_or(MarkerError::Unsupported)?.follow(user, room, on, max).await
    }

    async fn followed(&self, user: &UserKey) -> Result<Vec<RoomName>, MarkerError> {
        self.gate.check()?;
        self.rooms.follows().ok_or(MarkerError::Unsupported)?.followed(user).await
    }

    fn health(&self) -> Health {
        self.gate.health()
    }

    async fn close(&self) -> Result<(), Unavailable> {
        self.gate.is_closed.store(true, Ordering::SeqCst);
        Ok(())
    }
}

/// A room as one node has it. Each call passes the gate first.
struct Opening {
    log: Arc<dyn Room>,
    gate: Arc<Gate>,
}

#[async_trait]
impl Room for Opening {
    async fn append(&self, message: NewMessage) -> Result<AppendReceipt, AppendError> {
        self.gate.check()?;
        self.log.append(message).await
    }

    async fn change(&self, change: NewChange) -> Result<ChangeReceipt, ChangeError> {
        self.gate.check()?;
        self.log.change(change).await
    }

    async fn govern(&self, act: NewAct) -> Result<ChangeReceipt, ChangeError> {
        self.gate.check()?;
        self.log.govern(act).await
    }

    async fn purge(&self, act: NewAct) -> Result<ChangeReceipt, ChangeError> {
        self.gate.check()?;
        self.log.purge(act).await
    }

    async fn standing(&self, user: &UserKey) -> Result<(RoomRules, Standing), Unavailable> {
        self.log.standing(user).await
    }

    async fn messages(&self, seqs: &[u64], max_bytes: usize) -> Result<Page, Unavailable> {
        self.gate.check()?;
        self.log.messages(seqs, max_bytes).await
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        self.gate.check()?;
        self.log.read(range).await
    }

    async fn thread(&self, root: u64, range: Range) -> Result<Page, ThreadError> {
        self.gate.check()?;
        self.log.thread(root, range).await
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        self.gate.check()?;
        self.log.bounds().await
    }

    async fn mark(&self, user: &UserKey, seq: u64) -> Result<Marked, MarkerError> {
        self.gate.check()?;
        self.log.mark(user, seq).await
    }

    async fn unread(&self, user: &UserKey, up_to: u64) -> Result<Unread, MarkerError> {
        self.gate.check()?;
        self.log.unread(user, up_to).await
    }

    async fn search(&self, search: Search) -> Result<SearchPage, SearchError> {
        self.gate.check()?;
        self.log.search(search).await
    }
}

/// The sinks of all openings of a log. A sink gets reports until its opening is dropped.
#[derive(Default)]
pub(crate) struct Sinks(Mutex<Vec<Weak<CommitSink>>>);

impl Sinks {
    /// Adds a sink, which gets reports while the returned value is held.
    pub(crate) fn add(&self, sink: CommitSink) -> Arc<CommitSink> {
        let sink = Arc::new(sink);
        self.0.lock().push(Arc::downgrade(&sink));
        sink
    }

    pub(crate) fn report(&self, commit: Commit<'_>) {
        let mut open = Vec::new();
        self.0.lock().retain(|sink| sink.upgrade().map(|sink| open.push(sink)).is_some());
        for sink in open {
            sink.report(commit);
        }
    }
}
