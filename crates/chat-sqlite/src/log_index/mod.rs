//! The search index of a log that another store keeps.

mod apply;
mod files;
mod query;

use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use chat_core::{StoredMessage, Unavailable};
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use self::files::IndexFiles;
use self::query::Query;
use crate::OpenError;
use crate::database::FileLock;
use crate::database::connection::{checkpoint, open_reader};
use crate::read::{ReadGate, ReaderPool};
use crate::search::{erase, erased, is_damage, match_expression, must_erase, room_prefix};
use crate::threads::LowPriorityThreads;

/// Connections that search, but not more than CPUs.
const MAX_READERS: usize = 2;

/// The time for which one call looks for matches. A caller continues in another call.
const SLICE: Duration = Duration::from_millis(100);

/// The longest wait for reads that must end before the write-ahead log is emptied.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// The pause after an erasure, as a multiple of its duration, and the longest one: it writes the whole index.
const ERASURE_PAUSE: (u32, Duration) = (20, Duration::from_secs(10 * 60));

/// The search index of a log that another store keeps: for each message of each room, the parts of its words. It does
/// not have the texts. A clone is another handle to the same index.
///
/// The log has places, and the index takes what is stored there in their order. It finds the positions of messages that
/// may match a query. The caller reads them from the log, and examines them with a [`Scan`](chat_core::Scan).
///
/// The index is exact although it may not have been given all entries of a room: a position without an entry is a
/// candidate of each search.
///
/// ```
/// use chat_core::StoredMessage;
/// use chat_sqlite::{IndexStep, LogIndex};
///
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path();
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
/// # runtime.block_on(async {
/// let index = LogIndex::open(dir, "chat")?;
/// assert_eq!(index.begin("the first log").await?, 0);
/// let frame = r#"{"type":"message","body":{"text":"a red apple"}}"#;
/// let record = IndexStep::Record {
///     room: "lobby".to_owned(),
///     id: 1,
///     previous: 0,
///     oldest: 1,
///     entries: vec![StoredMessage::new(1, frame)],
///     is_copy: false,
/// };
/// assert!(index.apply(vec![(7, record)], 7).await?);
/// let found = index.candidates("lobby", "apple", 2, 10).await?.expect("a room that is known");
/// assert_eq!((found.positions, found.down_to), (vec![(1, 7)], 1));
/// index.close().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct LogIndex(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: IndexFiles,
    writer: Mutex<Writer>,
    /// The permit for the next job of the writer.
    permit: Arc<Semaphore>,
    readers: Mutex<Option<Arc<ReaderPool>>>,
    gate: Arc<ReadGate>,
    is_damaged: AtomicBool,
}

#[derive(Debug)]
struct Writer {
    /// `None` before [`LogIndex::begin`], and after a failure of it.
    connection: Option<Connection>,
    /// `None` once the index is closed.
    lock: Option<FileLock>,
    /// True if the index was empty when it was begun.
    is_fresh: bool,
    /// True if the index may contain terms of a message that was deleted.
    must_erase: bool,
    next_erasure: Instant,
}

/// A part of a log, as an index takes it.
#[derive(Clone, Debug)]
pub enum IndexStep {
    /// Consecutive entries of a room, which are stored at one place.
    Record {
        /// The room, by any name that is not too long for a row.
        room: String,
        /// A number that no other record of the room has.
        id: u64,
        /// The `id` of the record before this one; 0 for the first.
        previous: u64,
        /// The oldest position of the room that can be read.
        oldest: u64,
        /// The entries: at least one. The frame of one that is no message may be empty.
        entries: Vec<StoredMessage>,
        /// True if it stands for a record of an earlier place, without the texts that were deleted.
        is_copy: bool,
    },
    /// The present form of a message that was edited or deleted.
    Form {
        /// The room.
        room: String,
        /// The message.
        stored: StoredMessage,
        /// True if it was deleted.
        is_deleted: bool,
    },
}

/// Positions of messages that may match a query.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Candidates {
    /// The positions, newest first, each with the place of its record, or with an earlier one.
    pub positions: Vec<(u64, u64)>,
    /// The position down to which the room was examined.
    pub down_to: u64,
}

