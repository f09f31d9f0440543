//! The receipts of a room: how far its users have read.

use std::collections::BTreeMap;
use std::time::Duration;

use super::event::Audience;
use super::{Room, RoomEvent};
use crate::{Event, User, UserKey};

/// The least time between two events about one user.
const INTERVAL: Duration = Duration::from_secs(1);

/// The users about whom an event was sent in the last [`INTERVAL`]. A marker itself is in the log only.
#[derive(Debug, Default)]
pub(super) struct Receipts(BTreeMap<UserKey, Receipt>);

#[derive(Debug)]
struct Receipt {
    user: User,
    /// The newest position of the marker.
    seq: u64,
    /// The position in the last event.
    shown: u64,
    /// The earliest time of the next event.
    next: Duration,
}

impl Receipts {
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.0.values().map(|receipt| receipt.next).min()
    }

    /// Forgets all positions, because they are of an earlier epoch, or because no events are sent.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl<W> Room<W> {
    /// Records that a user of the room, on this node or another one, has moved the marker. The rules allow receipts.
    ///
    /// The other users get at most one event about a user per second, with the last position. A room that counts its
    /// users sends none, because n readers would cause n * n events. Users who only follow the room cause none.
    pub fn receipt(&mut self, now: Duration, epoch: &str, user: &User, seq: u64) {
        if self.occupancy.counts() || !self.roster.contains(user) || !self.is_of_epoch(epoch) {
            return;
        }
        let none = || Receipt { user: user.clone(), seq, shown: 0, next: now };
        let receipt = self.receipts.0.entry(user.key()).or_insert_with(none);
        receipt.seq = receipt.seq.max(seq);
        self.announce_receipts(now);
    }

    /// Sends the receipts that are due, and forgets the users who have read no further.
    pub(super) fn announce_receipts(&mut self, now: Duration) {
        if self.occupancy.counts() {
            self.receipts.clear();
        }
        let mut events = Vec::new();
        self.receipts.0.retain(|_, receipt| {
            if receipt.next > now {
                return true;
            }
            let has_news = receipt.seq > receipt.shown;
            if has_news {
                (receipt.shown, receipt.next) = (receipt.seq, now + INTERVAL);
                events.push((receipt.user.clone(), receipt.seq));
            }
            has_news
        });
        for (user, seq) in events {
            let audience = Audience::Others(user.key());
            let event = Event::Read { reference: None, room: self.name.clone(), user, seq };
            self.push(RoomEvent::notice(event.encode(), audience));
        }
    }
}
