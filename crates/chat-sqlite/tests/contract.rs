//! The suite of `chat-store-conformance` on rooms in a store, at each level.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{CommitSink, Limits, Room, RoomName};
use chat_sqlite::{Durability, Options};
use chat_store_conformance::{Kind, Store, certify};

fn main() -> ExitCode {
    // The cases let go of a store while they use its rooms.
    let stores = tempfile::tempdir().expect("a directory");
    certify([("disk", Durability::Disk), ("process", Durability::Process)].map(|(name, durability)| {
        let dir = stores.path().to_owned();
        Kind::new(name, move |limits: Arc<Limits>| {
            let dir = tempfile::tempdir_in(&dir).expect("a directory").keep();
            let options = Options {
                durability,
                retain_messages: Some(limits.rooms.log_messages as u64),
                max_keys: limits.rooms.log_keys as u64,
                sweep_interval: Duration::from_millis(20),
                ..Options::default()
            };
            async { Sqlite::open(dir, options) }
        })
    }))
}

struct Sqlite {
    store: chat_sqlite::Store,
    dir: PathBuf,
    options: Options,
}

impl Sqlite {
    fn open(dir: PathBuf, options: Options) -> Self {
        let store = chat_sqlite::Store::open(&dir, options.clone()).expect("a store");
        Self { store, dir, options }
    }
}

#[async_trait]
impl Store for Sqlite {
    fn room(&self, name: RoomName, limits: Arc<Limits>, outlet: CommitSink) -> Arc<dyn Room> {
        self.store.room(name, limits, outlet)
    }

    async fn reopen(self: Box<Self>) -> Box<dyn Store> {
        let Self { store, dir, options } = *self;
        store.close();
        Box::new(Self::open(dir, options))
    }
}
