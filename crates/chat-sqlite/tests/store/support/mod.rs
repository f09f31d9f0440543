//! Shared by the tests: stores in temporary directories, and rooms without a chat.

pub(crate) mod disk;
pub(crate) mod process;
pub(crate) mod reads;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chat_core::{
    AppendError, AppendReceipt, CommitSink, Limits, NewMessage, Range, Room, RoomName, StoredMessage, User,
};
use chat_sqlite::{Options, SqliteStore};
use rusqlite::Connection;
use serde_json::value::RawValue;
use sha1::{Digest, Sha1};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// A time limit that a busy machine does not reach.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A temporary directory for a store, removed on drop.
pub(crate) struct StoreDir {
    dir: TempDir,
}

impl StoreDir {
    pub(crate) fn new() -> Self {
        Self { dir: TempDir::new().expect("a directory") }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn open(&self) -> SqliteStore {
        self.open_with(Options::default())
    }

    pub(crate) fn open_with(&self, options: Options) -> SqliteStore {
        SqliteStore::open(self.path(), options).expect("a store")
    }

    /// Opens a store that waits long for a program that has locked its database.
    pub(crate) fn open_with_long_lock_wait(&self) -> SqliteStore {
        self.open_with(Options::default().with(|options| options.lock_wait = TEST_TIMEOUT))
    }

    /// Opens the database without the store, and locks it against writers until the drop or a `ROLLBACK`.
    pub(crate) fn lock(&self) -> Connection {
        let database = self.database();
        database.execute_batch("BEGIN IMMEDIATE").expect("locked");
        database
    }

    /// Opens the database without the store.
    pub(crate) fn database(&self) -> Connection {
        Connection::open(self.file("chat.db")).expect("a database")
    }

    /// Opens the search index without the store.
    pub(crate) fn index(&self) -> Connection {
        Connection::open(self.file("chat.search")).expect("a database")
    }
}

/// Limits with a call timeout that a busy machine does not reach.
pub(crate) fn limits() -> Arc<Limits> {
    Arc::new(Limits::default().with(|limits| limits.rooms.call_timeout = TEST_TIMEOUT))
}

pub(crate) fn name(room: &str) -> RoomName {
    room.parse().expect("a room name")
}

/// Opens a room without members.
pub(crate) fn room(store: &SqliteStore, room: &str) -> Arc<dyn Room> {
    store.room(name(room), limits(), ignore_commits())
}

/// Opens the room `lobby` with other limits.
pub(crate) fn lobby_with(store: &SqliteStore, set: impl FnOnce(&mut Limits)) -> Arc<dyn Room> {
    store.room(name("lobby"), Arc::new((*limits()).clone().with(set)), ignore_commits())
}

/// Opens a new store and its room `lobby`.
pub(crate) fn open_lobby() -> (StoreDir, SqliteStore, Arc<dyn Room>) {
    open_lobby_with(|_| ())
}

/// Opens a new store with these options and its room `lobby`.
pub(crate) fn open_lobby_with(set: impl FnOnce(&mut Options)) -> (StoreDir, SqliteStore, Arc<dyn Room>) {
    let dir = StoreDir::new();
    let store = dir.open_with(Options::default().with(set));
    let lobby = room(&store, "lobby");
    (dir, store, lobby)
}

/// A sink that does nothing.
pub(crate) fn ignore_commits() -> CommitSink {
    CommitSink::new(|_| ())
}

pub(crate) fn guest(name: &str) -> User {
    User::guest(name).expect("a name")
}

pub(crate) fn draft(user: &User, key: Option<&str>, text: &str) -> NewMessage {
    let body = serde_json::json!({ "text": text }).to_string();
    NewMessage::new(user.clone(), RawValue::from_string(body).expect("JSON"))
        .with_key(key.map(ToOwned::to_owned))
}

/// Appends a message of the guest `ann`.
pub(crate) async fn append(room: &Arc<dyn Room>, text: &str) -> Result<AppendReceipt, AppendError> {
    room.append(draft(&guest("ann"), None, text)).await
}

/// Appends these messages of the guest `ann`, one after the other.
pub(crate) async fn append_all(room: &Arc<dyn Room>, texts: impl IntoIterator<Item = impl AsRef<str>>) {
    for text in texts {
        append(room, text.as_ref()).await.expect("appended");
    }
}

/// Appends messages of the guest `ann` concurrently, each in a task of its own.
pub(crate) fn spawn_appends<T: Into<String>>(
    room: &Arc<dyn Room>,
    numbers: std::ops::Range<u64>,
    text: impl Fn(u64) -> T,
) -> Vec<JoinHandle<Result<AppendReceipt, AppendError>>> {
    let spawn = |number| {
        let (room, text) = (Arc::clone(room), text(number).into());
        tokio::spawn(async move { append(&room, &text).await })
    };
    numbers.map(spawn).collect()
}

/// Checks that an append failed because the store is unavailable, with a cause that contains this text.
pub(crate) fn assert_unavailable(appended: &Result<AppendReceipt, AppendError>, cause: &str) {
    let is_expected =
        matches!(appended, Err(AppendError::Unavailable(error)) if error.cause().contains(cause));
    assert!(is_expected, "{appended:?}");
}

/// Appends a message of the guest `ann` with a key.
pub(crate) async fn append_with_key(
    room: &Arc<dyn Room>,
    key: &str,
    text: &str,
) -> Result<AppendReceipt, AppendError> {
    room.append(draft(&guest("ann"), Some(key), text)).await
}

/// Reads all messages of a room.
pub(crate) async fn read_all(room: &Arc<dyn Room>) -> Vec<StoredMessage> {
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

/// The digest of a file's content, or `None` if there is no such file.
pub(crate) fn file_hash(path: &Path) -> Option<[u8; 20]> {
    Some(Sha1::digest(std::fs::read(path).ok()?).into())
}

pub(crate) fn set_file_length(path: &Path, length: u64) {
    let file = std::fs::File::options().write(true).open(path).expect("a file");
    file.set_len(length).expect("truncated");
}

/// Waits until a condition is true.
pub(crate) async fn wait_until(condition: impl AsyncFn() -> bool) {
    let waited = tokio::time::timeout(TEST_TIMEOUT, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.expect("in time");
}