impl LogIndex {
    /// Opens the index of this name in a directory, which is created if it does not exist. The parent directory must
    /// exist. [`begin`](Self::begin) comes next.
    ///
    /// # Errors
    ///
    /// Returns an [`OpenError`] whose text is one line that says what to do.
    pub fn open(dir: &Path, name: &str) -> Result<Self, OpenError> {
        let files = IndexFiles::prepare(dir, name)?;
        let lock = Some(FileLock::acquire(&files.lock)?);
        let (is_fresh, must_erase, next_erasure) = (false, false, Instant::now());
        let writer = Writer { connection: None, lock, is_fresh, must_erase, next_erasure };
        let (gate, is_damaged) = (Arc::default(), AtomicBool::new(false));
        Ok(Self(Arc::new(Inner {
            files,
            writer: Mutex::new(writer),
            permit: Arc::new(Semaphore::new(1)),
            readers: Mutex::default(),
            gate,
            is_damaged,
        })))
    }

    /// Begins, or begins again, to follow the log with the name `source`. Returns the place up to which the index has
    /// it. An index that is damaged, or of another log, is removed, and begins at 0.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the files cannot be used, or the index is closed.
    pub async fn begin(&self, source: &str) -> Result<u64, Unavailable> {
        let source = source.to_owned();
        self.run(move |index| index.begin(&source).map_err(Unavailable::from_source)).await
    }

    /// Applies the steps of the log up to a place, each with its place. Returns false if they contradict the index: the
    /// log is another one than it was. Then nothing is applied, and the next [`begin`](Self::begin) begins at 0.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the index is closed or damaged, or cannot be written. A [`begin`](Self::begin) may help.
    pub async fn apply(&self, steps: Vec<(u64, IndexStep)>, up_to: u64) -> Result<bool, Unavailable> {
        self.run(move |index| index.apply(&steps, up_to)).await
    }

    /// Erases the words of deleted messages from the files, if there are any. It writes the whole index, and therefore
    /// does nothing for some time after an erasure.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the index cannot be written. It is tried again the next time.
    pub async fn erase_deleted(&self) -> Result<(), Unavailable> {
        self.run(Inner::erase_deleted).await
    }

    /// Returns the newest positions of a room before `before` that may match a query, at most `limit`, but at least 1.
    /// Returns `None` if the index does not know the room, or the query has no words or too many.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the index is closed or damaged, or does not answer in time.
    pub async fn candidates(
        &self,
        room: &str,
        query: &str,
        before: u64,
        limit: usize,
    ) -> Result<Option<Candidates>, Unavailable> {
        let Some(expression) = match_expression(&room_prefix(room), query) else { return Ok(None) };
        let query = Query { room: room.to_owned(), expression, before, limit: limit.max(1) };
        let readers = self.0.readers.lock().clone().ok_or_else(|| Unavailable::new("the index is closed"))?;
        let index = Arc::clone(&self.0);
        let read = move |connection: &Connection| {
            let found = query.run(connection, Instant::now() + SLICE);
            found.inspect_err(|error| index.note(error))
        };
        // The slice, and the wait for a turn.
        readers.read(SLICE * 10, read).await
    }

    /// Closes the files.
    pub async fn close(&self) {
        let close = |index: &Inner| {
            index.close_readers();
            let mut writer = index.writer.lock();
            (writer.connection, writer.lock) = (None, None);
            Ok(())
        };
        // It fails if the runtime ends, and nothing uses the files then.
        let _ended = self.run(close).await;
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, Unavailable> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let index = Arc::clone(&self.0);
        // A caller may be gone before its job has run.
        let permit = Arc::clone(&self.0.permit).acquire_owned().await.map_err(Unavailable::from_source)?;
        // Searches wait for it, so it has the usual priority.
        let job = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&index)
        });
        job.await.map_err(Unavailable::from_source)?
    }
}

