use std::sync::Arc;

use async_trait::async_trait;
use chat_core::{
    AppendError, AppendReceipt, Chat, CommitSink, Limits, LogBounds, MemoryRoom, NewMessage, Page, Range,
    Room, RoomName, Store, Unavailable,
};
use tokio::sync::watch;

use super::within;

/// The behaviour of a room at the next message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mode {
    Works,
    /// The room waits for another mode.
    Waits,
    /// The room returns an error.
    Fails,
    /// The room stores the message and returns an error.
    StoresAndFails,
}

/// Rooms in memory that fail on demand.
#[derive(Clone, Debug)]
pub(crate) struct Failing {
    mode: Arc<watch::Sender<Mode>>,
    attempts: Arc<watch::Sender<usize>>,
}

impl Failing {
    pub(crate) fn new(mode: Mode) -> Self {
        Self { mode: Arc::new(watch::Sender::new(mode)), attempts: Arc::default() }
    }

    pub(crate) fn chat(&self) -> Chat {
        Chat::builder().store(self.clone()).build()
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Returns the number of appends.
    pub(crate) fn attempts(&self) -> usize {
        *self.attempts.borrow()
    }

    /// Waits for this many appends.
    pub(crate) async fn wait_for_attempts(&self, count: usize) {
        let mut attempts = self.attempts.subscribe();
        within(attempts.wait_for(|attempts| *attempts >= count)).await.unwrap();
    }
}

#[async_trait]
impl Store for Failing {
    async fn open(
        &self,
        room: &RoomName,
        limits: &Arc<Limits>,
        sink: CommitSink,
    ) -> Result<Arc<dyn Room>, Unavailable> {
        let log = MemoryRoom::new(room.clone(), Arc::clone(limits), sink);
        Ok(Arc::new(FailingRoom { rooms: self.clone(), log }))
    }
}

struct FailingRoom {
    rooms: Failing,
    log: MemoryRoom,
}

#[async_trait]
impl Room for FailingRoom {
    async fn append(&self, draft: NewMessage) -> Result<AppendReceipt, AppendError> {
        self.rooms.attempts.send_modify(|attempts| *attempts += 1);
        let mut modes = self.rooms.mode.subscribe();
        let mode = *modes.wait_for(|mode| !matches!(mode, Mode::Waits)).await.unwrap();
        let failed = || AppendError::from(Unavailable::new("the test wants an error"));
        match mode {
            Mode::Fails => Err(failed()),
            Mode::StoresAndFails => self.log.append(draft).await.and(Err(failed())),
            Mode::Works | Mode::Waits => self.log.append(draft).await,
        }
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        self.log.read(range).await
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        self.log.bounds().await
    }
}
