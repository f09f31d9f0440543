use std::collections::VecDeque;

use chat_proto::Range;

use super::RoomView;
use crate::ClientEvent;

/// The messages that must be read, and the events that a page of them may not include.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    /// The last position, 0 if no messages must be read.
    to: u64,
    /// The events after `to` about messages up to `to`, at most [`RoomView::MAX_MESSAGES`].
    later: VecDeque<ClientEvent>,
}

impl Reading {
    /// Adds the messages up to a position. Pages that were read for an earlier position do not count any more.
    pub(super) fn extend(&mut self, to: u64) {
        if to > self.to {
            *self = Self { to, later: VecDeque::new() };
        }
    }

    pub(super) fn range(&self, limit: usize) -> Option<Range> {
        (self.to > 0).then(|| Range::before(self.to + 1, limit))
    }

    /// Keeps an event for the page, which may have been read before it.
    pub(super) fn handle_event(&mut self, event: &ClientEvent) {
        let (first, rev) = match event {
            ClientEvent::Message(message) => {
                let thread = message.links.as_ref().and_then(|links| links.thread);
                (thread.unwrap_or(message.seq), message.rev())
            }
            ClientEvent::Changed(changed) => (changed.target, changed.seq),
            ClientEvent::Purged(purge) => (purge.from, purge.seq),
            _ => return,
        };
        if first > self.to || rev <= self.to {
            return;
        }
        if self.later.len() < RoomView::MAX_MESSAGES {
            self.later.push_back(event.clone());
        } else {
            self.extend(rev);
        }
    }

    /// Ends with a page of `range`. Returns the last position and the later events, or `None` if the page is not
    /// enough.
    pub(super) fn finish(&mut self, range: Range) -> Option<(u64, VecDeque<ClientEvent>)> {
        match range {
            Range::Before { seq, .. } if self.to > 0 && seq > self.to => {
                let Self { to, later } = std::mem::take(self);
                Some((to, later))
            }
            _ => None,
        }
    }
}
