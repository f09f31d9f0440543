//! The conformance suite of `chat-room-conformance`, with each durability.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{CommitSink, Limits, Room, RoomName};
use chat_room_conformance::{Kind, SqliteStore, certify};
use chat_sqlite::{Durability, Options};

fn main() -> ExitCode {
    // A case may drop a store while it uses the store's rooms, so the directories are removed at the end.
    let stores = tempfile::tempdir().expect("a directory");
    certify([("disk", Durability::Disk), ("process", Durability::Process)].map(|(name, durability)| {
        let dir = stores.path().to_owned();
        Kind::new(name, move |limits: Arc<Limits>| {
            let dir = tempfile::tempdir_in(&dir).expect("a directory").keep();
            let options = Options::default().with(|options| {
                options.durability = durability;
                options.retain_messages = Some(limits.rooms.log_messages as u64);
                options.max_keys_per_room = limits.rooms.log_keys as u64;
                options.sweep_interval = Duration::from_millis(20);
            });
            async { Sqlite::open(dir, options) }
        })
    }))
}

struct Sqlite {
    store: chat_sqlite::SqliteStore,
    dir: PathBuf,
    options: Options,
}

impl Sqlite {
    fn open(dir: PathBuf, options: Options) -> Self {
        let store = chat_sqlite::SqliteStore::open(&dir, options.clone()).expect("a store");
        Self { store, dir, options }
    }
}

#[async_trait]
impl SqliteStore for Sqlite {
    fn room(&self, name: RoomName, limits: Arc<Limits>, sink: CommitSink) -> Arc<dyn Room> {
        self.store.room(name, limits, sink)
    }

    async fn reopen(self: Box<Self>) -> Box<dyn SqliteStore> {
        let Self { store, dir, options } = *self;
        store.close();
        Box::new(Self::open(dir, options))
    }
}
