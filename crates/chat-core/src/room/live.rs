use std::sync::{Arc, Weak};
use std::time::Duration;

use chat_proto::room::{Committed, Member, Room as RoomState};
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use crate::room::{Inbox, Rooms, within};
use crate::store::Commit;
use crate::{CommitSink, LogBounds, Room, RoomName, Unavailable, User};

/// Time for which an entry waits for earlier ones before the members read the log.
const REPAIR_DELAY: Duration = Duration::from_millis(200);

/// A room that this process has open: its log, and who is there.
pub(crate) struct LiveRoom {
    log: Arc<dyn Room>,
    shared: Arc<Shared>,
}

/// What the sink of the log reaches.
struct Shared {
    name: RoomName,
    // Nothing is awaited while this is held.
    state: Mutex<State>,
    /// The runtime of the repair task; a store may report from a thread of its own.
    runtime: Handle,
}

struct State {
    room: RoomState<Arc<Inbox>>,
    /// The time since which nobody is here and nothing happens.
    idle_since: Option<Instant>,
    /// Whether a task waits to repair a hole.
    repairing: bool,
}

impl LiveRoom {
    /// Opens the log of a room.
    pub(crate) async fn open(rooms: &Rooms, name: &RoomName) -> Result<Self, Unavailable> {
        let state = State {
            room: RoomState::new(name.clone(), &rooms.limits),
            idle_since: Some(Instant::now()),
            repairing: false,
        };
        let shared =
            Arc::new(Shared { name: name.clone(), state: Mutex::new(state), runtime: Handle::current() });
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

    /// Returns the state. Those who must hear of a change are woken by [`wake`](Self::wake) on it.
    pub(crate) fn state(&self) -> MappedMutexGuard<'_, RoomState<Arc<Inbox>>> {
        MutexGuard::map(self.shared.state.lock(), |state| &mut state.room)
    }

    /// Changes the state and wakes those who must hear of it.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut RoomState<Arc<Inbox>>) -> T) -> T {
        self.shared.change(|state| change(&mut state.room))
    }

    pub(crate) fn members(&self) -> Vec<User> {
        self.state().roster().members()
    }

    /// Wakes one member, which has more to take.
    pub(crate) fn wake(&self, member: &Member) {
        if let Some(inbox) = self.state().wake(member) {
            inbox.push(self.shared.name.clone());
        }
    }

    /// Removes a member. Returns true if the room is empty now.
    pub(crate) fn leave(&self, member: &Member) -> bool {
        self.change(|room| {
            room.leave(member);
            room.is_empty()
        })
    }

    /// Returns true if nobody is here and no entry is known.
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
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let changed = change(&mut state);
        for inbox in state.room.to_wake() {
            inbox.push(self.name.clone());
        }
        state.idle_since = state.room.is_empty().then(Instant::now);
        changed
    }

    fn report(self: &Arc<Self>, commit: Commit<'_>) {
        let needs_repair = self.change(|state| match commit {
            Commit::Entry(stored) => {
                let is_early = state.room.commit(stored) == Committed::Early;
                is_early && !std::mem::replace(&mut state.repairing, true)
            }
            Commit::Head(head) => {
                state.room.advance(head);
                false
            }
            Commit::Renewed(LogBounds { head, .. }) => {
                state.room.renew(*head);
                false
            }
        });
        if needs_repair {
            self.runtime.spawn(repair(Arc::downgrade(self)));
        }
    }
}

/// The way from the log to the room, as long as the room is open.
fn sink(shared: Weak<Shared>) -> CommitSink {
    CommitSink::new(move |commit| {
        if let Some(shared) = shared.upgrade() {
            shared.report(commit);
        }
    })
}

/// Lets the members of a room read the log if a hole among the reported entries stays.
async fn repair(room: Weak<Shared>) {
    let mut hole = None;
    loop {
        sleep(REPAIR_DELAY).await;
        let Some(room) = room.upgrade() else { return };
        let goes_on = room.change(|state| {
            let head = state.room.head();
            if hole.replace(head) == Some(head) {
                state.room.repair();
            }
            state.repairing = state.room.has_hole();
            state.repairing
        });
        if !goes_on {
            return;
        }
    }
}
