use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chat_core::Unavailable;
use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::ReadGate;
use crate::threads::LowPriorityThreads;

/// Instructions of SQLite's virtual machine between two checks whether the read must stop.
const CHECK_INTERVAL: i32 = 1_000;

/// The largest number of connections of a pool. Each has two descriptors for each database.
const MAX_CONNECTIONS: usize = 64;

/// A pool of connections that read. Each read uses one connection in a blocking thread of the runtime, or in a thread
/// of the pool.
///
/// All connections are opened at the start, so that a process without free descriptors can still read. Reads wait in a
/// fair queue.
pub(crate) struct ReaderPool {
    open: Box<dyn Fn() -> rusqlite::Result<Connection> + Send + Sync>,
    gate: Arc<ReadGate>,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
    threads: Option<LowPriorityThreads>,
}

/// A guard that stops a read when its caller drops the future.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl ReaderPool {
    /// Opens `count` connections, at least 1 and at most 64.
    pub(crate) fn new(
        count: usize,
        gate: Arc<ReadGate>,
        open: impl Fn() -> rusqlite::Result<Connection> + Send + Sync + 'static,
    ) -> rusqlite::Result<Self> {
        let count = count.clamp(1, MAX_CONNECTIONS);
        let opened = || {
            let connection = open()?;
            // The first read opens the write-ahead log.
            connection.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(()))?;
            Ok(connection)
        };
        let idle = (0..count).map(|_| opened()).collect::<rusqlite::Result<Vec<_>>>()?;
        let permits = Arc::new(Semaphore::new(count));
        Ok(Self { open: Box::new(open), gate, permits, idle: Mutex::new(idle), threads: None })
    }

    /// Lets the reads run in these threads, one for each connection.
    pub(crate) fn with_threads(self, threads: LowPriorityThreads) -> Self {
        Self { threads: Some(threads), ..self }
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
        let read = move || {
            // A blocked read keeps its permit.
            let _permit = permit;
            let _entered = pool.gate.enter(deadline).ok_or_else(busy)?;
            let must_stop = move || {
                stopped.load(Ordering::Relaxed) || deadline.is_some_and(|deadline| Instant::now() > deadline)
            };
            pool.run(work, must_stop).map_err(Unavailable::from_source)
        };
        match &self.threads {
            Some(threads) => threads.run(read).await,
            None => tokio::task::spawn_blocking(read).await.map_err(Unavailable::from_source)?,
        }
    }

    /// Refuses all further reads.
    pub(crate) fn close(&self) {
        self.permits.close();
        self.idle.lock().clear();
    }

    async fn permit(&self, limit: Duration) -> Result<OwnedSemaphorePermit, Unavailable> {
        let permit = timeout(limit, Arc::clone(&self.permits).acquire_owned()).await;
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
            None => (self.open)()?,
        };
        let result = read_in_transaction(&mut connection, work, must_stop);
        if result.as_ref().is_err_and(|error| must_reopen(error, &connection))
            // Without free descriptors there is no other connection.
            && let Ok(opened) = (self.open)()
        {
            connection = opened;
        }
        if !self.permits.is_closed() {
            self.idle.lock().push(connection);
        }
        result
    }
}

impl fmt::Debug for ReaderPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReaderPool").field("permits", &self.permits).finish_non_exhaustive()
    }
}

fn read_in_transaction<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    must_stop: impl FnMut() -> bool + Send + 'static,
) -> rusqlite::Result<T> {
    connection.progress_handler(CHECK_INTERVAL, Some(must_stop))?;
    let transaction = connection.unchecked_transaction()?;
    let value = work(&transaction)?;
    transaction.finish()?;
    Ok(value)
}

/// Returns `true` after an error that a new connection may not have.
fn must_reopen(error: &rusqlite::Error, connection: &Connection) -> bool {
    let is_expected =
        matches!(error.sqlite_error_code(), Some(ErrorCode::OperationInterrupted | ErrorCode::DatabaseBusy));
    !is_expected || !connection.is_autocommit()
}

fn busy() -> Unavailable {
    Unavailable::new("too many reads at the same time")
}

fn closed() -> Unavailable {
    Unavailable::new("the store is closed")
}
