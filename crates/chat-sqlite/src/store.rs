use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use chat_core::{CommitSink, Limits, Room, RoomName};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{OpenError, io_error};
use crate::hub::Hub;
use crate::open::{self, Opening};
use crate::readers::Readers;
use crate::room::SqliteRoom;
use crate::writer::{Job, Writer};

/// Longer than a sweep or a lock is ever meant to be waited for, and short enough for the clock and for SQLite.
const LONGEST: Duration = Duration::from_secs(20 * 24 * 60 * 60);

/// What an acknowledged message survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The end of the machine: it is on the disk.
    #[default]
    Disk,
    /// The end of the process: it is in the system's hands. If the machine ends, the newest messages may be lost,
    /// and a new epoch begins.
    Process,
}

/// How a store keeps its rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What an acknowledged message survives. Default [`Durability::Disk`].
    pub durability: Durability,
    /// How old a message gets. Default: as old as it will.
    pub retain_age: Option<Duration>,
    /// How many messages a room keeps, those included that have come since the last sweep. Default: all.
    pub retain_messages: Option<u64>,
    /// How often what is not to be kept is forgotten. Default 60 s.
    pub sweep_interval: Duration,
    /// Idempotency keys that a room remembers. Default 100,000.
    pub max_keys: u64,
    /// Appends that wait or are being written; more wait for a place. Default 1,024.
    pub max_queue: usize,
    /// Messages in one transaction. Default 256.
    pub max_batch: usize,
    /// Reads at once. Default 4.
    pub readers: usize,
    /// How long another program that has the database locked is waited for. Default 1 s.
    pub lock_wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Disk,
            retain_age: None,
            retain_messages: None,
            sweep_interval: Duration::from_secs(60),
            max_keys: 100_000,
            max_queue: 1_024,
            max_batch: 256,
            readers: 4,
            lock_wait: Duration::from_secs(1),
        }
    }
}

impl Options {
    /// The same, with waits that can be counted.
    fn clamped(self) -> Self {
        Self {
            sweep_interval: self.sweep_interval.min(LONGEST),
            lock_wait: self.lock_wait.min(LONGEST),
            ..self
        }
    }
}

/// How a store has fared since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Messages stored.
    pub appends: u64,
    /// Transactions committed.
    pub commits: u64,
    /// Messages that were found to be other than they were written, and are left out.
    pub unreadable: u64,
    /// Since when nothing could be written, in milliseconds since the Unix epoch; none if the last try succeeded.
    pub failing_since: Option<u64>,
}

/// A directory of rooms that last. Cloning gives another handle to the same store.
///
/// One process has it at a time. It stays open until [`close`](Self::close), or shortly longer than the last
/// handle and the last room.
#[derive(Clone, Debug)]
pub struct Store(Arc<Shared>);

/// What the handles and the rooms share.
#[derive(Debug)]
pub(crate) struct Shared {
    opening: Opening,
    epoch: String,
    /// None once the store is closed.
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    queue: Arc<Semaphore>,
    readers: Arc<Readers>,
    hub: Arc<Hub>,
    thread: Mutex<Option<JoinHandle<bool>>>,
}

impl Store {
    /// Opens the store in a directory; made if it is not there, in a directory that is.
    ///
    /// # Errors
    ///
    /// [`OpenError`], one line that says what to do. The database is then as it was.
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let (dir, options) = (dir.as_ref(), options.clamped());
        let opened = open::open(dir, &options)?;
        let hub = Arc::new(Hub::default());
        let (jobs, waiting) = mpsc::channel();
        let queue = Arc::new(Semaphore::new(options.max_queue.clamp(1, Semaphore::MAX_PERMITS)));
        let readers = Arc::new(Readers::new(opened.paths.database.clone(), options.readers));
        let (opening, epoch) = (opened.opening, opened.identity.epoch.clone());
        let writer = Writer::new(opened, options, Arc::clone(&hub));
        let ending = Ending(Arc::clone(&hub));
        let thread = thread::Builder::new()
            .name("chat-sqlite".to_owned())
            .spawn(move || {
                let _ending = ending;
                writer.run(&waiting)
            })
            .map_err(io_error("begin to write in", dir))?;
        let (jobs, thread) = (Mutex::new(Some(jobs)), Mutex::new(Some(thread)));
        Ok(Self(Arc::new(Shared { opening, epoch, jobs, queue, readers, hub, thread })))
    }

    /// The room of this name, for [`Builder::rooms`](chat_core::Builder::rooms).
    pub fn room(&self, name: RoomName, limits: Arc<Limits>, outlet: CommitSink) -> Arc<dyn Room> {
        self.0.hub.note_key_window(&limits);
        Arc::new(SqliteRoom::new(Arc::clone(&self.0), name, limits, outlet))
    }

    /// What the store was found to be when it was opened.
    pub fn opening(&self) -> Opening {
        self.0.opening
    }

    /// How the store has fared.
    pub fn stats(&self) -> Stats {
        self.0.hub.counters.stats(&self.0.hub.unreadable)
    }

    /// Writes what waits, and leaves everything in order; takes as long as the disk does. Rooms refuse from now
    /// on.
    ///
    /// False if that failed: nothing that was acknowledged is lost, and the store is put in order when it is next
    /// opened. True if it was closed before.
    pub fn close(&self) -> bool {
        self.0.queue.close();
        self.0.readers.close();
        drop(self.0.jobs.lock().take());
        // Held until the thread has ended, so that whoever closes too waits for that.
        let mut thread = self.0.thread.lock();
        let Some(thread) = thread.take() else { return true };
        let is_in_order = thread.join().unwrap_or_else(|_| {
            tracing::error!("the thread that wrote has ended in a panic");
            false
        });
        self.0.hub.teller.tell(u64::MAX);
        is_in_order
    }
}

impl Shared {
    pub(crate) fn epoch(&self) -> &str {
        &self.epoch
    }

    pub(crate) fn readers(&self) -> &Arc<Readers> {
        &self.readers
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Waits for a place in the queue; none if the store is closed.
    pub(crate) async fn queue(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.queue).acquire_owned().await.ok()
    }

    /// Queues an append. If the store is closed, it is dropped, which is an answer too.
    pub(crate) fn send(&self, job: Job) {
        if let Some(jobs) = &*self.jobs.lock() {
            let _closed = jobs.send(job);
        }
    }
}

/// Tells if the thread that writes ends in a panic: what waits is refused then, and all that comes.
struct Ending(Arc<Hub>);

impl Drop for Ending {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.counters.failed("the thread that writes has ended in a panic, and needs a new start");
        }
    }
}
