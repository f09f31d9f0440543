use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use chat_proto::{ChangedEntries, Follows, Log};
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use tokio::task::yield_now;

use crate::room::budget::{Charge, Holder, Kind};
use crate::{
    AppendError, AppendReceipt, ChangeError, ChangeKind, ChangeReceipt, CommitSink, Limits, LogBounds,
    Marked, MarkerError, NewAct, NewChange, NewMessage, Page, Range, Room, RoomName, RoomRules, Scan, Search,
    SearchError, SearchPage, Standing, Store, StoredMessage, ThreadError, Unavailable, Unread, UserKey,
};

/// The bytes for a message beside its body, rounded up.
const MESSAGE_OVERHEAD: usize = 1024;

/// The bytes for a marker, rounded up.
const MARKER_BYTES: usize = 512;

/// The rooms that all users together follow. They take about 20 MB.
const MAX_FOLLOWS: usize = 100_000;

/// The default store of a chat. Each room is a [`MemoryRoom`].
#[derive(Clone, Debug)]
pub struct MemoryStore {
    closed: Arc<AtomicBool>,
    follows: Arc<Mutex<Follows>>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self { closed: Arc::default(), follows: Arc::new(Mutex::new(Follows::new(MAX_FOLLOWS))) }
    }
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

    async fn follow(&self, user: &UserKey, room: &RoomName, on: bool, max: usize) -> Result<(), MarkerError> {
        self.follows.lock().follow(user, room, on, max)
    }

    async fn followed(&self, user: &UserKey) -> Result<Vec<RoomName>, MarkerError> {
        Ok(self.follows.lock().of(user).cloned().collect())
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
    log: Arc<ChargedLog>,
    limits: Arc<Limits>,
    sink: CommitSink,
    /// True if the store of the room was closed.
    closed: Arc<AtomicBool>,
}

impl MemoryRoom {
    /// Returns an empty room of a new epoch.
    pub fn new(name: RoomName, limits: Arc<Limits>, sink: CommitSink) -> Self {
        let log = Log::new(name, new_epoch(), Arc::clone(&limits));
        let charge = sink.budget().map(|budget| budget.charge(Kind::Log));
        let log = Arc::new(ChargedLog(Mutex::new(Charged { log, charge })));
        Self { log, limits, sink, closed: Arc::default() }
    }

    /// Returns the log, or an error if the store was closed.
    fn open(&self) -> Result<MappedMutexGuard<'_, Log>, Unavailable> {
        Ok(MutexGuard::map(self.open_charged()?, |charged| &mut charged.log))
    }

    fn open_charged(&self) -> Result<MutexGuard<'_, Charged>, Unavailable> {
        let charged = self.log.0.lock();
        if self.closed.load(Ordering::Acquire) {
            return Err(Unavailable::new("the store is closed"));
        }
        Ok(charged)
    }

    /// Appends a message, and counts its bytes.
    fn append_charged(
        &self,
        message: NewMessage,
    ) -> Result<(AppendReceipt, Option<StoredMessage>), AppendError> {
        // Only an estimate: the exact size is known once the message is in the log.
        let bytes = message.body.get().len() + MESSAGE_OVERHEAD;
        let has_space = self.sink.budget().is_none_or(|budget| budget.make_space(bytes));
        let mut charged = self.open_charged()?;
        if !has_space {
            return Err(Unavailable::over_quota("the memory budget is used up").into());
        }
        let appended = charged.log.append(unix_millis(), message)?;
        charged.count(|| Arc::downgrade(&self.log) as Weak<dyn Holder>);
        Ok(appended)
    }

    /// Changes a message, and counts its bytes.
    fn change_charged(
        &self,
        change: NewChange,
    ) -> Result<(ChangeReceipt, Option<ChangedEntries>), ChangeError> {
        let has_space = self.sink.budget().is_none_or(|budget| budget.make_space(MESSAGE_OVERHEAD));
        let mut charged = self.open_charged()?;
        // A deletion frees memory, so it needs no space.
        if !has_space && change.change.kind() != ChangeKind::Deleted {
            return Err(Unavailable::over_quota("the memory budget is used up").into());
        }
        let changed = charged.log.change(unix_millis(), change)?;
        charged.count(|| Arc::downgrade(&self.log) as Weak<dyn Holder>);
        Ok(changed)
    }

    /// Deletes all messages of a user, and counts the bytes. It needs no space.
    fn purge_charged(&self, act: NewAct) -> Result<(ChangeReceipt, Option<ChangedEntries>), ChangeError> {
        let mut charged = self.open_charged()?;
        let purged = charged.log.purge(unix_millis(), act)?;
        charged.count(|| Arc::downgrade(&self.log) as Weak<dyn Holder>);
        Ok(purged)
    }

    /// Reports the entries that a change or a purge has made or altered.
    fn report(&self, epoch: &str, changed: Option<ChangedEntries>) {
        let Some(ChangedEntries { erased, entry }) = changed else { return };
        if !erased.is_empty() {
            self.sink.erase(epoch, &erased);
        }
        self.sink.publish(epoch, &entry);
    }

    /// Sets rules or a standing, and counts the bytes.
    fn govern_charged(&self, act: NewAct) -> Result<(ChangeReceipt, Option<StoredMessage>), ChangeError> {
        let has_space = self.sink.budget().is_none_or(|budget| budget.make_space(MESSAGE_OVERHEAD));
        let mut charged = self.open_charged()?;
        if !has_space {
            return Err(Unavailable::over_quota("the memory budget is used up").into());
        }
        let governed = charged.log.govern(unix_millis(), act)?;
        charged.count(|| Arc::downgrade(&self.log) as Weak<dyn Holder>);
        Ok(governed)
    }
}

