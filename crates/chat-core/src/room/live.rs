use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::Waker;

use chat_proto::command::JoinFrom;
use chat_proto::room::{Member, Room as RoomState};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::room::awaited::Awaited;
use crate::room::budget::{Charge, Holder, Kind};
use crate::room::flush::Flushing;
use crate::room::repair::Repair;
use crate::room::{Rooms, Seat, wake_all, within};
use crate::stats::Counters;
use crate::store::Commit;
use crate::sync::{Mutex, MutexGuard};
use crate::{CommitSink, LogBounds, Room, RoomName, Unavailable, User};

/// The members whose runtimes are compared with that of a change.
const MAX_COMPARED: usize = 64;

/// A room that this process has open: its log, and its members.
pub(crate) struct LiveRoom {
    log: Arc<dyn Room>,
    shared: Arc<Shared>,
}

/// The part of a room that the sink of its log reaches.
pub(super) struct Shared {
    name: RoomName,
    pub(super) rooms: Weak<Rooms>,
    /// Those of the rooms. A flush uses them for each message, and so needs no reference to the rooms.
    pub(super) counters: Arc<Counters>,
    /// Set once the log is open.
    log: OnceLock<Weak<dyn Room>>,
    // Nothing is awaited and no waker is called while this is held.
    state: Mutex<State>,
    /// True once the log has a message.
    has_messages: Arc<AtomicBool>,
    /// True if the log may have rules, so that the role of a user decides about messages.
    has_rules: AtomicBool,
    /// Notified if the log has reported entries by its head only. They are read at once.
    pub(super) unreported: Arc<Notify>,
    /// True while a flush goes on. It changes under the lock of the state.
    pub(super) is_flushing: AtomicBool,
    pub(super) awaited: Awaited,
}

pub(super) struct State {
    pub(super) room: RoomState<Arc<Seat>>,
    /// The time of the last use of the room, if it has no member.
    idle_since: Option<Instant>,
    /// The time for which a task waits that calls the timer of the room.
    timer: Option<Instant>,
    /// The time from which the room counts.
    started: Instant,
    /// The bytes of the tail.
    charge: Charge,
    pub(super) flushing: Flushing,
    /// True while a task repairs a hole.
    pub(super) repairing: bool,
    /// True until the room has a message, as [`Shared::has_messages`] tells others.
    is_blank: bool,
    /// The runtime of the repair task. A store may report from a thread that has none.
    runtime: Handle,
}

/// The state of a room, while it is locked.
pub(crate) struct LockedRoom<'a>(MutexGuard<'a, State>);

/// The task that calls the timer of a room at this time.
struct Timer(Weak<Shared>, Instant);

impl LiveRoom {
    /// Opens the log of a room.
    pub(crate) async fn open(rooms: &Arc<Rooms>, name: &RoomName) -> Result<Self, Unavailable> {
        let state = State {
            room: RoomState::new(name.clone(), &rooms.limits),
            idle_since: Some(Instant::now()),
            timer: None,
            started: Instant::now(),
            charge: rooms.budget.charge(Kind::Tail),
            flushing: Flushing::default(),
            repairing: false,
            is_blank: true,
            runtime: Handle::current(),
        };
        let shared = Arc::new(Shared {
            name: name.clone(),
            rooms: Arc::downgrade(rooms),
            counters: Arc::clone(&rooms.counters),
            log: OnceLock::new(),
            state: Mutex::new(state),
            has_messages: Arc::default(),
            has_rules: AtomicBool::new(false),
            unreported: Arc::default(),
            is_flushing: AtomicBool::new(false),
            awaited: Awaited::default(),
        });
        let sink = sink(Arc::downgrade(&shared)).with_budget(Arc::clone(&rooms.budget));
        let log = within(rooms, rooms.store.open(name, &rooms.limits, sink)).await?;
        shared.log.get_or_init(|| Arc::downgrade(&log));
        Ok(Self { log, shared })
    }

    pub(crate) fn name(&self) -> &RoomName {
        &self.shared.name
    }

