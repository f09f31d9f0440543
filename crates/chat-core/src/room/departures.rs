//! The users who have lost their last connection, and leave after a while.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use chat_proto::room::Room as RoomState;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::room::{LiveRoom, Rooms, Seat};

/// The departures to come, the next one first.
#[derive(Debug, Default)]
pub(crate) struct Departures(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    next: VecDeque<Departure>,
    /// True while a task waits for the next one.
    is_running: bool,
}

#[derive(Debug)]
struct Departure {
    due: Instant,
    room: Weak<LiveRoom>,
    /// The number of the last user who leaves then.
    up_to: u64,
}

impl Departures {
    /// Returns true if the task must be started.
    fn push(&self, departure: Departure) -> bool {
        let mut queue = self.0.lock();
        queue.next.push_back(departure);
        !std::mem::replace(&mut queue.is_running, true)
    }

    /// Returns the next departure, or the time until which the task waits for it. Without a next one, the task ends.
    fn next(&self) -> Option<Result<Departure, Instant>> {
        let mut queue = self.0.lock();
        let due = queue.next.front().map(|departure| departure.due);
        queue.is_running = due.is_some();
        let due = due?;
        if due > Instant::now() { Some(Err(due)) } else { queue.next.pop_front().map(Ok) }
    }
}

impl Rooms {
    /// Changes the users of a room. Those who lose their last connection leave later.
    pub(crate) fn change_roster<T>(
        self: &Arc<Self>,
        room: &Arc<LiveRoom>,
        change: impl FnOnce(&mut RoomState<Arc<Seat>>) -> T,
    ) -> T {
        let (changed, deferred) = room.update(|state| {
            let before = state.roster().last_deferred();
            let changed = change(state);
            let after = state.roster().last_deferred();
            (changed, (after > before).then_some(after))
        });
        if let Some(up_to) = deferred {
            let due = Instant::now() + self.limits.nodes.leave_grace;
            let is_first = self.departures.push(Departure { due, room: Arc::downgrade(room), up_to });
            if is_first && let Some(runtime) = self.nodes.runtime() {
                runtime.spawn(Departing { rooms: Arc::downgrade(self), done: false }.run());
            }
        }
        changed
    }
}

/// The task that lets users leave when it is time.
struct Departing {
    rooms: Weak<Rooms>,
    /// True if it has ended by itself.
    done: bool,
}

impl Departing {
    async fn run(mut self) {
        loop {
            let Some(rooms) = self.rooms.upgrade() else { return };
            let next = rooms.departures.next();
            drop(rooms);
            match next {
                Some(Ok(Departure { room, up_to, .. })) => {
                    if let Some(room) = room.upgrade() {
                        room.update(|state| state.end_deferred(up_to));
                    }
                }
                Some(Err(due)) => sleep_until(due).await,
                None => {
                    self.done = true;
                    return;
                }
            }
        }
    }
}

impl Drop for Departing {
    // If the runtime of the task has ended, the next departure starts another one.
    fn drop(&mut self) {
        if !self.done
            && let Some(rooms) = self.rooms.upgrade()
        {
            rooms.departures.0.lock().is_running = false;
        }
    }
}
