//! The suite of `chat-store-conformance` on rooms in a file, at each level of durability.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{Limits, Store};
use chat_sqlite::{Durability, Options, SqliteStore};
use chat_store_conformance::{Backend, Capability, Fixture, certify};

fn main() -> ExitCode {
    // The fixture of a case may be dropped before its rooms, so the directories stay until the end.
    let stores = tempfile::tempdir().expect("a directory");
    certify([("disk", Durability::Disk), ("process", Durability::Process)].map(|(name, durability)| {
        let dir = stores.path().to_owned();
        Backend::new(name, move |limits: Arc<Limits>| {
            let dir = tempfile::tempdir_in(&dir).expect("a directory").keep();
            let options = Options::default().with(|options| {
                options.durability = durability;
                options.retain_messages = Some(limits.rooms.log_messages as u64);
                options.max_keys_per_user = limits.rooms.log_keys as u64;
                options.sweep_interval = Duration::from_millis(20);
            });
            async { Sqlite::open(dir, options) }
        })
        .without(Capability::MultipleNodes, "one process has the file open")
        .without(Capability::Outage, "the suite cannot make a local file unreachable")
        .without(Capability::Renewal, "the suite does not replace the file of an open store")
    }))
}

struct Sqlite {
    store: Arc<SqliteStore>,
    dir: PathBuf,
    options: Options,
}

impl Sqlite {
    fn open(dir: PathBuf, options: Options) -> Self {
        let store = Arc::new(SqliteStore::open(&dir, options.clone()).expect("a store"));
        Self { store, dir, options }
    }
}

#[async_trait]
impl Fixture for Sqlite {
    fn store(&self, node: usize) -> Option<Arc<dyn Store>> {
        (node == 0).then(|| Arc::clone(&self.store) as Arc<dyn Store>)
    }

    async fn restart(&mut self) {
        // The file is released even if `health::a_close_loses_no_acknowledged_entry` has closed the store before.
        let _closed_before = Store::close(&*self.store).await;
        *self = Self::open(self.dir.clone(), self.options.clone());
    }
}
