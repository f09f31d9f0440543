use std::collections::VecDeque;

use chat_proto::room::RoomEvent;

use crate::{Outgoing, RoomName};

/// The frames that one connection sends next, in order: its own replies, and events of rooms.
#[derive(Debug, Default)]
pub(super) struct Output {
    queue: VecDeque<(Origin, Outgoing)>,
    replies: usize,
    reply_bytes: usize,
    event_bytes: usize,
}

/// The origin of a frame.
#[derive(Debug, PartialEq, Eq)]
enum Origin {
    Session,
    /// A room; true for an entry, or a gap that stands for entries.
    Room(RoomName, bool),
}

impl Output {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Returns true while the waiting replies are below these limits of number and bytes.
    pub(super) fn takes_replies(&self, replies: usize, bytes: usize) -> bool {
        self.replies < replies && self.reply_bytes < bytes
    }

    /// Returns true while the waiting events have fewer bytes than this.
    pub(super) fn takes_events(&self, bytes: usize) -> bool {
        self.event_bytes < bytes
    }

    pub(super) fn reply(&mut self, frame: Outgoing) {
        self.replies += 1;
        self.reply_bytes += frame.payload_bytes();
        self.queue.push_back((Origin::Session, frame));
    }

    pub(super) fn event(&mut self, room: RoomName, event: RoomEvent) {
        self.event_bytes += event.frame.len();
        self.queue.push_back((Origin::Room(room, event.is_entry), Outgoing::Text(event.frame)));
    }

    pub(super) fn pop(&mut self) -> Option<Outgoing> {
        let (origin, frame) = self.queue.pop_front()?;
        if self.queue.is_empty() {
            // An idle connection keeps no memory.
            self.queue = VecDeque::new();
        }
        if origin == Origin::Session {
            self.replies -= 1;
            self.reply_bytes -= frame.payload_bytes();
        } else {
            self.event_bytes -= frame.payload_bytes();
        }
        Some(frame)
    }

    /// Drops the entries of a room, and its other events too if it has been left.
    pub(super) fn forget(&mut self, room: &RoomName, has_left: bool) {
        self.queue.retain(|(origin, frame)| {
            let goes =
                matches!(origin, Origin::Room(from, is_entry) if from == room && (has_left || *is_entry));
            self.event_bytes -= if goes { frame.payload_bytes() } else { 0 };
            !goes
        });
    }

    /// Returns the frames that are left.
    pub(super) fn into_frames(self) -> impl Iterator<Item = Outgoing> {
        self.queue.into_iter().map(|(_, frame)| frame)
    }
}
