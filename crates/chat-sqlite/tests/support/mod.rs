//! What the tests share: stores in directories of their own, and rooms that can be used without a chat.

#![allow(dead_code, reason = "every test file uses another part of this")]

pub(crate) mod disk;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chat_core::{
    AppendError, AppendReceipt, CommitSink, Limits, NewMessage, Range, Room, RoomName, StoredMessage, User,
};
use chat_sqlite::{Options, Store};
use rusqlite::Connection;
use serde_json::value::RawValue;
use sha1::{Digest, Sha1};
use tempfile::TempDir;

/// Longer than anything takes on a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A directory for a store, removed at the end.
pub(crate) struct Home {
    dir: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self { dir: TempDir::new().expect("a directory") }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn open(&self) -> Store {
        self.open_with(Options::default())
    }

    pub(crate) fn open_with(&self, options: Options) -> Store {
        Store::open(self.path(), options).expect("a store")
    }

    /// A store that waits for whoever has locked its database, however busy the machine is.
    pub(crate) fn open_patient(&self) -> Store {
        self.open_with(Options { lock_wait: PATIENCE, ..Options::default() })
    }

    /// The database, behind the store's back.
    pub(crate) fn database(&self) -> Connection {
        Connection::open(self.file("chat.db")).expect("a database")
    }
}

/// No limit of time that a busy machine could reach.
pub(crate) fn limits() -> Arc<Limits> {
    Arc::new(Limits::default().with(|limits| {
        limits.rooms.call_timeout = PATIENCE;
    }))
}

pub(crate) fn name(room: &str) -> RoomName {
    room.parse().expect("a room name")
}

/// A room that nobody is in.
pub(crate) fn room(store: &Store, room: &str) -> Arc<dyn Room> {
    store.room(name(room), limits(), deaf())
}

/// An outlet that nobody listens to.
pub(crate) fn deaf() -> CommitSink {
    CommitSink::new(|_| ())
}

pub(crate) fn guest(name: &str) -> User {
    User::guest(name).expect("a name")
}

pub(crate) fn draft(user: &User, key: Option<&str>, text: &str) -> NewMessage {
    let body = serde_json::json!({ "text": text }).to_string();
    NewMessage {
        user: user.clone(),
        key: key.map(ToOwned::to_owned),
        body: RawValue::from_string(body).expect("JSON"),
    }
}

/// Ann says something.
pub(crate) async fn say(room: &Arc<dyn Room>, text: &str) -> Result<AppendReceipt, AppendError> {
    room.append(draft(&guest("ann"), None, text)).await
}

/// Ann says something with a key.
pub(crate) async fn say_once(
    room: &Arc<dyn Room>,
    key: &str,
    text: &str,
) -> Result<AppendReceipt, AppendError> {
    room.append(draft(&guest("ann"), Some(key), text)).await
}

/// All that a room holds, read from its beginning.
pub(crate) async fn all(room: &Arc<dyn Room>) -> Vec<StoredMessage> {
    let mut messages: Vec<StoredMessage> = Vec::new();
    loop {
        let seq = messages.last().map_or(0, |stored| stored.seq);
        let page = room.read(Range::After { seq, limit: 100 }).await.expect("a page");
        messages.extend(page.messages);
        if !page.more {
            return messages;
        }
    }
}

pub(crate) fn seqs(messages: &[StoredMessage]) -> Vec<u64> {
    messages.iter().map(|stored| stored.seq).collect()
}

/// What a file holds, to see whether it changes.
pub(crate) fn hash(path: &Path) -> Option<String> {
    let bytes = std::fs::read(path).ok()?;
    Some(Sha1::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Gives a file another length.
pub(crate) fn cut(path: &Path, length: u64) {
    let file = std::fs::File::options().write(true).open(path).expect("a file");
    file.set_len(length).expect("cut");
}

/// Waits until something is so.
pub(crate) async fn until(what: impl AsyncFn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !what().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.expect("in time");
}
