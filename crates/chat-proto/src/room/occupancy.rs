//! The number of users in a room that has too many of them for an event about each.

use std::time::Duration;

use bytes::Bytes;

use super::missed::MissedPresence;
use super::{Member, Room, RoomEvent};
use crate::{Event, PresenceMode};

/// The least time between two `occupancy` events.
const INTERVAL: Duration = Duration::from_secs(1);

/// The way in which a room announces its users, and the next `occupancy` event.
///
/// A room starts to count at once when it has more users than the threshold. It announces each user again when an
/// `occupancy` event is due and at most 90 % of the threshold are left. So a room near the threshold does not switch
/// with each user.
#[derive(Debug)]
pub(super) struct Occupancy {
    threshold: usize,
    presence: PresenceMode,
    /// True if the users have changed since the last event.
    is_pending: bool,
    /// The earliest time of the next event.
    next: Duration,
    /// The last event: its position in the tail, and its frame.
    last: Option<(u64, Bytes)>,
    /// The number of times that the room has started to count.
    starts: u64,
}

impl Occupancy {
    pub(super) fn new(threshold: usize) -> Self {
        let presence = PresenceMode::Each;
        Self { threshold, presence, is_pending: false, next: Duration::ZERO, last: None, starts: 0 }
    }

    pub(super) fn counts(&self) -> bool {
        self.presence == PresenceMode::Count
    }

    pub(super) fn starts(&self) -> u64 {
        self.starts
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        self.is_pending.then_some(self.next)
    }

    /// Takes this number of users in a room without members. No event is needed.
    fn settle(&mut self, users: usize) {
        (self.is_pending, self.last) = (false, None);
        if users > self.threshold {
            self.presence = PresenceMode::Count;
        } else if self.is_low(users) {
            self.presence = PresenceMode::Each;
        }
    }

    /// Returns true for at most 90 % of the threshold.
    fn is_low(&self, users: usize) -> bool {
        users <= self.threshold - self.threshold.div_ceil(10)
    }
}

impl<W> Room<W> {
    /// Returns the way in which the room announces its users.
    pub fn presence(&self) -> PresenceMode {
        self.occupancy.presence
    }

    /// Records that the users have changed. Returns true if the room counts them, so that no event about one user is
    /// sent.
    pub(super) fn count_users(&mut self) -> bool {
        let users = self.roster.len();
        if self.members.is_empty() {
            self.settle_users();
            return self.occupancy.counts();
        }
        if !self.occupancy.counts() && users > self.occupancy.threshold {
            self.occupancy.presence = PresenceMode::Count;
            self.occupancy.starts += 1;
            // The number of users replaces the changes that members have not taken.
            self.missed = MissedPresence::default();
            self.typing.end_all();
        }
        self.occupancy.is_pending |= self.occupancy.counts();
        self.occupancy.counts()
    }

    /// Chooses the way in which a room without members announces its users.
    pub(super) fn settle_users(&mut self) {
        self.occupancy.settle(self.roster.len());
        if self.occupancy.counts() {
            self.typing.end_all();
        }
    }

    /// Sends the `occupancy` event, if it is due.
    pub(super) fn announce_occupancy(&mut self, now: Duration) {
        if self.occupancy.deadline().is_none_or(|due| due > now) {
            return;
        }
        let members = self.roster.len();
        if self.occupancy.is_low(members) {
            self.occupancy.presence = PresenceMode::Each;
        }
        let event = Event::Occupancy { room: self.name.clone(), members, presence: self.occupancy.presence };
        let frame = event.encode();
        (self.occupancy.is_pending, self.occupancy.next) = (false, now + INTERVAL);
        self.occupancy.last = Some((self.tail.end(), frame.clone()));
        self.push(RoomEvent::presence(frame));
    }

    /// Gives a member that is behind the tail the last `occupancy` event, if the tail has dropped it. All changes of
    /// presence that it has not taken are newer.
    pub(super) fn collect_occupancy(&self, member: &mut Member) {
        if member.starts != self.occupancy.starts {
            member.starts = self.occupancy.starts;
            member.forget_presence();
        }
        let (position, start) = (member.cursor.position, self.tail.start());
        if let Some((last, frame)) = &self.occupancy.last
            && (position..start).contains(last)
        {
            member.miss_occupancy(frame.clone());
        }
    }
}
