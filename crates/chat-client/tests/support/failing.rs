use std::sync::Arc;

use async_trait::async_trait;
use chat_core::{
    AppendError, AppendReceipt, Chat, LogBounds, MemoryRoom, NewMessage, Page, Range, Room, Unavailable,
};
use tokio::sync::watch;

use super::within;

/// What a room does with the next message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mode {
    Works,
    /// Nothing until it does something else.
    Waits,
    /// It says that it cannot.
    Fails,
    /// It keeps the message, and says that it cannot.
    Mistaken,
}

/// Rooms in memory that fail when they are told to.
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
        let rooms = self.clone();
        let open = move |name, limits, outlet| {
            Arc::new(FailingRoom { rooms: rooms.clone(), log: MemoryRoom::new(name, limits, outlet) })
                as Arc<dyn Room>
        };
        Chat::builder().rooms(open).build()
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// How often a message was to be stored.
    pub(crate) fn attempts(&self) -> usize {
        *self.attempts.borrow()
    }

    /// Waits until a message was to be stored so often.
    pub(crate) async fn attempted(&self, often: usize) {
        let mut attempts = self.attempts.subscribe();
        within(attempts.wait_for(|attempts| *attempts >= often)).await.unwrap();
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
        let failed = || AppendError::Unavailable("as it was told".to_owned());
        match mode {
            Mode::Fails => Err(failed()),
            Mode::Mistaken => self.log.append(draft).await.and(Err(failed())),
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
