use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use chat_proto::Log;
use parking_lot::Mutex;
use tokio::task::yield_now;

use crate::{
    AppendError, AppendReceipt, CommitSink, Limits, LogBounds, NewMessage, Page, Range, Room, RoomName, Scan,
    Search, SearchError, SearchPage, Unavailable,
};

/// A room whose log lives in memory and ends with the process, or earlier: a room that nobody is in is
/// forgotten after [`RoomLimits::idle_timeout`], its idempotency keys with it.
#[derive(Debug)]
pub struct MemoryRoom {
    log: Mutex<Log>,
    limits: Arc<Limits>,
    outlet: CommitSink,
}

impl MemoryRoom {
    /// An empty room, of a new epoch.
    pub fn new(name: RoomName, limits: Arc<Limits>, outlet: CommitSink) -> Self {
        Self { log: Mutex::new(Log::new(name, new_epoch(), Arc::clone(&limits))), limits, outlet }
    }
}

#[async_trait]
impl Room for MemoryRoom {
    async fn append(&self, draft: NewMessage) -> Result<AppendReceipt, AppendError> {
        // The outlet is told under the lock, since it must hear of messages in their order.
        let mut log = self.log.lock();
        let (appended, stored) = log.append(unix_millis(), draft)?;
        if let Some(stored) = stored {
            self.outlet.committed(&stored);
        }
        Ok(appended)
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        Ok(self.log.lock().read(range))
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        Ok(self.log.lock().bounds())
    }

    /// Looks at all messages, as [`Scan`] does.
    async fn search(&self, search: Search) -> Result<SearchPage, SearchError> {
        let mut scan = Scan::new(&search, &self.limits);
        let mut before = search.before;
        loop {
            // A page at a time: neither the log nor the thread is held for longer.
            let page = self.log.lock().read(Range::Before { seq: before, limit: usize::MAX });
            for stored in page.messages.iter().rev() {
                before = stored.seq;
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

pub(crate) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A name that no other life of the room has had: 64 random bits.
fn new_epoch() -> String {
    let number = getrandom::u64().expect("the operating system always has random numbers once it is up");
    format!("{number:016x}")
}
