//! The opening of rooms: one call of the store for all that wait for a room.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use chat_proto::room::Room as RoomState;
use futures_util::future::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::yield_now;
use tracing::Instrument;

use crate::fair_queue::NoTurn;
use crate::room::{LiveRoom, NotOpened, Rooms};
use crate::stats::count;
use crate::{RoomName, Unavailable, UserKey};

/// A room that is being opened. The value is the result, once there is one.
pub(super) type Opening = watch::Receiver<Option<Opened>>;

type Opened = Result<Arc<LiveRoom>, NotOpened>;

impl Rooms {
    /// Returns the room of this name for a call of the host, and opens it if it is not open.
    pub(crate) async fn open(self: &Arc<Self>, name: &RoomName) -> Result<Arc<LiveRoom>, Unavailable> {
        Ok(self.open_for(name, None).await?)
    }

    /// Returns the room of this name, and opens it if it is not open, for a user in turn with other users.
    ///
    /// All calls that wait for one room share one place in the queue, one call of the store, and its error. The next
    /// call tries again.
    pub(crate) async fn open_for(self: &Arc<Self>, name: &RoomName, user: Option<UserKey>) -> Opened {
        loop {
            let (mut opening, task) = {
                let mut open = self.open.lock();
                // A room is in the map of the open rooms before it knows the users of other nodes.
                match open.opening.get(name).cloned() {
                    Some(opening) => (opening, None),
                    None => {
                        if let Some(room) = open.find(name) {
                            return Ok(room);
                        }
                        let (sender, opening) = watch::channel(None);
                        open.opening.insert(name.clone(), opening.clone());
                        (
                            opening,
                            Some(OpenTask {
                                rooms: Arc::clone(self),
                                name: name.clone(),
                                user: user.clone(),
                                sender,
                            }),
                        )
                    }
                }
            };
            // A task, so that it is finished even if the caller is dropped. It is spawned without the lock, because a
            // runtime that ends drops it at once.
            if let Some(task) = task {
                tokio::spawn(task.run().in_current_span());
            }
            if let Ok(Some(result)) = opening.wait_for(Option::is_some).await.as_deref() {
                return result.clone();
            }
            // The task has ended without a result, because its runtime has ended. This call opens the room on its own.
            yield_now().await;
        }
    }

    async fn open_log(self: &Arc<Self>, name: &RoomName, user: Option<UserKey>) -> Opened {
        let turn = match user {
            Some(user) => Some(self.openings.turn(user).await.map_err(|NoTurn| {
                count(&self.counters.openings_refused);
                NotOpened::Busy
            })?),
            None => None,
        };
        let opened = Arc::new(LiveRoom::open(self, name).await?);
        // The store has answered. The other nodes may take longer.
        drop(turn);
        if self.nodes.is_alone() {
            return Ok(self.insert(&opened));
        }
        self.nodes.set_runtime(Handle::current());
        if !self.limits.nodes.leave_grace.is_zero() {
            opened.update(RoomState::defer_leaving);
        }
        let room = self.insert(&opened);
        if Arc::ptr_eq(&room, &opened) {
            self.learn_roster(name).await;
        }
        Ok(room)
    }
}

/// The task that opens a room.
struct OpenTask {
    rooms: Arc<Rooms>,
    name: RoomName,
    /// `None` for a call of the host, which does not wait for a turn.
    user: Option<UserKey>,
    sender: watch::Sender<Option<Opened>>,
}

impl OpenTask {
    async fn run(self) {
        // The store is code of the host. Its panic must not be repeated by each call that waits.
        let result =
            AssertUnwindSafe(self.rooms.open_log(&self.name, self.user.clone())).catch_unwind().await;
        let result = result.unwrap_or_else(|_| {
            tracing::error!("the store panicked while it opened a room");
            Err(Unavailable::new("the store panicked while it opened the room").into())
        });
        self.forget();
        self.sender.send_replace(Some(result));
    }

    /// Lets the next call open the room again, if it is not open.
    fn forget(&self) {
        self.rooms.open.lock().opening.remove(&self.name);
    }
}

impl Drop for OpenTask {
    fn drop(&mut self) {
        // Otherwise `run` has done it, and the entry may be that of a later task.
        if self.sender.borrow().is_none() {
            self.forget();
        }
    }
}
