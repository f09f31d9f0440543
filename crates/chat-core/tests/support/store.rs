use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{
    AppendError, Appended, Chat, Draft, Limits, MemoryRoom, Message, Page, Range, Room, Standing, Unavailable,
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
    standing: Mode,
    reads: usize,
    lost: Vec<u64>,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            append: Mode::Works,
            read: Mode::Works,
            standing: Mode::Works,
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

    pub(crate) fn standing(&self, mode: Mode) {
        self.0.lock().standing = mode;
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
    async fn append(&self, draft: Draft) -> Result<Appended, AppendError> {
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

    async fn standing(&self) -> Result<Standing, Unavailable> {
        let mode = self.store.0.lock().standing;
        obey(mode).await.map_err(Unavailable)?;
        self.log.standing().await
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
