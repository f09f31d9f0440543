use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{
    AppendError, AppendReceipt, Chat, CommitSink, Health, Limits, LogBounds, MemoryRoom, NewMessage, Page,
    Range, Room, RoomName, Unavailable,
};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::sleep;

/// The behaviour of one kind of call to a [`Store`].
#[derive(Clone, Copy, Debug, Default)]
pub enum Mode {
    /// The call succeeds at once.
    #[default]
    Works,
    /// The call succeeds after this time.
    Slow(Duration),
    /// The call fails at once.
    Fails,
    /// The call never returns.
    Hangs,
    /// An append waits until the behaviour of appends changes. Any other call never returns.
    Waits,
    /// An append stores its message and fails. Any other call fails at once.
    StoresAndFails,
}

/// A store of rooms in memory with calls that a test controls. It has no search.
#[derive(Clone, Debug, Default)]
pub struct Store(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    open: Mode,
    append: watch::Sender<Mode>,
    /// The number of appends that have begun.
    appends: watch::Sender<usize>,
    read: Mode,
    bounds: Mode,
    /// The health that a test has set. `None` is ready.
    health: Option<Health>,
    opens: usize,
    reads: usize,
    closes: usize,
    lost: Vec<u64>,
    /// The epoch that the bounds report instead of the log's own.
    epoch: Option<String>,
    sink: Option<CommitSink>,
}

impl Store {
    /// Returns a store in which all calls succeed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a new store and a chat on it.
    pub fn with_chat(limits: Limits) -> (Self, Chat) {
        let store = Self::new();
        let chat = store.chat(limits);
        (store, chat)
    }

    /// Returns a chat on this store.
    pub fn chat(&self, limits: Limits) -> Chat {
        Chat::builder().limits(limits).store(self.clone()).build()
    }

    /// Sets the behaviour of opening a room.
    pub fn open(&self, mode: Mode) {
        self.0.lock().open = mode;
    }

    /// Sets the behaviour of appends.
    pub fn append(&self, mode: Mode) {
        self.0.lock().append.send_replace(mode);
    }

    /// Sets the behaviour of reads.
    pub fn read(&self, mode: Mode) {
        self.0.lock().read = mode;
    }

    /// Sets the behaviour of asking for the bounds.
    pub fn bounds(&self, mode: Mode) {
        self.0.lock().bounds = mode;
    }

    /// Sets the health that the store reports.
    pub fn health(&self, health: Health) {
        self.0.lock().health = Some(health);
    }

    /// Loses these messages: reads leave them out.
    pub fn lose(&self, seqs: impl IntoIterator<Item = u64>) {
        self.0.lock().lost.extend(seqs);
    }

    /// Reports an empty log of another epoch as the bounds from now on, without a word to the sinks.
    pub fn renew(&self, epoch: &str) {
        self.0.lock().epoch = Some(epoch.to_owned());
    }

    /// Returns the number of times that a room was opened.
    pub fn opens(&self) -> usize {
        self.0.lock().opens
    }

    /// Returns the number of appends that have begun.
    pub fn appends(&self) -> usize {
        *self.0.lock().appends.borrow()
    }

    /// Waits until this many appends have begun.
    pub async fn wait_for_appends(&self, count: usize) {
        let mut appends = self.0.lock().appends.subscribe();
        appends.wait_for(|appends| *appends >= count).await.expect("the store is there");
    }

    /// Returns the number of reads that have begun.
    pub fn reads(&self) -> usize {
        self.0.lock().reads
    }

    /// Returns the number of times that the store was closed.
    pub fn closes(&self) -> usize {
        self.0.lock().closes
    }

    /// Returns the sink of the room that was opened last.
    pub fn sink(&self) -> CommitSink {
        self.0.lock().sink.clone().expect("a room was opened")
    }
}

#[async_trait]
impl chat_core::Store for Store {
    async fn open(
        &self,
        room: &RoomName,
        limits: &Arc<Limits>,
        sink: CommitSink,
    ) -> Result<Arc<dyn Room>, Unavailable> {
        let mode = {
            let mut state = self.0.lock();
            state.opens += 1;
            state.sink = Some(sink.clone());
            state.open
        };
        obey(mode).await?;
        let log = MemoryRoom::new(room.clone(), Arc::clone(limits), sink);
        Ok(Arc::new(StoredRoom { store: self.clone(), log }))
    }

    fn health(&self) -> Health {
        self.0.lock().health.clone().unwrap_or(Health::Ready)
    }

    async fn close(&self) -> Result<(), Unavailable> {
        self.0.lock().closes += 1;
        Ok(())
    }
}

struct StoredRoom {
    store: Store,
    log: MemoryRoom,
}

#[async_trait]
impl Room for StoredRoom {
    async fn append(&self, message: NewMessage) -> Result<AppendReceipt, AppendError> {
        let mut modes = {
            let state = self.store.0.lock();
            state.appends.send_modify(|appends| *appends += 1);
            state.append.subscribe()
        };
        let mode = *modes.wait_for(|mode| !matches!(mode, Mode::Waits)).await.expect("the store is there");
        if let Mode::StoresAndFails = mode {
            self.log.append(message.clone()).await?;
        }
        obey(mode).await?;
        self.log.append(message).await
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        let mode = {
            let mut state = self.store.0.lock();
            state.reads += 1;
            state.read
        };
        obey(mode).await?;
        let mut page = self.log.read(range).await?;
        page.messages.retain(|stored| !self.store.0.lock().lost.contains(&stored.seq));
        Ok(page)
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        let mode = self.store.0.lock().bounds;
        let renewed = self.store.0.lock().epoch.clone();
        let bounds = match renewed {
            Some(epoch) => LogBounds { epoch, head: 0, first: 1 },
            None => self.log.bounds().await?,
        };
        // A slow answer is an old one.
        obey(mode).await?;
        Ok(bounds)
    }
}

async fn obey(mode: Mode) -> Result<(), Unavailable> {
    match mode {
        Mode::Works => Ok(()),
        Mode::Slow(time) => {
            sleep(time).await;
            Ok(())
        }
        Mode::Fails | Mode::StoresAndFails => Err(Unavailable::new("the disk is full")),
        Mode::Hangs | Mode::Waits => pending().await,
    }
}
