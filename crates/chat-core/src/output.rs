use std::collections::VecDeque;

use crate::live::Taken;
use crate::{Outgoing, RoomName};

/// What one connection is to send next, in order: replies of its own and events of rooms.
#[derive(Debug, Default)]
pub(crate) struct Output {
    queue: VecDeque<(Origin, Outgoing)>,
    replies: usize,
    reply_bytes: usize,
    event_bytes: usize,
}

/// Where a frame comes from.
#[derive(Debug, PartialEq, Eq)]
enum Origin {
    Session,
    /// A room; whether it is a message, or stands for some.
    Room(RoomName, bool),
}

impl Output {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether it holds less than so many replies, and so many bytes of them.
    pub(crate) fn takes_replies(&self, replies: usize, bytes: usize) -> bool {
        self.replies < replies && self.reply_bytes < bytes
    }

    /// Whether it holds less than so many bytes of events.
    pub(crate) fn takes_events(&self, bytes: usize) -> bool {
        self.event_bytes < bytes
    }

    pub(crate) fn reply(&mut self, frame: Outgoing) {
        self.replies += 1;
        self.reply_bytes += size(&frame);
        self.queue.push_back((Origin::Session, frame));
    }

    pub(crate) fn event(&mut self, room: RoomName, taken: Taken) {
        self.event_bytes += taken.frame.len();
        self.queue.push_back((Origin::Room(room, taken.is_message), Outgoing::Text(taken.frame)));
    }

    pub(crate) fn pop(&mut self) -> Option<Outgoing> {
        let (origin, frame) = self.queue.pop_front()?;
        if origin == Origin::Session {
            self.replies -= 1;
            self.reply_bytes -= size(&frame);
        } else {
            self.event_bytes -= size(&frame);
        }
        Some(frame)
    }

    /// Drops the messages of a room, and its other events too if it has been left.
    pub(crate) fn forget(&mut self, room: &RoomName, left: bool) {
        self.queue.retain(|(origin, frame)| {
            let goes =
                matches!(origin, Origin::Room(from, is_message) if from == room && (left || *is_message));
            self.event_bytes -= if goes { size(frame) } else { 0 };
            !goes
        });
    }

    /// The frames that are left.
    pub(crate) fn into_frames(self) -> impl Iterator<Item = Outgoing> {
        self.queue.into_iter().map(|(_, frame)| frame)
    }
}

fn size(frame: &Outgoing) -> usize {
    match frame {
        Outgoing::Text(payload) | Outgoing::Binary(payload) => payload.len(),
        Outgoing::Ping => 0,
    }
}
