use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use chat_core::Unavailable;
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::IndexStep;
use super::apply::apply;
use super::files::IndexFiles;
use crate::OpenError;
use crate::database::FileLock;
use crate::database::connection::{checkpoint, open_reader};
use crate::read::{ReadGate, ReaderPool};
use crate::search::{erase, erased, is_damage, must_erase};
use crate::threads::LowPriorityThreads;

/// Connections that search, but not more than CPUs.
const MAX_READERS: usize = 2;

/// The longest wait for reads that must end before the write-ahead log is emptied.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// The pause after an erasure, as a multiple of its duration, and the longest one: it writes the whole index.
const ERASURE_PAUSE: (u32, Duration) = (20, Duration::from_secs(10 * 60));

/// An index, shared by its handles.
#[derive(Debug)]
pub(super) struct Inner {
    files: IndexFiles,
    writer: Mutex<Writer>,
    /// The permit for the next job of the writer.
    pub(super) permit: Arc<Semaphore>,
    readers: Mutex<Option<Arc<ReaderPool>>>,
    gate: Arc<ReadGate>,
    is_damaged: AtomicBool,
    /// True once the index is to be closed. An erasure ends then; the next run begins it again.
    is_closing: AtomicBool,
}

#[derive(Debug)]
struct Writer {
    /// `None` before [`LogIndex::begin`](super::LogIndex::begin), and after a failure of it.
    connection: Option<Connection>,
    /// `None` once the index is closed.
    lock: Option<FileLock>,
    /// True if the index was empty when it was begun.
    is_fresh: bool,
    /// True if the index may contain terms of a message that was deleted.
    must_erase: bool,
    next_erasure: Instant,
}

impl Inner {
    pub(super) fn open(dir: &Path, name: &str) -> Result<Self, OpenError> {
        let files = IndexFiles::prepare(dir, name)?;
        let lock = Some(FileLock::acquire(&files.lock)?);
        let (is_fresh, must_erase, next_erasure) = (false, false, Instant::now());
        let writer = Writer { connection: None, lock, is_fresh, must_erase, next_erasure };
        Ok(Self {
            files,
            writer: Mutex::new(writer),
            permit: Arc::new(Semaphore::new(1)),
            readers: Mutex::default(),
            gate: Arc::default(),
            is_damaged: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
        })
    }

    /// Lets an erasure that is in progress end after its present step.
    pub(super) fn begin_close(&self) {
        self.is_closing.store(true, Ordering::SeqCst);
    }

    pub(super) fn readers(&self) -> Result<Arc<ReaderPool>, Unavailable> {
        self.readers.lock().clone().ok_or_else(|| Unavailable::new("the index is closed"))
    }

    pub(super) fn close(&self) -> Result<(), Unavailable> {
        self.close_readers();
        let mut writer = self.writer.lock();
        (writer.connection, writer.lock) = (None, None);
        Ok(())
    }

    pub(super) fn begin(&self, source: &str) -> Result<u64, OpenError> {
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

    pub(super) fn apply(&self, steps: &[(u64, IndexStep)], up_to: u64) -> Result<bool, Unavailable> {
        let mut writer = self.writer.lock();
        let (is_fresh, connection) = (writer.is_fresh, self.connection(&mut writer)?);
        let mut apply_all = || {
            let transaction = connection.transaction()?;
            let is_applied = apply(&transaction, steps, is_fresh)?;
            let must_erase = must_erase(&transaction)?;
            if is_applied {
                let sql = "UPDATE source SET place = max(place, ?1)";
                transaction.prepare_cached(sql)?.execute([up_to])?;
                transaction.commit()?;
            }
            Ok((is_applied, must_erase))
        };
        let (is_applied, must_erase) = apply_all().map_err(|error| self.failed(error))?;
        if !is_applied {
            self.is_damaged.store(true, Ordering::SeqCst);
        }
        writer.must_erase = must_erase;
        Ok(is_applied)
    }

    pub(super) fn erase_deleted(&self) -> Result<(), Unavailable> {
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
            if self.is_closing.load(Ordering::SeqCst) {
                return Ok(false);
            }
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

    pub(super) fn note(&self, error: &rusqlite::Error) {
        if is_damage(error) {
            self.is_damaged.store(true, Ordering::SeqCst);
        }
    }
}
