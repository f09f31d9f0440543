//! The suite on rooms in memory: as they are; held by a store that outlives its lives; and written by a task, so
//! that no case counts on an answer that is there at once.

#[path = "support/kept.rs"]
mod kept;
#[path = "support/queued.rs"]
mod queued;

use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use chat_core::{CommitSink, Limits, MemoryRoom, Room, RoomName};
use chat_room_conformance::{Ability, Kind, Store, certify};

use kept::Kept;
use queued::Queued;

fn main() -> ExitCode {
    certify([
        Kind::new("memory", |_| async { Memory })
            .without(Ability::Lasting, "a room in memory is its log, and another opening another log"),
        Kind::new("kept", |_| async { Kept::default() }),
        Kind::new("queued", |_| async { Queued::default() }),
    ])
}

struct Memory;

#[async_trait]
impl Store for Memory {
    fn room(&self, name: RoomName, limits: Arc<Limits>, outlet: CommitSink) -> Arc<dyn Room> {
        Arc::new(MemoryRoom::new(name, limits, outlet))
    }

    async fn reopen(self: Box<Self>) -> Box<dyn Store> {
        self
    }
}
