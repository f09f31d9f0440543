use std::sync::Arc;

use async_trait::async_trait;
use chat_core::{
    Commit, CommitSink, Health, Limits, MarkerError, Room, RoomName, Store, Unavailable, UserKey,
};
use chat_store_conformance::Fixture;

use crate::held::Held;

/// A store whose sinks hear of each new head, but not of the entry: each reader of reports has to read the log.
pub(crate) struct ByHeads(Held);

struct Node(Arc<dyn Store>);

impl ByHeads {
    pub(crate) fn new() -> Self {
        Self(Held::new())
    }
}

#[async_trait]
impl Fixture for ByHeads {
    fn store(&self, node: usize) -> Option<Arc<dyn Store>> {
        self.0.store(node).map(|store| Arc::new(Node(store)) as Arc<dyn Store>)
    }

    async fn restart(&mut self) {
        self.0.restart().await;
    }

    fn set_reachable(&self, reachable: bool) -> bool {
        self.0.set_reachable(reachable)
    }

    async fn renew(&self) -> bool {
        self.0.renew().await
    }
}

#[async_trait]
impl Store for Node {
    async fn open(
        &self,
        room: &RoomName,
        limits: &Arc<Limits>,
        sink: CommitSink,
    ) -> Result<Arc<dyn Room>, Unavailable> {
        let heads = CommitSink::new(move |commit| match commit {
            Commit::Entry { epoch, stored } => sink.advance(epoch, stored.seq),
            commit => sink.report(commit),
        });
        self.0.open(room, limits, heads).await
    }

    async fn follow(&self, user: &UserKey, room: &RoomName, on: bool, max: usize) -> Result<(), MarkerError> {
        self.0.follow(user, room, on, max).await
    }

    async fn followed(&self, user: &UserKey) -> Result<Vec<RoomName>, MarkerError> {
        self.0.followed(user).await
    }

    fn health(&self) -> Health {
        self.0.health()
    }

    async fn close(&self) -> Result<(), Unavailable> {
        self.0.close().await
    }
}
