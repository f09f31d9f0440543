use std::sync::{Arc, Weak};
use std::time::Duration;

use chat_proto::room::{Member, Room as RoomState};
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use crate::room::{Inbox, Rooms, within};
use crate::store::Commit;
use crate::{CommitSink, LogBounds, Room, RoomName, Unavailable, User};

/// Time for which the room waits for the report of a committed entry. Then the members read it from the log.
const REPAIR_DELAY: Duration = Duration::from_millis(200);

/// A room that this process has open: its log, and its members.
pub(crate) struct LiveRoom {
    log: Arc<dyn Room>,
    shared: Arc<Shared>,
}

/// The part of a room that the sink of its log reaches.
struct Shared {
    name: RoomName,
    // Nothing is awaited while this is held.
    state: Mutex<State>,
}

struct State {
    room: RoomState<Arc<Inbox>>,
    /// The time of the last use of the room, if it has no member.
    idle_since: Option<Instant>,
    /// True while a task waits to repair a hole.
    repairing: bool,
    /// The runtime of the repair task. A store may report from a thread that has none.
    runtime: Handle,
}

impl LiveRoom {
    /// Opens the log of a room.
    pub(crate) async fn open(rooms: &Rooms, name: &RoomName) -> Result<Self, Unavailable> {
        let state = State {
            room: RoomState::new(name.clone(), &rooms.limits),
            idle_since: Some(Instant::now()),
            repairing: false,
            runtime: Handle::current(),
        };
        let shared = Arc::new(Shared { name: name.clone(), state: Mutex::new(state) });
        let sink = sink(Arc::downgrade(&shared));
        let log = within(rooms, rooms.store.open(name, &rooms.limits, sink)).await?;
        Ok(Self { log, shared })
    }

    pub(crate) fn name(&self) -> &RoomName {
        &self.shared.name
    }

    pub(crate) fn log(&self) -> &dyn Room {
        &*self.log
    }

    /// Reads the extent of the log for a member that is about to join.
    pub(crate) async fn bounds(&self, rooms: &Rooms) -> Result<LogBounds, Unavailable> {
        loop {
            let generation = self.state().generation();
            let bounds = within(rooms, self.log.bounds()).await?;
            let is_current = self.shared.change(|state| {
                // The runtime that opened the room may end before the runtime of a member.
                state.runtime = Handle::current();
                state.room.observe(generation, &bounds)
            });
            if is_current {
                return Ok(bounds);
            }
        }
    }

    /// Returns the state. A change goes through [`change`](Self::change), which wakes the members.
    pub(crate) fn state(&self) -> MappedMutexGuard<'_, RoomState<Arc<Inbox>>> {
        MutexGuard::map(self.shared.state.lock(), |state| &mut state.room)
    }

    /// Changes the state and wakes the members that have something to take.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut RoomState<Arc<Inbox>>) -> T) -> T {
        self.shared.change(|state| change(&mut state.room))
    }

    pub(crate) fn members(&self) -> Vec<User> {
        self.state().roster().members()
    }

    /// Wakes one member, which may have entries to read from the log.
    pub(crate) fn wake(&self, member: &Member) {
        if let Some(inbox) = self.state().wake(member) {
            inbox.push(self.shared.name.clone());
        }
    }

    /// Returns true if the room has no member and no entry of it is known.
    pub(crate) fn is_blank(&self) -> bool {
        let room = self.state();
        room.is_empty() && room.head() == 0
    }

    pub(crate) fn idle_since(&self) -> Option<Instant> {
        self.shared.state.lock().idle_since
    }
}

impl std::fmt::Debug for LiveRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveRoom").field("name", self.name()).finish_non_exhaustive()
    }
}

impl Shared {
    fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let changed = change(&mut state);
        for inbox in state.room.to_wake() {
            inbox.push(self.name.clone());
        }
        state.idle_since = state.room.is_empty().then(Instant::now);
        let needs_repair = state.room.has_hole() && !std::mem::replace(&mut state.repairing, true);
        let repair = needs_repair.then(|| {
            let task = Repair { room: Arc::downgrade(self), head: state.room.head(), done: false };
            (Handle::try_current().unwrap_or_else(|_| state.runtime.clone()), task)
        });
        drop(state);
        if let Some((runtime, task)) = repair {
            runtime.spawn(task.run());
        }
        changed
    }
}

/// Returns the sink from the log to the room. It does not keep the room alive.
fn sink(shared: Weak<Shared>) -> CommitSink {
    CommitSink::new(move |commit| {
        let Some(shared) = shared.upgrade() else { return };
        shared.change(|state| match commit {
            Commit::Entry(stored) => {
                state.room.commit(stored);
            }
            Commit::Head(head) => state.room.advance(head),
            Commit::Renewed(bounds) => state.room.renew(bounds),
        });
    })
}

/// The task that lets the members read the log if committed entries are not reported.
struct Repair {
    room: Weak<Shared>,
    /// The last entry before the hole.
    head: u64,
    /// True if the task has ended by itself.
    done: bool,
}

impl Repair {
    async fn run(mut self) {
        while !self.done {
            sleep(REPAIR_DELAY).await;
            let Some(room) = self.room.upgrade() else { return };
            room.change(|state| {
                if state.room.head() == self.head {
                    state.room.repair();
                }
                self.head = state.room.head();
                state.repairing = state.room.has_hole();
                self.done = !state.repairing;
            });
        }
    }
}

impl Drop for Repair {
    // The runtime of the task has ended: the next change starts another one.
    fn drop(&mut self) {
        if !self.done
            && let Some(room) = self.room.upgrade()
        {
            room.state.lock().repairing = false;
        }
    }
}