    pub(crate) fn log(&self) -> &dyn Room {
        &*self.log
    }

    /// Returns the extent of the log for a member that is about to join from a position. A store that knows it without
    /// a request is not asked, unless another node may have told the client more.
    pub(crate) async fn bounds_from(&self, rooms: &Rooms, from: &JoinFrom) -> Result<LogBounds, Unavailable> {
        match self.known_bounds().filter(|known| from.is_within(known)) {
            Some(known) => Ok(known),
            None => self.bounds(rooms).await,
        }
    }

    fn known_bounds(&self) -> Option<LogBounds> {
        let generation = self.state().generation();
        let known = self.log.known_bounds()?;
        let is_current = self.shared.update(|state| {
            state.runtime = Handle::current();
            state.room.is_up_to_date(&known) && state.room.observe(generation, &known)
        });
        if is_current && known.has_rules {
            self.shared.has_rules.store(true, Ordering::Relaxed);
        }
        is_current.then_some(known)
    }

    /// Reads the extent of the log.
    pub(crate) async fn bounds(&self, rooms: &Rooms) -> Result<LogBounds, Unavailable> {
        loop {
            let generation = self.state().generation();
            let bounds = within(rooms, self.log.bounds()).await?;
            let is_current = self.shared.update(|state| {
                // The runtime that opened the room may end before the runtime of a member.
                state.runtime = Handle::current();
                state.room.observe(generation, &bounds)
            });
            if is_current {
                if bounds.has_rules {
                    self.shared.has_rules.store(true, Ordering::Relaxed);
                }
                return Ok(bounds);
            }
        }
    }

    /// Returns the state. A change goes through [`update`](Self::update), which wakes the members.
    pub(crate) fn state(&self) -> LockedRoom<'_> {
        LockedRoom(self.shared.state.lock())
    }

    /// Changes the state and wakes the members that have something to take.
    pub(crate) fn update<T>(&self, update: impl FnOnce(&mut RoomState<Arc<Seat>>) -> T) -> T {
        self.shared.update(|state| update(&mut state.room))
    }

    /// Waits for the answer of the log to an append. A flush that is about to begin meanwhile may wait for it too.
    pub(super) fn track_append<T>(&self, answer: impl Future<Output = T>) -> impl Future<Output = T> {
        self.shared.awaited.count(answer)
    }

    /// Records that the log has answered with this position. The report of the entry may come late, or be lost.
    pub(crate) fn note_committed(&self, epoch: &str, seq: u64) {
        let is_reported = self.state().has_taken(epoch, seq);
        if !is_reported {
            self.update(|state| state.note_committed(epoch, seq));
        }
    }

    /// Puts the room into the inbox of a member: see [`Membership::queue`](super::Membership::queue). If the member has
    /// written, the next flush of a busy room may wait for the next message of the member.
    pub(crate) fn requeue(&self, member: &Member, has_written: bool) {
        let mut state = self.shared.state.lock();
        if let Some(seat) = state.room.wake(member) {
            seat.inbox().requeue(self.name().clone());
        }
        let awaits_writers = state.awaits_writers();
        drop(state);
        if has_written && awaits_writers {
            self.shared.awaited.note_writer(member.id());
        }
    }

    /// Records that a member started or stopped typing.
    pub(crate) fn typing(&self, member: &Member, active: bool) {
        self.shared.update(|state| state.room.typing(state.started.elapsed(), member, active));
    }

    /// Records that a user has moved the marker, in a room whose rules allow receipts.
    pub(crate) fn receipt(&self, epoch: &str, user: &User, seq: u64) {
        self.shared.update(|state| state.room.receipt(state.started.elapsed(), epoch, user, seq));
    }

    /// Records that a user on another node started or stopped typing.
    pub(crate) fn remote_typing(&self, node: &str, user: &User, active: bool) {
        self.shared.update(|state| state.room.remote_typing(state.started.elapsed(), node, user, active));
    }

    pub(crate) fn members(&self) -> Vec<User> {
        self.state().roster().members()
    }

    /// Records that a member may have entries to read from the log. Returns the waker of its session.
    #[must_use = "the task is woken by the caller"]
    pub(crate) fn wake(&self, member: &Member) -> Option<Waker> {
        self.shared.wake(member)
    }

    pub(crate) fn is_flushing(&self) -> bool {
        self.shared.is_flushing.load(Ordering::Acquire)
    }

    /// Returns true if the room has no member and no entry of it is known.
    pub(crate) fn is_blank(&self) -> bool {
        let room = self.state();
        room.is_empty() && room.head() == 0
    }

    /// Returns a flag that is true once the log has a message.
    pub(crate) fn has_messages(&self) -> &Arc<AtomicBool> {
        &self.shared.has_messages
    }

    /// Returns true if the log may have rules.
    pub(crate) fn has_rules(&self) -> bool {
        self.shared.has_rules.load(Ordering::Relaxed)
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

impl Deref for LockedRoom<'_> {
    type Target = RoomState<Arc<Seat>>;

    fn deref(&self) -> &Self::Target {
        &self.0.room
    }
}

