//! The stage of a case: its store, the rooms that it opens, and chats over the store.

#![expect(clippy::missing_errors_doc, reason = "each method fails if the store does something else")]

mod chat;
mod peer;
mod reports;
mod room;

use std::fmt;
use std::sync::Arc;

use chat_core::{CommitSink, Limits, RoomName, Store, Unavailable};
use chat_suite::FromStage;

pub use chat::TestChat;
pub use peer::{Frame, Peer};
pub use reports::Reports;
pub use room::OpenRoom;
pub(crate) use room::{ann, body, guest};

use crate::{Failure, Fixture, Verdict};

/// The value that a case works with: a store of its own.
pub struct Stage {
    fixture: Box<dyn Fixture>,
    limits: Arc<Limits>,
}

impl Stage {
    pub(crate) fn new(fixture: Box<dyn Fixture>, limits: Arc<Limits>) -> Self {
        Self { fixture, limits }
    }

    /// Returns the limits of the chat.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the store of a node.
    pub fn store(&self, node: usize) -> Result<Arc<dyn Store>, Failure> {
        self.fixture.store(node).ok_or_else(|| Failure::new(format!("a store for node {node}"), "none"))
    }

    /// Opens a room on node 0.
    pub async fn open(&self, name: &str) -> Result<OpenRoom, Failure> {
        self.open_on(0, name).await
    }

    /// Opens a room on a node.
    pub async fn open_on(&self, node: usize, name: &str) -> Result<OpenRoom, Failure> {
        let reports = Reports::default();
        let opened = self.try_open(node, name, reports.clone(), reports.sink()).await?;
        opened.map_err(|unavailable| Failure::new("a room that can be opened", unavailable))
    }

    /// Opens a room with this sink, and returns the answer of the store.
    pub async fn try_open(
        &self,
        node: usize,
        name: &str,
        reports: Reports,
        sink: CommitSink,
    ) -> Result<Result<OpenRoom, Unavailable>, Failure> {
        let log = self.store(node)?.open(&room_name(name)?, &self.limits, sink).await;
        Ok(log.map(|log| OpenRoom::new(log, reports)))
    }

    /// Returns a chat of the store of a node.
    pub fn chat_on(&self, node: usize) -> Result<TestChat, Failure> {
        Ok(TestChat::new(self.store(node)?, &self.limits))
    }

    /// Restarts the store. The case must have dropped all its rooms.
    #[must_use]
    pub async fn restart(mut self) -> Self {
        self.fixture.restart().await;
        self
    }

    /// Makes the store reachable or unreachable for node 0.
    pub fn set_reachable(&self, reachable: bool) -> Verdict {
        let is_set = self.fixture.set_reachable(reachable);
        chat_suite::check(is_set, "a fixture that can make the store unreachable", "none")
    }

    /// Lets each open log start a new epoch.
    pub async fn renew(&self) -> Verdict {
        let is_renewed = self.fixture.renew().await;
        chat_suite::check(is_renewed, "a fixture that can renew its logs", "none")
    }
}

/// A chat of the store of node 0.
impl FromStage<Stage> for TestChat {
    async fn from_stage(stage: &Stage, _: &str) -> Result<Self, Failure> {
        stage.chat_on(0)
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").field("limits", &self.limits).finish_non_exhaustive()
    }
}

fn room_name(name: &str) -> Result<RoomName, Failure> {
    name.parse().map_err(|error| Failure::new("a valid room name", error))
}
