use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};
use std::time::Duration;

use chat_proto::room::Hole;
use futures_util::future::FutureExt;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use crate::room::live::Shared;
use crate::room::{Backoff, Rooms, within};
use crate::{Page, Range, Unavailable};

/// Time for which the room waits for the report of a committed entry. Then the entry is read from the log.
const REPAIR_DELAY: Duration = Duration::from_millis(200);

/// The largest number of reads for repairs at once, of all rooms.
pub(super) const MAX_REPAIRS: usize = 16;

/// The task that reads committed entries from the log if they are not reported. All members get them from one read.
///
/// A room has at most one such task. It runs until the room has no hole. A read that fails is repeated until the store
/// works again, with pauses of 0.2 s to 5 s.
pub(super) struct Repair {
    room: Weak<Shared>,
    unreported: Arc<Notify>,
    /// The last entry before the hole when it was seen last.
    head: u64,
    /// The last entry whose report has had enough time.
    due: u64,
    /// True if the task has ended by itself.
    done: bool,
}

/// The result of an attempt.
enum Attempt {
    /// The entries that are due are in the tail.
    Done,
    /// The room is closed, or the chat has drained.
    Ended,
    /// Some of the entries that are due are in the tail. The others can be read at once.
    Progress,
    /// The log could not be read, or has returned nothing new.
    Failed,
}

impl Repair {
    pub(super) fn new(room: &Arc<Shared>, head: u64) -> Self {
        let (room, unreported) = (Arc::downgrade(room), Arc::clone(&room.unreported));
        Self { room, unreported, head, due: 0, done: false }
    }

    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(REPAIR_DELAY);
        while self.wait_for_reports().await {
            loop {
                match self.attempt_or_fail().await {
                    Attempt::Done => break,
                    Attempt::Ended => {
                        self.done = true;
                        return;
                    }
                    Attempt::Progress => {
                        backoff.reset();
                        // The members take the page before it leaves the tail.
                        yield_now().await;
                    }
                    Attempt::Failed => sleep(backoff.next_pause()).await,
                }
            }
        }
    }

    /// Waits until the reports of a hole have had enough time. Returns false if the task is done.
    async fn wait_for_reports(&mut self) -> bool {
        loop {
            let is_unreported = timeout(REPAIR_DELAY, self.unreported.notified()).await.is_ok();
            let Some(room) = self.room.upgrade() else { return false };
            let hole = room.update(|state| {
                let hole = state.room.hole();
                state.repairing = hole.is_some();
                hole
            });
            let Some(hole) = hole else {
                self.done = true;
                return false;
            };
            if is_unreported || std::mem::replace(&mut self.head, hole.after) == hole.after {
                self.due = hole.up_to;
                return true;
            }
        }
    }

    /// Makes an attempt. A panic in the store, which is code of the host, is a failed read.
    async fn attempt_or_fail(&mut self) -> Attempt {
        let attempt = AssertUnwindSafe(self.attempt()).catch_unwind().await;
        attempt.unwrap_or_else(|_| {
            if let Some(rooms) = self.room.upgrade().and_then(|room| room.rooms.upgrade()) {
                rooms.warnings.unavailable("the store panicked while it read the log of a room");
            }
            Attempt::Failed
        })
    }

    /// Reads a page of the hole, for all members.
    async fn attempt(&mut self) -> Attempt {
        let Some(rooms) = self.room.upgrade().and_then(|room| room.rooms.upgrade()) else {
            return Attempt::Ended;
        };
        // Waiting for the turn of this room takes as long as the reads of other rooms.
        let _turn = rooms.repairs.acquire().await;
        if *rooms.drained.borrow() {
            return Attempt::Ended;
        }
        let Some(hole) = self.hole() else { return Attempt::Done };
        let filled = match self.read(&rooms, hole).await {
            Ok(Some(page)) => self.fill(&hole, page),
            Ok(None) => return Attempt::Ended,
            Err(_) => return Attempt::Failed,
        };
        if !filled && self.observe(&rooms, hole.generation).await.is_err() {
            return Attempt::Failed;
        }
        match self.hole() {
            None => Attempt::Done,
            Some(rest) if rest.after == hole.after => Attempt::Failed,
            Some(rest) if rest.after < self.due => Attempt::Progress,
            // The reports of later entries may still come.
            Some(rest) => {
                self.head = rest.after;
                Attempt::Done
            }
        }
    }

    fn hole(&self) -> Option<Hole> {
        self.room.upgrade()?.update(|state| state.room.hole())
    }

    /// Reads the entries after a hole begins. Returns `None` if the room is closed.
    async fn read(&self, rooms: &Rooms, hole: Hole) -> Result<Option<Page>, Unavailable> {
        let Some(log) = self.room.upgrade().and_then(|room| room.log()) else { return Ok(None) };
        // A member that follows the tail must be able to take a whole page from it.
        let limit = rooms.limits.wire.max_page_messages.min(rooms.limits.rooms.tail_events);
        within(rooms, log.read(Range::entries(hole.after, limit))).await.map(Some)
    }

    /// Gives a page to the members. Returns false if it or the hole is of another epoch than the room.
    fn fill(&self, hole: &Hole, page: Page) -> bool {
        self.room.upgrade().is_none_or(|room| room.update(|state| state.room.fill(hole, page)))
    }

    /// Reads the bounds of a log whose epoch is not that of the room. They renew the room.
    async fn observe(&self, rooms: &Rooms, generation: u64) -> Result<(), Unavailable> {
        let Some(log) = self.room.upgrade().and_then(|room| room.log()) else { return Ok(()) };
        let bounds = within(rooms, log.bounds()).await?;
        if let Some(room) = self.room.upgrade() {
            room.update(|state| state.room.observe(generation, &bounds));
        }
        Ok(())
    }
}

impl Drop for Repair {
    // The runtime of the task has ended: the next change starts another one.
    fn drop(&mut self) {
        if !self.done
            && let Some(room) = self.room.upgrade()
        {
            room.abandon_repair();
        }
    }
}