impl DerefMut for LockedRoom<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0.room
    }
}

impl Shared {
    pub(super) fn update<T>(self: &Arc<Self>, update: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let updated = update(&mut state);
        self.end_update(state);
        updated
    }

    /// Does what a change of the state needs: wakes members, and starts a flush and tasks. What is rare is in functions
    /// of its own, so that a message needs little code.
    fn end_update(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let mut wakers = Vec::new();
        wakers.extend(state.room.to_wake().filter_map(|seat| seat.inbox().push(self.name.clone())));
        if state.room.has_acts() {
            self.has_rules.store(true, Ordering::Relaxed);
        }
        // Entries that the room never gets may be acts too.
        wakers.extend(state.room.take_affected().into_iter().filter_map(|seat| seat.change_rights()));
        let flush = state.start_flush();
        if flush {
            self.is_flushing.store(true, Ordering::Release);
        }
        if state.is_blank && state.room.has_messages() {
            state.is_blank = false;
            self.has_messages.store(true, Ordering::Relaxed);
        }
        state.idle_since = state.room.is_empty().then(Instant::now);
        let needs_repair = state.room.has_hole() && !std::mem::replace(&mut state.repairing, true);
        let repair = needs_repair.then(|| (state.runtime(), Repair::new(self, state.room.head())));
        let timer = state.next_timer().map(|due| (state.runtime(), Timer(Arc::downgrade(self), due)));
        let typing = state.room.take_typing();
        let rooms = if typing.is_empty() { None } else { self.announce_typing(&typing) };
        let over_budget = state.charge(self).then(|| Arc::clone(state.charge.budget()));
        drop(state);
        if flush {
            self.start_flush();
        }
        if !wakers.is_empty() {
            wake_all(wakers);
        }
        if let Some(budget) = over_budget {
            budget.make_space(0);
        }
        if let Some((runtime, task)) = repair {
            start(&runtime, task.run());
        }
        if let Some((runtime, task)) = timer {
            start(&runtime, task.run());
        }
        if let Some(rooms) = rooms {
            rooms.publish_announced();
        }
    }

    /// Queues for the other nodes who has started or stopped typing here. The caller publishes it without the lock.
    #[cold]
    fn announce_typing(&self, typing: &[(User, bool)]) -> Option<Arc<Rooms>> {
        let rooms = self.rooms.upgrade()?;
        typing.iter().for_each(|(user, active)| rooms.announce_typing(&self.name, user, *active));
        Some(rooms)
    }

    pub(super) fn name(&self) -> &RoomName {
        &self.name
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Records that a member has events to take. Returns the waker of its session.
    #[must_use = "the task is woken by the caller"]
    pub(super) fn wake(&self, member: &Member) -> Option<Waker> {
        let mut state = self.state.lock();
        state.room.wake(member).and_then(|seat| seat.inbox().push(self.name.clone()))
    }

    /// Tells the followers of the room that it has new entries.
    fn note_activity(&self) {
        if let Some(rooms) = self.rooms.upgrade() {
            rooms.note_activity(&self.name);
        }
    }

    /// Returns the log, unless it is not open yet or is closed.
    pub(super) fn log(&self) -> Option<Arc<dyn Room>> {
        self.log.get()?.upgrade()
    }

    /// Records that the repair task has ended before its time. The next change starts another one.
    pub(super) fn abandon_repair(&self) {
        self.state.lock().repairing = false;
    }
}

impl State {
    fn runtime(&self) -> Handle {
        Handle::try_current().unwrap_or_else(|_| self.runtime.clone())
    }

