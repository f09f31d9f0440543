use std::io::{self, BufRead, Write};
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use chat_core::{
    CommitSink, Health, Limits, MarkerError, Room, RoomLimits, RoomName, Store, Unavailable, UserKey,
};
use parking_lot::Mutex;
use rusqlite::Connection;

use crate::database::connection::open_reader;
use crate::database::{Paths, room_epoch};
use crate::read::{ReaderPool, followed};
use crate::room::{SharedParts, SqliteRoom, marker_error};
use crate::search::{Indexer, open_index, open_search_reader};
use crate::threads::LowPriorityThreads;
use crate::write::{Prepared, PreparedFollow, Stats, StoreState};
use crate::{
    Compacted, Exported, ImportError, Imported, OpenError, Opening, Options, Progress, Report, maintenance,
    open, write,
};

/// Connections that search, but not more than CPUs. They are separate, so that searches never keep other reads waiting.
const MAX_SEARCH_CONNECTIONS: usize = 2;

/// A directory with the rooms of a chat. A clone is another handle to the same store.
///
/// One process uses a store at a time. The store is open until [`close_blocking`](Self::close_blocking) or
/// [`Store::close`], or until shortly after the last handle and the last room are dropped.
///
/// ```
/// use std::sync::Arc;
///
/// use chat_core::{CommitSink, Limits, NewMessage, User};
/// use chat_sqlite::{Options, SqliteStore};
/// use serde_json::value::to_raw_value;
///
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path();
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
/// # runtime.block_on(async {
/// let store = SqliteStore::open(dir, Options::default())?;
/// let sink = CommitSink::new(|commit| println!("{commit:?}"));
/// let lobby = store.room("lobby".parse()?, Arc::new(Limits::default()), sink);
///
/// let body = to_raw_value(&serde_json::json!({ "text": "hello" }))?;
/// let message = NewMessage::new(User::guest("ann")?, body);
/// assert_eq!(lobby.append(message).await?.seq, 1);
/// assert_eq!(store.stats().appends, 1);
/// assert!(store.close_blocking());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SqliteStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    opening: Opening,
    epoch: String,
    parts: SharedParts,
    /// The writer thread. `None` after [`SqliteStore::close_blocking`].
    thread: Mutex<Option<JoinHandle<bool>>>,
}

