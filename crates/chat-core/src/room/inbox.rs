use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use futures_util::task::AtomicWaker;

use super::Outlet;
use super::updates::Updates;
use crate::RoomName;
use crate::sync::Mutex;

/// The names of the rooms that have events for one connection or subscription, and the outlet of the connection. Each
/// name occurs at most once.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    rooms: Mutex<VecDeque<RoomName>>,
    /// True if the rights of the connection in a room may have changed.
    rights_changed: AtomicBool,
    pub(crate) waker: AtomicWaker,
    pub(crate) outlet: Outlet,
    pub(crate) updates: Updates,
}

impl Inbox {
    /// Adds a room. Returns the waker, which the caller calls when it holds no lock: a waker is code of the host's
    /// executor, and may run the task at once.
    #[must_use = "the task is woken by the caller"]
    pub(crate) fn push(&self, room: RoomName) -> Option<Waker> {
        self.rooms.lock().push_back(room);
        self.waker.take()
    }

    /// Records that the rights of the connection in a room may have changed. Returns the waker, as
    /// [`push`](Self::push).
    #[must_use = "the task is woken by the caller"]
    pub(super) fn change_rights(&self) -> Option<Waker> {
        self.rights_changed.store(true, Ordering::Release);
        self.waker.take()
    }

    /// Returns true if the rights in a room may have changed since the last call.
    pub(crate) fn take_rights_changed(&self) -> bool {
        self.rights_changed.load(Ordering::Acquire) && self.rights_changed.swap(false, Ordering::AcqRel)
    }

    /// Puts back a room that has more events. Only the connection itself calls it, so no task must be woken.
    pub(crate) fn requeue(&self, room: RoomName) {
        self.rooms.lock().push_back(room);
    }

    /// Records that another connection of the user has moved the marker of a room.
    pub(crate) fn note_read(&self, room: &RoomName, seq: u64) {
        self.updates.change(room, |update| update.read = update.read.max(Some(seq)));
        wake_all(self.waker.take());
    }

    /// Records that the user follows a direct room, or that another connection of the user no longer follows a room.
    pub(crate) fn note_follow(&self, room: &RoomName, on: bool) {
        self.updates.change(room, |update| update.followed = Some(on));
        wake_all(self.waker.take());
    }

    /// Forgets that another connection no longer follows a room, because this one follows it since then.
    pub(crate) fn forget_unfollowed(&self, room: &RoomName) {
        self.updates.forget_unfollowed(room);
    }

    pub(crate) fn pop(&self) -> Option<RoomName> {
        self.rooms.lock().pop_front()
    }
}

/// Calls wakers, also after one of them has panicked. The others belong to other sessions, which are not woken a second
/// time.
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    for waker in wakers {
        let _panicked = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}