    /// Returns true if a task must be started to flush the room.
    fn start_flush(&mut self) -> bool {
        self.room.needs_flush() && self.flushing.start()
    }

    /// Returns the runtime of a task that flushes the room.
    ///
    /// It is that of a member, because the present one may not run any more soon. A member in the present runtime is
    /// better than the first one, whose thread may be busy with something else.
    pub(super) fn flush_runtime(&self) -> Handle {
        let runtimes = || self.room.direct_members(None).map(|(_, seat)| seat.runtime());
        let current = Handle::try_current().ok().map(|runtime| runtime.id());
        let is_current = |runtime: &&Handle| Some(runtime.id()) == current;
        let of_member = runtimes().take(MAX_COMPARED).find(is_current).or_else(|| runtimes().next());
        // Without a member, nothing is left to write.
        of_member.cloned().unwrap_or_else(|| self.runtime())
    }

    /// Returns the time at which the timer of the room is due, if no task waits for it.
    fn next_timer(&mut self) -> Option<Instant> {
        let due = self.started + self.room.deadline()?;
        if self.timer.is_some_and(|timer| timer <= due) {
            return None;
        }
        self.timer = Some(due);
        self.timer
    }

    /// Counts the bytes of the tail, which is for members only. Returns true if the budget has no space for them.
    fn charge(&mut self, shared: &Arc<Shared>) -> bool {
        if self.room.is_empty() {
            self.room.drop_tail();
        }
        let bytes = self.room.memory_bytes();
        if bytes > 0 {
            self.charge.touch(|| Arc::downgrade(shared) as Weak<dyn Holder>);
        }
        self.charge.set(bytes)
    }
}

impl Timer {
    async fn run(self) {
        sleep_until(self.1).await;
        if let Some(room) = self.0.upgrade() {
            room.update(|state| {
                state.timer = state.timer.filter(|timer| *timer != self.1);
                state.room.handle_timer(state.started.elapsed());
            });
        }
    }
}

impl Drop for Timer {
    // If the runtime of the task has ended, the next change starts another one.
    fn drop(&mut self) {
        if let Some(room) = self.0.upgrade() {
            let mut state = room.state.lock();
            state.timer = state.timer.filter(|timer| *timer != self.1);
        }
    }
}

impl Holder for Shared {
    fn shrink(&self) -> bool {
        let mut state = self.state.lock();
        state.room.drop_tail();
        let bytes = state.room.memory_bytes();
        state.charge.set(bytes);
        state.charge.removed();
        false
    }
}

/// Starts a task that few changes need.
#[cold]
fn start(runtime: &Handle, task: impl Future<Output = ()> + Send + 'static) {
    drop(runtime.spawn(task));
}

/// Returns the sink from the log to the room. It does not keep the room alive.
fn sink(shared: Weak<Shared>) -> CommitSink {
    CommitSink::new(move |commit| {
        let Some(shared) = shared.upgrade() else { return };
        match commit {
            Commit::Entry { epoch, stored } => {
                shared.update(|state| state.room.commit(epoch, stored));
                shared.note_activity();
            }
            Commit::Erased { epoch, entries } => shared.update(|state| state.room.erase(epoch, entries)),
            Commit::Head { epoch, head } => {
                let has_hole = shared.update(|state| {
                    state.room.note_committed(epoch, head);
                    state.room.has_hole()
                });
                if has_hole {
                    shared.unreported.notify_one();
                }
                shared.note_activity();
            }
            Commit::Renewed(bounds) => shared.update(|state| state.room.renew(bounds)),
        }
    })
}
