use std::collections::VecDeque;

use bytes::Bytes;

use crate::{Outgoing, RoomName};

/// What one connection is to send next, in order: replies of its own and events of rooms.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// Events carry the name of their room.
    queue: VecDeque<(Option<RoomName>, Outgoing)>,
    replies: usize,
    reply_bytes: usize,
    event_bytes: usize,
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
        self.queue.push_back((None, frame));
    }

    pub(crate) fn event(&mut self, room: RoomName, text: Bytes) {
        self.event_bytes += text.len();
        self.queue.push_back((Some(room), Outgoing::Text(text)));
    }

    pub(crate) fn pop(&mut self) -> Option<Outgoing> {
        let (room, frame) = self.queue.pop_front()?;
        if room.is_some() {
            self.event_bytes -= size(&frame);
        } else {
            self.replies -= 1;
            self.reply_bytes -= size(&frame);
        }
        Some(frame)
    }

    /// Drops the events of a room.
    pub(crate) fn forget(&mut self, room: &RoomName) {
        self.queue.retain(|(from, frame)| {
            let stays = from.as_ref() != Some(room);
            self.event_bytes -= if stays { 0 } else { size(frame) };
            stays
        });
    }

    /// The frames that are left.
    pub(crate) fn into_frames(self) -> impl Iterator<Item = Outgoing> {
        self.queue.into_iter().map(|(_, frame)| frame)
    }
}

fn size(frame: &Outgoing) -> usize {
    match frame {
        Outgoing::Text(text) => text.len(),
        Outgoing::Ping => 0,
    }
}
