use std::collections::VecDeque;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use crate::RoomName;

/// Where rooms tell one connection that they have something for it: the rooms' names, each at most once,
/// never the messages.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    rooms: Mutex<VecDeque<RoomName>>,
    pub(crate) waker: AtomicWaker,
}

impl Inbox {
    pub(crate) fn push(&self, room: RoomName) {
        self.rooms.lock().push_back(room);
        self.waker.wake();
    }

    /// Puts a room back that has more, by the connection itself, which is awake.
    pub(crate) fn requeue(&self, room: RoomName) {
        self.rooms.lock().push_back(room);
    }

    pub(crate) fn pop(&self) -> Option<RoomName> {
        self.rooms.lock().pop_front()
    }
}
