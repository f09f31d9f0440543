use std::collections::VecDeque;

use chat_proto::{Mentions, Unread, User};

use crate::{Joined, ReceivedChange, ReceivedMessage, ReceivedPurge, What};

/// The largest number of unread messages. It stands for each larger number.
const MAX: u64 = 100;

/// The marker of the user, and a count of the messages after it that the view may no longer have.
#[derive(Clone, Debug)]
pub(super) struct UnreadState {
    /// The position of the marker. `None` if the server keeps no markers.
    read: Option<u64>,
    /// The first position from which the view has all messages.
    complete_from: u64,
    counted: Counted,
}

/// A number of unread messages, and of those that mention the user, up to a position.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    /// The marker for which they were counted. `None` if the numbers are not known.
    read: Option<u64>,
    to: u64,
    unread: u64,
    mentions: u64,
}

impl Counted {
    fn add(&mut self, message: &ReceivedMessage, me: &User) {
        if self.unread < MAX && !message.is_deleted() && message.user.id() != me.id() {
            self.unread += 1;
            self.mentions += u64::from(is_mentioned(message, me));
        }
    }
}

fn is_mentioned(message: &ReceivedMessage, me: &User) -> bool {
    match message.links.as_ref().and_then(|links| links.mentions.as_ref()) {
        Some(Mentions::Room) => true,
        Some(Mentions::Users(ids)) => ids.iter().any(|id| id == me.id()),
        _ => false,
    }
}

impl UnreadState {
    pub(super) fn new(joined: &Joined) -> Self {
        let mut state = Self { read: None, complete_from: joined.seq + 1, counted: Counted::default() };
        state.handle_joined(joined);
        state
    }

    pub(super) fn handle_joined(&mut self, joined: &Joined) {
        let Some(unread) = &joined.unread else {
            self.read = None;
            return;
        };
        let Unread { read, unread, mentions, .. } = *unread;
        self.read = self.read.max(Some(read));
        self.counted = Counted { read: Some(read), to: joined.seq, unread, mentions };
    }

    /// Handles a log with another epoch, of which nothing is known yet.
    pub(super) fn renew(&mut self) {
        self.read = self.read.map(|_| 0);
        self.complete_from = u64::MAX;
        self.counted = Counted::default();
    }

    /// Handles a position of the marker. Returns true if it is a later one.
    pub(super) fn handle_read(&mut self, seq: u64) -> bool {
        let is_later = Some(seq) > self.read;
        self.read = self.read.max(Some(seq));
        is_later
    }

    /// Handles that the view has all messages from a position on.
    pub(super) fn set_complete_from(&mut self, seq: u64) {
        self.complete_from = seq;
    }

    /// Handles that the view has all messages from a position up to `to`.
    pub(super) fn handle_page(&mut self, to: u64, from: u64) {
        // Later messages may have left the view.
        if self.complete_from <= to + 1 {
            self.complete_from = from;
        }
    }

    /// Handles entries that the client does not get.
    pub(super) fn handle_gap(&mut self, to: u64) {
        self.complete_from = self.complete_from.max(to + 1);
        if self.counted.to < to {
            self.counted.read = None;
        }
    }

    /// Handles a change that may alter what was counted. `as_of` is the entry up to which the server counted.
    pub(super) fn handle_change(&mut self, changed: &ReceivedChange, as_of: u64) {
        let is_counted = changed.target <= self.counted.to && changed.seq > as_of.min(self.counted.to);
        let is_unread = self.counted.read.is_some_and(|read| changed.target > read);
        let counts = matches!(changed.what, What::Edited { .. } | What::Deleted { .. } | What::Superseded);
        if is_counted && is_unread && counts {
            self.counted.read = None;
        }
    }

    /// Handles a purge that may alter what was counted. `as_of` is the entry up to which the server counted.
    pub(super) fn handle_purge(&mut self, purge: &ReceivedPurge, as_of: u64) {
        let is_counted = purge.from <= self.counted.to && purge.seq > as_of.min(self.counted.to);
        if is_counted && self.counted.read.is_some_and(|read| purge.to > read) {
            self.counted.read = None;
        }
    }

    /// Handles a message that leaves the view.
    pub(super) fn handle_evicted(&mut self, message: &ReceivedMessage, me: &User) {
        if self.is_complete() {
            self.counted = Counted { read: self.read, to: message.seq, ..Counted::default() };
            if Some(message.seq) > self.read {
                self.counted.add(message, me);
            }
        } else if message.seq > self.counted.to {
            self.counted.to = message.seq;
            if Some(message.seq) > self.counted.read {
                self.counted.add(message, me);
            }
        }
        self.complete_from = self.complete_from.max(message.seq + 1);
    }

    /// Returns true if the number of unread messages is known.
    pub(super) fn is_known(&self) -> bool {
        self.read.is_none() || self.is_complete() || self.counted.read == self.read
    }

    /// Returns the position of the marker and the numbers of messages after it.
    pub(super) fn count(&self, messages: &VecDeque<ReceivedMessage>, me: &User) -> Option<(u64, u64, u64)> {
        let read = self.read.filter(|_| self.is_known())?;
        let is_complete = self.is_complete();
        let mut counted = if is_complete { Counted { to: read, ..Counted::default() } } else { self.counted };
        let to = counted.to.max(read);
        messages.iter().rev().take_while(|message| message.seq > to).for_each(|message| {
            counted.add(message, me);
        });
        Some((read, counted.unread, counted.mentions))
    }

    /// Returns true if the view has all messages after the marker.
    fn is_complete(&self) -> bool {
        self.read.is_some_and(|read| read.saturating_add(1) >= self.complete_from)
    }
}