impl SqliteStore {
    /// Opens the store of a directory. Creates the store and its directory if they do not exist.
    ///
    /// The parent directory must exist. New files and directories are accessible to the owner only.
    ///
    /// # Errors
    ///
    /// Returns an [`OpenError`] whose text is one line that says what to do. The database is unchanged.
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let (dir, options) = (dir.as_ref(), options.clamped());
        let (database, opening) = open::open(dir, &options)?;
        let (epoch, paths) = (database.identity.epoch.clone(), database.paths.clone());
        let state = Arc::new(StoreState::default());
        let index = open_index(&paths, &database.identity)?;
        let pool = |count, open: fn(&Paths) -> rusqlite::Result<Connection>| {
            let (pool_paths, gate) = (paths.clone(), Arc::clone(&state.gate));
            ReaderPool::new(count, gate, move || open(&pool_paths))
                .map_err(OpenError::sqlite(&paths.database))
        };
        let readers = Arc::new(pool(options.max_concurrent_reads, |paths| open_reader(&paths.database))?);
        // A CPU gains nothing from a second search.
        let cpus = thread::available_parallelism().map_or(1, NonZero::get);
        let count = cpus.min(MAX_SEARCH_CONNECTIONS);
        let threads = LowPriorityThreads::spawn("chat-sqlite-search", count);
        let threads = threads.map_err(OpenError::io("start the search threads of", dir))?;
        let searches = Arc::new(pool(count, open_search_reader)?.with_threads(threads));
        let start = OpenError::io("start the writer thread of", dir);
        let spawned =
            Indexer::spawn(index, paths.clone(), Arc::clone(&state.gate), Arc::clone(&state.unreadable));
        let search_time_limit = options.search_time_limit;
        let spawned = spawned.and_then(|indexer| write::spawn(database, options, &state, indexer));
        let (queue, thread) = spawned.map_err(start)?;
        let parts = SharedParts { queue, readers, searches, state, search_time_limit };
        Ok(Self(Arc::new(Inner { opening, epoch, parts, thread: Mutex::new(Some(thread)) })))
    }

    /// Returns the room with this name, for code that uses a room without a [`Chat`](chat_core::Chat).
    ///
    /// The room is stored with its first message.
    pub fn room(&self, name: RoomName, limits: Arc<Limits>, sink: CommitSink) -> Arc<dyn Room> {
        let epoch = room_epoch(&self.0.epoch, &name);
        Arc::new(SqliteRoom::new(name, epoch, limits, sink, self.0.parts.clone()))
    }

    /// Returns the state in which the store was found.
    pub fn opening(&self) -> Opening {
        self.0.opening
    }

    /// Returns the counters of the store.
    pub fn stats(&self) -> Stats {
        self.0.parts.state.stats(self.0.parts.queue.len())
    }

    /// Commits the waiting appends and closes the database. Blocks until the disk has finished, so asynchronous code
    /// uses [`Store::close`].
    ///
    /// Further calls of the rooms fail. Returns `false` if the database cannot be closed cleanly. Then all acknowledged
    /// messages are safe, and the next start repairs the store. Returns `true` if the store was closed before.
    pub fn close_blocking(&self) -> bool {
        // The writer's connection must close last: the last connection removes the write-ahead log.
        self.0.parts.readers.close();
        self.0.parts.searches.close();
        self.0.parts.queue.close();
        // Held until the thread has ended, so that a concurrent call waits for it too.
        let mut thread = self.0.thread.lock();
        let Some(thread) = thread.take() else { return true };
        let is_clean = thread.join().unwrap_or_else(|_| {
            tracing::error!("writer thread panicked; the next start repairs the store");
            false
        });
        self.0.parts.state.notifier.publish_backlog();
        is_clean
    }

    /// Checks all pages and messages of the store of a directory. Changes nothing.
    ///
    /// A process may use the store at the same time. Its write-ahead log grows until the check ends. `progress` is
    /// called after each 10,000 messages.
    ///
    /// # Errors
    ///
    /// Returns an [`OpenError`] if there is no store, or if it cannot be read at all.
    ///
    /// # Examples
    ///
    /// ```
    /// use chat_sqlite::{Options, SqliteStore};
    ///
    /// let dir = tempfile::tempdir()?;
    /// SqliteStore::open(dir.path(), Options::default())?.close_blocking();
    /// let report = SqliteStore::check(dir.path(), |progress| {
    ///     eprintln!("{} of {} messages", progress.messages, progress.total);
    /// })?;
    /// assert!(report.is_sound(), "{:?}", report.problems);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check(dir: impl AsRef<Path>, progress: impl FnMut(Progress)) -> Result<Report, OpenError> {
        maintenance::check(dir.as_ref(), progress)
    }

    /// Writes the messages of a room to `to`, oldest first, each as the JSON of its event on one line.
    ///
    /// A message is written in its present form: with its newest body and its reactions, and without a body and a key
    /// if it was deleted. The changes that led to this form are not written.
    ///
    /// A process may use the store at the same time. A room without messages writes nothing.
    ///
    /// # Errors
    ///
    /// Returns the errors of `to`, and those of [`check`](Self::check) as [`io::ErrorKind::Other`].
    ///
    /// # Examples
    ///
    /// ```
    /// use chat_sqlite::{Options, SqliteStore};
    ///
    /// let dir = tempfile::tempdir()?;
    /// SqliteStore::open(dir.path(), Options::default())?.close_blocking();
    /// let mut lines = Vec::new();
    /// for room in SqliteStore::rooms(dir.path())? {
    ///     let exported = SqliteStore::export(dir.path(), &room, &mut lines)?;
    ///     eprintln!("{room}: {} messages, {} unreadable", exported.messages, exported.unreadable);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn export(dir: impl AsRef<Path>, room: &RoomName, to: impl Write) -> io::Result<Exported> {
        maintenance::export(dir.as_ref(), room, to)
    }

    /// Writes a store as an export, from which [`import`](Self::import) makes another one. `docs/export.md` describes
    /// the format.
    ///
    /// A process may use the store at the same time. Its write-ahead log grows until the export ends.
    ///
    /// # Errors
    ///
    /// Returns the errors of `to`, and those of [`check`](Self::check) as [`io::ErrorKind::Other`]. Rules, roles and
    /// restrictions that are damaged are an error too; an entry that is damaged is only counted.
    pub fn export_all(dir: impl AsRef<Path>, to: impl Write) -> io::Result<Exported> {
        maintenance::export_all(dir.as_ref(), to)
    }

    /// Makes a store from an export, in a directory that is empty or does not exist. Builds the search index too.
    ///
    /// The rooms keep their positions, times, users and markers, and begin a new epoch: the server that has written
    /// the export may continue the old one. Memory does not depend on the size of the export. `progress` is called
    /// after each 1,000 lines, and at the end.
    ///
    /// # Errors
    ///
    /// Returns an [`ImportError`] with the number of the line. The directory has no store then.
    ///
    /// # Examples
    ///
    /// ```
    /// use chat_sqlite::{Options, SqliteStore};
    ///
    /// let home = tempfile::tempdir()?;
    /// let (old, new) = (home.path().join("old"), home.path().join("new"));
    /// SqliteStore::open(&old, Options::default())?.close_blocking();
    /// let (mut export, mut again) = (Vec::new(), Vec::new());
    /// SqliteStore::export_all(&old, &mut export)?;
    /// let imported = SqliteStore::import(&new, &*export, |progress| eprintln!("{} lines", progress.lines))?;
    /// assert_eq!(imported.rooms, 0);
    /// SqliteStore::export_all(&new, &mut again)?;
    /// assert_eq!(again, export);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn import(
        dir: impl AsRef<Path>,
        from: impl BufRead,
        progress: impl FnMut(Imported),
    ) -> Result<Imported, ImportError> {
        maintenance::import(dir.as_ref(), from, progress)
    }

    /// Makes the files of a store smaller: copies the database without its free space, checks the copy, and replaces
    /// the database. No process may use the store. Positions, keys and epochs stay as they are.
    ///
    /// It needs free disk space for the copy. A store of an older version must be opened once before.
    ///
    /// # Errors
    ///
    /// Returns [`OpenError::InUse`] while another process uses the store, and an error if the database is damaged. The
    /// database is then unchanged.
    ///
    /// # Examples
    ///
    /// ```
    /// use chat_sqlite::{Options, SqliteStore};
    ///
    /// let dir = tempfile::tempdir()?;
    /// SqliteStore::open(dir.path(), Options::default())?.close_blocking();
    /// let compacted = SqliteStore::compact(dir.path())?;
    /// assert!(compacted.bytes_after <= compacted.bytes_before);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn compact(dir: impl AsRef<Path>) -> Result<Compacted, OpenError> {
        maintenance::compact(dir.as_ref())
    }

    /// Returns the rooms of the store of a directory that have or had messages, ordered by name.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`check`](Self::check).
    pub fn rooms(dir: impl AsRef<Path>) -> Result<Vec<RoomName>, OpenError> {
        maintenance::rooms(dir.as_ref())
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn open(
        &self,
        room: &RoomName,
        limits: &Arc<Limits>,
        sink: CommitSink,
    ) -> Result<Arc<dyn Room>, Unavailable> {
        Ok(self.room(room.clone(), Arc::clone(limits), sink))
    }

    async fn follow(&self, user: &UserKey, room: &RoomName, on: bool, max: usize) -> Result<(), MarkerError> {
        let follow = PreparedFollow { room: room.clone(), user: user.clone(), on, max };
        let limit = RoomLimits::default().call_timeout;
        let written = self.0.parts.write(Prepared::Follow(follow), limit).await.map_err(marker_error)?;
        written.seq.map(drop).ok_or(MarkerError::TooManyRooms)
    }

    async fn followed(&self, user: &UserKey) -> Result<Vec<RoomName>, MarkerError> {
        let (user, limit) = (user.clone(), RoomLimits::default().call_timeout);
        let rooms = self.0.parts.readers.read(limit, move |connection| followed(connection, &user));
        Ok(rooms.await?)
    }

    /// Returns [`Health::Degraded`] while nothing can be written. The store can still be read, and no other
    /// process could take over its rooms.
    fn health(&self) -> Health {
        match self.stats().failing_since {
            None if self.stats().is_full => {
                Health::Degraded("the store has reached its disk quota".to_owned())
            }
            None => Health::Ready,
            Some(_) => Health::Degraded("the store cannot be written to".to_owned()),
        }
    }

    fn keeps_order(&self) -> bool {
        true
    }

    async fn close(&self) -> Result<(), Unavailable> {
        let store = self.clone();
        let closed = tokio::task::spawn_blocking(move || store.close_blocking()).await;
        match closed {
            Ok(true) => Ok(()),
            Ok(false) => {
                Err(Unavailable::new("the database was not closed cleanly; the next start repairs it"))
            }
            Err(error) => Err(Unavailable::from_source(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use chat_core::{Change, NewChange, NewMessage, RawValue, Role, User};

    use super::*;

    /// The indexer waits while the writer waits for the reads before an erasure.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_closes_while_an_erasure_waits_for_a_read() {
        let ann = User::new("ann", "Ann").expect("a user");
        let text = || RawValue::from_string(r#"{"text":"hi"}"#.to_owned()).expect("JSON");
        for round in 0..10 {
            let dir = tempfile::tempdir().expect("a directory");
            // Each append lets the indexer forget the message before it.
            let options = Options::default().with(|options| {
                options.retain_messages = Some(1);
                options.sweep_interval = Duration::from_millis(1);
            });
            let store = SqliteStore::open(dir.path().join("store"), options).expect("a store");
            let sink = CommitSink::new(|_| ());
            let lobby = store.room("lobby".parse().expect("a name"), Arc::default(), sink);
            let gate = Arc::clone(&store.0.parts.state.gate);
            let read = gate.enter(None);
            lobby.append(NewMessage::new(ann.clone(), text())).await.expect("appended");
            let delete = NewChange::new(ann.clone(), 1, Change::Delete { reason: None });
            lobby.change(delete.with_role(Role::Owner)).await.expect("deleted");
            while gate.enter(Some(Instant::now())).is_some() {
                tokio::task::yield_now().await;
            }
            for _ in 0..5 {
                lobby.append(NewMessage::new(ann.clone(), text())).await.expect("appended");
            }
            let (closed, is_closed) = mpsc::channel();
            thread::spawn(move || closed.send(store.close_blocking()));
            let is_closed = is_closed.recv_timeout(Duration::from_secs(30));
            assert_eq!(is_closed, Ok(true), "in round {round}");
            drop(read);
        }
    }
}