impl Inner {
    fn begin(&self, source: &str) -> Result<u64, OpenError> {
        let mut writer = self.writer.lock();
        self.close_readers();
        writer.connection = None;
        if writer.lock.is_none() {
            return Err(OpenError::InUse(self.files.lock.clone()));
        }
        let path = &self.files.index;
        let connection = self.files.open(source, self.is_damaged.load(Ordering::SeqCst))?;
        let place: u64 = connection
            .query_row("SELECT place FROM source", (), |row| row.get(0))
            .map_err(OpenError::sqlite(path))?;
        self.is_damaged.store(false, Ordering::SeqCst);
        writer.is_fresh = place == 0;
        writer.must_erase = must_erase(&connection).map_err(OpenError::sqlite(path))?;
        let count = thread::available_parallelism().map_or(1, NonZero::get).min(MAX_READERS);
        let threads = LowPriorityThreads::spawn("chat-sqlite-search", count);
        let threads = threads.map_err(OpenError::io("start the search threads of", path))?;
        let (reads, gate) = (path.clone(), Arc::clone(&self.gate));
        let readers = ReaderPool::new(count, gate, move || open_reader(&reads));
        let readers = readers.map_err(OpenError::sqlite(path))?.with_threads(threads);
        *self.readers.lock() = Some(Arc::new(readers));
        writer.connection = Some(connection);
        Ok(place)
    }

    fn apply(&self, steps: &[(u64, IndexStep)], up_to: u64) -> Result<bool, Unavailable> {
        let mut writer = self.writer.lock();
        let (is_fresh, connection) = (writer.is_fresh, self.connection(&mut writer)?);
        let mut apply = || {
            let transaction = connection.transaction()?;
            let is_applied = apply::apply(&transaction, steps, is_fresh)?;
            let must_erase = must_erase(&transaction)?;
            if is_applied {
                let sql = "UPDATE source SET place = max(place, ?1)";
                transaction.prepare_cached(sql)?.execute([up_to])?;
                transaction.commit()?;
            }
            Ok((is_applied, must_erase))
        };
        let (is_applied, must_erase) = apply().map_err(|error| self.failed(error))?;
        if !is_applied {
            self.is_damaged.store(true, Ordering::SeqCst);
        }
        writer.must_erase = must_erase;
        Ok(is_applied)
    }

    fn erase_deleted(&self) -> Result<(), Unavailable> {
        let mut writer = self.writer.lock();
        let started = Instant::now();
        if !writer.must_erase || started < writer.next_erasure {
            return Ok(());
        }
        let connection = self.connection(&mut writer)?;
        let is_erased = self.merge_all(connection).map_err(|error| self.failed(error))?;
        writer.must_erase = !is_erased;
        let (factor, most) = ERASURE_PAUSE;
        writer.next_erasure = Instant::now() + (started.elapsed() * factor).min(most);
        Ok(())
    }

    /// Returns true if the terms of deleted messages are neither in the index nor in its write-ahead log.
    fn merge_all(&self, connection: &mut Connection) -> rusqlite::Result<bool> {
        let mut is_first = true;
        loop {
            let transaction = connection.transaction()?;
            let more = erase(&transaction, is_first)?;
            transaction.commit()?;
            if !more {
                break;
            }
            is_first = false;
        }
        let closed = self.gate.close();
        if !closed.wait_until_drained(DRAIN_TIME) || !checkpoint(connection)? {
            return Ok(false);
        }
        drop(closed);
        erased(connection)?;
        Ok(true)
    }

    fn connection<'w>(&self, writer: &'w mut Writer) -> Result<&'w mut Connection, Unavailable> {
        let is_damaged = self.is_damaged.load(Ordering::SeqCst);
        let connection = writer.connection.as_mut().filter(|_| !is_damaged);
        connection.ok_or_else(|| Unavailable::new("the search index is closed or damaged"))
    }

    fn close_readers(&self) {
        if let Some(readers) = self.readers.lock().take() {
            readers.close();
        }
    }

    fn failed(&self, error: rusqlite::Error) -> Unavailable {
        self.note(&error);
        Unavailable::from_source(error)
    }

    fn note(&self, error: &rusqlite::Error) {
        if is_damage(error) {
            self.is_damaged.store(true, Ordering::SeqCst);
        }
    }
}
