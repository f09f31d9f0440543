use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use chat_proto::Log;
use parking_lot::{Mutex, MutexGuard};
use tokio::task::yield_now;

use crate::{
    AppendError, AppendReceipt, CommitSink, Limits, LogBounds, NewMessage, Page, Range, Room, RoomName, Scan,
    Search, SearchError, SearchPage, Store, Unavailable,
};

/// The default store of a chat. Each room is a [`MemoryRoom`].
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    closed: Arc<AtomicBool>,
}

#[async_trait]
impl Store for MemoryStore {
    async fn open(
        &self,
        room: &RoomName,
        limits: &Arc<Limits>,
        sink: CommitSink,
    ) -> Result<Arc<dyn Room>, Unavailable> {
        let mut room = MemoryRoom::new(room.clone(), Arc::clone(limits), sink);
        room.closed = Arc::clone(&self.closed);
        drop(room.open()?);
        Ok(Arc::new(room))
    }

    async fn close(&self) -> Result<(), Unavailable> {
        self.closed.store(true, Ordering::Release);
        Ok(())
    }
}

/// A room whose log is in memory. It ends with the process, or earlier: an empty room is closed after
/// [`RoomLimits::idle_timeout`](crate::RoomLimits::idle_timeout), and its idempotency keys are forgotten with it.
#[derive(Debug)]
pub struct MemoryRoom {
    log: Mutex<Log>,
    limits: Arc<Limits>,
    sink: CommitSink,
    /// True if the store of the room was closed.
    closed: Arc<AtomicBool>,
}

impl MemoryRoom {
    /// Returns an empty room of a new epoch.
    pub fn new(name: RoomName, limits: Arc<Limits>, sink: CommitSink) -> Self {
        let log = Mutex::new(Log::new(name, new_epoch(), Arc::clone(&limits)));
        Self { log, limits, sink, closed: Arc::default() }
    }

    /// Returns the log, or an error if the store was closed.
    fn open(&self) -> Result<MutexGuard<'_, Log>, Unavailable> {
        let log = self.log.lock();
        if self.closed.load(Ordering::Acquire) {
            return Err(Unavailable::new("the store is closed"));
        }
        Ok(log)
    }
}

#[async_trait]
impl Room for MemoryRoom {
    async fn append(&self, message: NewMessage) -> Result<AppendReceipt, AppendError> {
        let (receipt, stored) = self.open()?.append(unix_millis(), message)?;
        if let Some(stored) = stored {
            // Without the lock of the log: a report wakes members, and a member may read the log at once.
            self.sink.publish(&receipt.epoch, &stored);
        }
        Ok(receipt)
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        Ok(self.open()?.read(range))
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        Ok(self.open()?.bounds())
    }

    /// Looks at all messages, as [`Scan`] does.
    async fn search(&self, search: Search) -> Result<SearchPage, SearchError> {
        let mut scan = Scan::new(&search, &self.limits);
        let mut before = search.before;
        loop {
            // A page at a time: neither the log nor the thread is held for longer.
            let newest = Range::newest(usize::MAX);
            let page = self.open()?.read(before.map_or(newest, |seq| Range::before(seq, usize::MAX)));
            for stored in page.messages.iter().rev() {
                before = Some(stored.seq);
                if !scan.look(stored) {
                    return Ok(scan.finish());
                }
            }
            if !page.more {
                return Ok(scan.finish());
            }
            yield_now().await;
        }
    }
}

pub(super) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns an epoch that no other log of the room has: 64 random bits.
fn new_epoch() -> String {
    let number = getrandom::u64().expect("the operating system always has random numbers once it is up");
    format!("{number:016x}")
}
