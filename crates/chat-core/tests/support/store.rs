use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{
    AppendError, AppendReceipt, Chat, Limits, LogBounds, MemoryRoom, Message, NewMessage, Page, Range, Room,
    Unavailable,
};
use parking_lot::Mutex;
use tokio::time::sleep;

/// How a store behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mode {
    Works,
    Slow(Duration),
    Fails,
    Hangs,
}

/// A store that does as it is told, around rooms in memory.
#[derive(Clone)]
pub(crate) struct Store(Arc<Mutex<State>>);

struct State {
    append: Mode,
    read: Mode,
    bounds: Mode,
    reads: usize,
    lost: Vec<u64>,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            append: Mode::Works,
            read: Mode::Works,
            bounds: Mode::Works,
            reads: 0,
            lost: Vec::new(),
        })))
    }

    /// A chat whose rooms are kept here.
    pub(crate) fn chat<M: Message>(&self, limits: Limits) -> Chat<M> {
        let store = self.clone();
        let open = move |name, limits, outlet| {
            Arc::new(StoredRoom { store: store.clone(), log: MemoryRoom::new(name, limits, outlet) })
                as Arc<dyn Room>
        };
        Chat::builder().limits(limits).rooms(open).build()
    }

    pub(crate) fn append(&self, mode: Mode) {
        self.0.lock().append = mode;
    }

    pub(crate) fn read(&self, mode: Mode) {
        self.0.lock().read = mode;
    }

    pub(crate) fn bounds(&self, mode: Mode) {
        self.0.lock().bounds = mode;
    }

    /// Cannot read these messages any more.
    pub(crate) fn lose(&self, seqs: impl IntoIterator<Item = u64>) {
        self.0.lock().lost.extend(seqs);
    }

    /// Reads begun.
    pub(crate) fn reads(&self) -> usize {
        self.0.lock().reads
    }
}

struct StoredRoom {
    store: Store,
    log: MemoryRoom,
}

#[async_trait]
impl Room for StoredRoom {
    async fn append(&self, draft: NewMessage) -> Result<AppendReceipt, AppendError> {
        let mode = self.store.0.lock().append;
        obey(mode).await.map_err(AppendError::Unavailable)?;
        self.log.append(draft).await
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        let mode = {
            let mut state = self.store.0.lock();
            state.reads += 1;
            state.read
        };
        obey(mode).await.map_err(Unavailable)?;
        let mut page = self.log.read(range).await?;
        page.messages.retain(|stored| !self.store.0.lock().lost.contains(&stored.seq));
        Ok(page)
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        let mode = self.store.0.lock().bounds;
        obey(mode).await.map_err(Unavailable)?;
        self.log.bounds().await
    }
}

async fn obey(mode: Mode) -> Result<(), String> {
    match mode {
        Mode::Works => Ok(()),
        Mode::Slow(time) => {
            sleep(time).await;
            Ok(())
        }
        Mode::Fails => Err("the disk is full".to_owned()),
        Mode::Hangs => pending().await,
    }
}
