use std::collections::VecDeque;

use chat_proto::room::Room as RoomState;
use parking_lot::Mutex;

use crate::bus::Notice;
use crate::room::Rooms;
use crate::{Bus, NodeId, User};

/// The notices on their way to the bus, in the order of the changes that they report.
///
/// A notice is queued under the lock of its room and published without it, so that the bus's code never runs under a
/// lock, and a later count never overtakes an earlier one.
#[derive(Debug, Default)]
pub(crate) struct Outbox(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    notices: VecDeque<Notice>,
    is_publishing: bool,
}

impl Outbox {
    fn push(&self, notice: Notice) {
        self.0.lock().notices.push_back(notice);
    }

    /// Publishes the queued notices. If another thread is publishing, that thread publishes them.
    fn publish(&self, bus: &dyn Bus, node: &NodeId) {
        if std::mem::replace(&mut self.0.lock().is_publishing, true) {
            return;
        }
        let publishing = Publishing(self);
        while let Some(notice) = publishing.next() {
            bus.publish(node, &notice);
        }
    }
}

/// The right to publish. It is given back together with the last notice, or if the bus panics.
struct Publishing<'a>(&'a Outbox);

impl Publishing<'_> {
    fn next(&self) -> Option<Notice> {
        let mut queue = self.0.0.lock();
        let notice = queue.notices.pop_front();
        queue.is_publishing = notice.is_some();
        notice
    }
}

impl Drop for Publishing<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.0.lock().is_publishing = false;
        }
    }
}

impl Rooms {
    /// Queues a notice for the other nodes, if there are any.
    pub(crate) fn announce(&self, notice: impl FnOnce() -> Notice) {
        if self.bus.is_some() {
            self.outbox.push(notice());
        }
    }

    /// Queues the number of connections of a user in a room, whose lock is held.
    pub(crate) fn announce_presence<W>(&self, room: &RoomState<W>, user: &User) {
        self.announce(|| {
            let connections = room.roster().local_connections(user);
            Notice::Presence { room: room.name().clone(), user: user.clone(), connections }
        });
    }

    /// Publishes the notices that are queued.
    pub(crate) fn publish_announced(&self) {
        if let Some(bus) = &self.bus {
            self.outbox.publish(&**bus, &self.node);
        }
    }
}
