//! The opening of rooms: one call of the store for all that wait for a room.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use chat_proto::room::Room as RoomState;
use futures_util::future::{Either, FutureExt, select};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::yield_now;
use tracing::Instrument;

use crate::fair_queue::{NoTurn, Turn};
use crate::room::{LiveRoom, NotOpened, Rooms};
use crate::{RoomName, Unavailable, UserKey};

/// A room that is being opened.
#[derive(Clone)]
pub(super) struct Opening {
    /// The result, once there is one. Each call that waits has a receiver.
    result: watch::Sender<Option<Opened>>,
    /// Tells that a call of the host waits, which ends the wait for a turn.
    urgent: Arc<Notify>,
}

type Opened = Result<Arc<LiveRoom>, NotOpened>;

impl Rooms {
    /// Returns the room of this name for a call of the host, and opens it if it is not open.
    pub(crate) async fn open(self: &Arc<Self>, name: &RoomName) -> Result<Arc<LiveRoom>, Unavailable> {
        Ok(self.open_for(name, None).await?)
    }

    /// Returns the room of this name, and opens it if it is not open, for a user in turn with other users.
    ///
    /// All calls that wait for one room share one place in the queue, which is that of the user who asked first, one
    /// call of the store, and its error. The next call tries again. A call of the host lets the room be opened at once.
    pub(crate) async fn open_for(self: &Arc<Self>, name: &RoomName, user: Option<UserKey>) -> Opened {
        loop {
            let (mut result, task) = {
                let mut open = self.open.lock();
                // A room is in the map of the open rooms before it knows the users of other nodes.
                match open.opening.get(name) {
                    Some(opening) => {
                        if user.is_none() {
                            opening.urgent.notify_one();
                        }
                        (opening.result.subscribe(), None)
                    }
                    None => {
                        if let Some(room) = open.find(name) {
                            return Ok(room);
                        }
                        let (sender, result) = watch::channel(None);
                        let opening = Opening { result: sender, urgent: Arc::default() };
                        open.opening.insert(name.clone(), opening.clone());
                        (
                            result,
                            Some(OpenTask {
                                rooms: Arc::clone(self),
                                name: name.clone(),
                                user: user.clone(),
                                opening,
                            }),
                        )
                    }
                }
            };
            // A task, so that the room is opened even if the caller is dropped after the room had its turn. It is
            // spawned without the lock, because a runtime that ends drops it at once.
            if let Some(task) = task {
                tokio::spawn(task.run().in_current_span());
            }
            let result = result.wait_for(Option::is_some).await.ok().and_then(|result| result.clone());
            match result {
                // The users had no turn. The host needs none.
                Some(Err(NotOpened::Busy)) if user.is_none() => {}
                Some(result) => return result,
                // The task has ended without a result, because its runtime has ended, or because nobody waited before
                // this call. This call opens the room on its own.
                None => yield_now().await,
            }
        }
    }

    async fn open_log(self: &Arc<Self>, name: &RoomName, turn: Option<Turn>) -> Opened {
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
    opening: Opening,
}

impl OpenTask {
    async fn run(self) {
        // Nobody waits any more, so others get the place.
        let Some(turn) = self.turn().await else { return };
        let result = match turn {
            Ok(turn) => self.open(turn).await,
            Err(NoTurn) => Err(NotOpened::Busy),
        };
        self.forget();
        self.opening.result.send_replace(Some(result));
    }

    /// Waits until the room may be opened, with a turn if that is for users. Returns `None` if no call waits for it.
    async fn turn(&self) -> Option<Result<Option<Turn>, NoTurn>> {
        let Some(user) = self.user.clone() else { return Some(Ok(None)) };
        let turn = pin!(self.rooms.openings.turn(user).map(|turn| turn.map(Some)));
        let urgent = pin!(self.opening.urgent.notified().map(|()| Ok(None)));
        let closed = pin!(self.opening.result.closed());
        match select(select(turn, urgent), closed).await {
            Either::Left((turn, _)) => Some(turn.factor_first().0),
            Either::Right(_) => None,
        }
    }

    async fn open(&self, turn: Option<Turn>) -> Opened {
        // The store is code of the host. Its panic must not be repeated by each call that waits.
        let opened = AssertUnwindSafe(self.rooms.open_log(&self.name, turn)).catch_unwind().await;
        opened.unwrap_or_else(|_| {
            tracing::error!("the store panicked while it opened a room");
            Err(Unavailable::new("the store panicked while it opened the room").into())
        })
    }

    /// Lets the next call open the room again, if it is not open.
    fn forget(&self) {
        self.rooms.open.lock().opening.remove(&self.name);
    }
}

impl Drop for OpenTask {
    fn drop(&mut self) {
        // Otherwise `run` has done it, and the entry may be that of a later task.
        if self.opening.result.borrow().is_none() {
            self.forget();
        }
    }
}
