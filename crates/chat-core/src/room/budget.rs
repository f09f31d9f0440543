//! The memory budget of the tails and the rooms in memory.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use hashlink::LinkedHashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

/// The precision of the order of last uses, so that a busy room rarely needs the lock of the order.
const PRECISION: Duration = Duration::from_secs(1);

/// The bytes of all tails and of all rooms in memory, with a limit.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    limit: usize,
    used: AtomicUsize,
    next_id: AtomicU64,
    tails: Order,
    logs: Order,
    /// Held by the thread that frees memory.
    reclaiming: Mutex<()>,
}

/// The holders of memory: the one that was used longest ago is at the front.
type Order = Mutex<LinkedHashMap<u64, Weak<dyn Holder>>>;

/// The kinds of memory, in the order in which they are freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The tail of a room, whose entries are in the log too.
    Tail,
    /// The log of a room in memory.
    Log,
}

/// A part of a room that can free memory.
pub(super) trait Holder: Send + Sync {
    /// Frees memory. Returns true if a further call can free more.
    fn shrink(&self) -> bool;
}

impl std::fmt::Debug for dyn Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Holder").finish_non_exhaustive()
    }
}

/// The bytes of one holder. It is in the state of the holder, under its lock.
#[derive(Debug)]
pub(super) struct Charge {
    budget: Arc<MemoryBudget>,
    kind: Kind,
    id: u64,
    bytes: usize,
    /// The time before which a use does not move the holder in the order, or `None` if it is not in the order.
    fresh_until: Option<Instant>,
}

impl MemoryBudget {
    /// Returns a budget of this number of bytes. 0 is no limit.
    pub(crate) fn new(limit: usize) -> Self {
        let limit = if limit == 0 { usize::MAX } else { limit };
        let (used, next_id) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self {
            limit,
            used,
            next_id,
            tails: Order::default(),
            logs: Order::default(),
            reclaiming: Mutex::default(),
        }
    }

    /// Returns the bytes that are used.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn charge(self: &Arc<Self>, kind: Kind) -> Charge {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        Charge { budget: Arc::clone(self), kind, id, bytes: 0, fresh_until: None }
    }

    /// Frees memory until there is space for this many more bytes. Returns false if there is none. The caller holds no
    /// lock of a room.
    pub(super) fn make_space(&self, bytes: usize) -> bool {
        let has_space = || self.used().saturating_add(bytes) <= self.limit;
        if has_space() {
            return true;
        }
        let _turn = self.reclaiming.lock();
        for kind in [Kind::Tail, Kind::Log] {
            while !has_space() {
                let Some((id, holder)) = self.order(kind).lock().pop_front() else { break };
                if let Some(held) = holder.upgrade()
                    && held.shrink()
                {
                    self.order(kind).lock().insert(id, holder);
                }
            }
        }
        has_space()
    }

    fn order(&self, kind: Kind) -> &Order {
        match kind {
            Kind::Tail => &self.tails,
            Kind::Log => &self.logs,
        }
    }
}

impl Charge {
    /// Sets the bytes of the holder. Returns true if the budget has no space for them: the caller frees memory once it
    /// holds no lock.
    pub(super) fn set(&mut self, bytes: usize) -> bool {
        let used = &self.budget.used;
        if bytes > self.bytes {
            used.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else if bytes < self.bytes {
            used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
        self.budget.used() > self.budget.limit
    }

    /// Records a use of the holder, which then is the last one to free memory.
    pub(super) fn touch(&mut self, holder: impl FnOnce() -> Weak<dyn Holder>) {
        if self.budget.limit == usize::MAX {
            return;
        }
        let now = Instant::now();
        if self.fresh_until.is_none_or(|until| now >= until) {
            // Also moves a holder that is in the order to its end.
            self.budget.order(self.kind).lock().insert(self.id, holder());
            self.fresh_until = Some(now + PRECISION);
        }
    }

    /// Records that the holder has freed memory and is no longer in the order.
    pub(super) fn removed(&mut self) {
        self.fresh_until = None;
    }

    pub(super) fn budget(&self) -> &Arc<MemoryBudget> {
        &self.budget
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
        if self.fresh_until.is_some() {
            self.budget.order(self.kind).lock().remove(&self.id);
        }
    }
}
