use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chat_core::Unavailable;
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::connect;

/// Steps of SQLite's machine between two looks at whether it is to go on.
const STEPS: i32 = 1_000;

/// The connections that read, each in one of the runtime's threads for blocking work while it does.
#[derive(Debug)]
pub(crate) struct Readers {
    database: PathBuf,
    places: Arc<Semaphore>,
    /// Places for those that may take long: half of all, so that pages are always to be had.
    long: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

/// Stops a read that nobody waits for any more.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Readers {
    pub(crate) fn new(database: PathBuf, count: usize) -> Self {
        let count = count.clamp(1, Semaphore::MAX_PERMITS);
        let places = Arc::new(Semaphore::new(count));
        Self { database, places, long: Semaphore::new((count / 2).max(1)), idle: Mutex::default() }
    }

    /// Reads in one transaction, for as long as `limit` at most, and as somebody waits.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        limit: Duration,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Unavailable> {
        // None for a limit that ends after the clock does.
        let deadline = Instant::now().checked_add(limit);
        let place = timeout(limit, Arc::clone(&self.places).acquire_owned())
            .await
            .map_err(|_| busy())?
            .map_err(|_| closed())?;
        let stopped = Arc::new(AtomicBool::new(false));
        let _stop = Stop(Arc::clone(&stopped));
        let readers = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || {
            // A read that hangs keeps its place.
            let _place = place;
            readers.read(work, move || {
                stopped.load(Ordering::Relaxed) || deadline.is_some_and(|deadline| Instant::now() > deadline)
            })
        });
        match read.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Unavailable(error.to_string())),
            Err(error) => Err(Unavailable(error.to_string())),
        }
    }

    /// Reads what may take long, beside few others that may.
    pub(crate) async fn run_long<T: Send + 'static>(
        self: &Arc<Self>,
        limit: Duration,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let _place = timeout(limit, self.long.acquire()).await.map_err(|_| busy())?.map_err(|_| closed())?;
        self.run(limit, work).await
    }

    /// Lets nobody read any more.
    pub(crate) fn close(&self) {
        self.places.close();
        self.long.close();
        self.idle.lock().clear();
    }

    fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
        is_over: impl FnMut() -> bool + Send + 'static,
    ) -> rusqlite::Result<T> {
        let idle = self.idle.lock().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => connect::reading(&self.database)?,
        };
        connection.progress_handler(STEPS, Some(is_over))?;
        // A connection on which anything failed is not used again.
        let transaction = connection.unchecked_transaction()?;
        let value = work(&transaction)?;
        transaction.finish()?;
        if !self.places.is_closed() {
            self.idle.lock().push(connection);
        }
        Ok(value)
    }
}

fn busy() -> Unavailable {
    Unavailable("too many reads at once".to_owned())
}

fn closed() -> Unavailable {
    Unavailable("the store is closed".to_owned())
}
