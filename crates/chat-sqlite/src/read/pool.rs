use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chat_core::Unavailable;
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::database::connection::open_reader;

/// Instructions of SQLite's virtual machine between two checks whether the read must stop.
const CHECK_INTERVAL: i32 = 1_000;

/// A pool of connections that read. Each read uses one connection in a blocking thread of the runtime.
#[derive(Debug)]
pub(crate) struct ReaderPool {
    database: PathBuf,
    permits: Arc<Semaphore>,
    /// Permits for long reads, half of all, so that short reads always find a connection.
    long_permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

/// A guard that stops a read when its caller drops the future.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl ReaderPool {
    pub(crate) fn new(database: PathBuf, max_reads: usize) -> Self {
        let max_reads = max_reads.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            database,
            permits: Arc::new(Semaphore::new(max_reads)),
            long_permits: Semaphore::new((max_reads / 2).max(1)),
            idle: Mutex::default(),
        }
    }

    /// Runs a read in one transaction. It stops after `limit`, or when the future is dropped.
    pub(crate) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        limit: Duration,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Unavailable> {
        // A limit that `Instant` cannot represent is no limit.
        let deadline = Instant::now().checked_add(limit);
        let permit = self.permit(limit).await?;
        let stopped = Arc::new(AtomicBool::new(false));
        let _stop = StopOnDrop(Arc::clone(&stopped));
        let pool = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || {
            // A blocked read keeps its permit.
            let _permit = permit;
            pool.run(work, move || {
                stopped.load(Ordering::Relaxed) || deadline.is_some_and(|deadline| Instant::now() > deadline)
            })
        });
        match read.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Unavailable::from_source(error)),
            Err(error) => Err(Unavailable::from_source(error)),
        }
    }

    /// Runs a read that may take long. Other reads keep at least half of the connections.
    pub(crate) async fn read_long<T: Send + 'static>(
        self: &Arc<Self>,
        limit: Duration,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let _permit = self.long_permit(limit).await?;
        self.read(limit, work).await
    }

    /// Refuses all further reads.
    pub(crate) fn close(&self) {
        self.permits.close();
        self.long_permits.close();
        self.idle.lock().clear();
    }

    async fn permit(&self, limit: Duration) -> Result<OwnedSemaphorePermit, Unavailable> {
        let permit = timeout(limit, Arc::clone(&self.permits).acquire_owned()).await;
        permit.map_err(|_| busy())?.map_err(|_| closed())
    }

    async fn long_permit(&self, limit: Duration) -> Result<SemaphorePermit<'_>, Unavailable> {
        let permit = timeout(limit, self.long_permits.acquire()).await;
        permit.map_err(|_| busy())?.map_err(|_| closed())
    }

    fn run<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
        must_stop: impl FnMut() -> bool + Send + 'static,
    ) -> rusqlite::Result<T> {
        let idle = self.idle.lock().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => open_reader(&self.database)?,
        };
        connection.progress_handler(CHECK_INTERVAL, Some(must_stop))?;
        // After an error the connection is not used again.
        let transaction = connection.unchecked_transaction()?;
        let value = work(&transaction)?;
        transaction.finish()?;
        if !self.permits.is_closed() {
            self.idle.lock().push(connection);
        }
        Ok(value)
    }
}

fn busy() -> Unavailable {
    Unavailable::new("too many reads at the same time")
}

fn closed() -> Unavailable {
    Unavailable::new("the store is closed")
}