/// The log of a room in memory, which frees memory when the budget is used up.
#[derive(Debug)]
struct ChargedLog(Mutex<Charged>);

#[derive(Debug)]
struct Charged {
    log: Log,
    /// `None` for a room without a chat.
    charge: Option<Charge>,
}

impl Charged {
    fn count(&mut self, holder: impl FnOnce() -> Weak<dyn Holder>) {
        if let Some(charge) = &mut self.charge {
            charge.touch(holder);
            charge.set(self.log.memory_bytes());
        }
    }
}

impl Holder for ChargedLog {
    fn shrink(&self) -> bool {
        let mut charged = self.0.lock();
        let has_more = charged.log.drop_oldest_half();
        let bytes = charged.log.memory_bytes();
        if let Some(charge) = &mut charged.charge {
            charge.set(bytes);
            if !has_more {
                charge.removed();
            }
        }
        has_more
    }
}

#[async_trait]
impl Room for MemoryRoom {
    async fn append(&self, message: NewMessage) -> Result<AppendReceipt, AppendError> {
        let (receipt, stored) = self.append_charged(message)?;
        if let Some(stored) = stored {
            // Without the lock of the log: a report wakes members, and a member may read the log at once.
            self.sink.publish(&receipt.epoch, &stored);
        }
        Ok(receipt)
    }

    async fn change(&self, change: NewChange) -> Result<ChangeReceipt, ChangeError> {
        let (receipt, changed) = self.change_charged(change)?;
        self.report(&receipt.epoch, changed);
        Ok(receipt)
    }

    async fn purge(&self, act: NewAct) -> Result<ChangeReceipt, ChangeError> {
        let (receipt, purged) = self.purge_charged(act)?;
        self.report(&receipt.epoch, purged);
        Ok(receipt)
    }

    async fn govern(&self, act: NewAct) -> Result<ChangeReceipt, ChangeError> {
        let (receipt, stored) = self.govern_charged(act)?;
        if let Some(stored) = stored {
            self.sink.publish(&receipt.epoch, &stored);
        }
        Ok(receipt)
    }

    async fn standing(&self, user: &UserKey) -> Result<(RoomRules, Standing), Unavailable> {
        Ok(self.open()?.standing(user))
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        Ok(self.open()?.read(range))
    }

    /// Looks at all messages.
    async fn thread(&self, root: u64, range: Range) -> Result<Page, ThreadError> {
        self.open()?.thread(root, range)
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        Ok(self.open()?.bounds())
    }

    async fn mark(&self, user: &UserKey, seq: u64) -> Result<Marked, MarkerError> {
        let has_space = self.sink.budget().is_none_or(|budget| budget.make_space(MARKER_BYTES));
        let mut charged = self.open_charged()?;
        if !has_space {
            return Err(Unavailable::over_quota("the memory budget is used up").into());
        }
        let marked = charged.log.mark(user, seq)?;
        charged.count(|| Arc::downgrade(&self.log) as Weak<dyn Holder>);
        Ok(marked)
    }

    async fn unread(&self, user: &UserKey, up_to: u64) -> Result<Unread, MarkerError> {
        // The count reads up to 1,000 messages, for which writers must not wait.
        let uncounted = self.open()?.unread(user, up_to);
        Ok(uncounted.count())
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

pub(crate) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns an epoch that no other log of the room has: 64 random bits.
fn new_epoch() -> String {
    let number = getrandom::u64().expect("the operating system always has random numbers once it is up");
    format!("{number:016x}")
}
