//! The rooms without messages that users are in, and the rooms that they create with a first message.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chat_proto::{Bucket, Rate, RoomLimits};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::room::{LiveRoom, Rooms};
use crate::{RoomName, User, UserKey};

/// The rate of new rooms counts hours, where a [`Rate`] counts seconds.
const HOUR: u32 = 60 * 60;

/// Users whose rates are kept before those that are full are dropped.
const MIN_PRUNED: usize = 1_024;

/// The rooms without messages, by the users who are in them. Such a room costs memory and has nothing to lose, so a
/// user has a limited number of them.
#[derive(Debug)]
pub(super) struct BlankRooms {
    max: usize,
    created: Rate,
    started: Instant,
    // No other lock is taken while one of these is held.
    users: Mutex<HashMap<UserKey, HashMap<RoomName, Blank>>>,
    rates: Mutex<Rates>,
}

#[derive(Debug)]
struct Rates {
    buckets: HashMap<UserKey, Bucket>,
    /// The number of buckets at which those that are full are dropped.
    prune_at: usize,
}

#[derive(Debug)]
struct Blank {
    has_messages: Arc<AtomicBool>,
    /// The connections of the user in the room.
    connections: usize,
}

/// The place of one connection in a room without messages. Dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct BlankSeat {
    rooms: Arc<Rooms>,
    user: UserKey,
    room: RoomName,
}

/// An error of a user who is in too many rooms without messages.
#[derive(Debug)]
pub(crate) struct TooManyBlank;

impl BlankRooms {
    pub(super) fn new(limits: &RoomLimits) -> Self {
        let (rate, started) = (limits.max_created_per_hour, Instant::now());
        let rates = Rates { buckets: HashMap::new(), prune_at: MIN_PRUNED };
        let (users, rates) = (Mutex::default(), Mutex::new(rates));
        Self { max: limits.max_blank_per_user, created: Rate::new(rate, rate), started, users, rates }
    }

    /// Takes the tokens of a first message from a user.
    fn create(&self, user: UserKey) -> Result<(), Duration> {
        if self.created.is_unlimited() {
            return Ok(());
        }
        let now = self.started.elapsed() / HOUR;
        let mut rates = self.rates.lock();
        if rates.buckets.len() >= rates.prune_at {
            rates.buckets.retain(|_, bucket| !bucket.is_full(now));
            rates.prune_at = (rates.buckets.len() * 2).max(MIN_PRUNED);
        }
        let taken = rates.buckets.entry(user).or_default().take(self.created, now, 1);
        taken.map_err(|wait| wait * HOUR)
    }
}

impl Rooms {
    /// Takes a place for a user who is about to enter a room. A room with messages needs none.
    pub(crate) fn take_seat(
        self: &Arc<Self>,
        user: UserKey,
        room: &LiveRoom,
    ) -> Result<Option<BlankSeat>, TooManyBlank> {
        let (max, has_messages) = (self.blank.max, room.has_messages());
        if max == 0 || has_messages.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let mut users = self.blank.users.lock();
        let rooms = users.entry(user.clone()).or_default();
        let is_new = !rooms.contains_key(room.name());
        if is_new && rooms.len() >= max {
            rooms.retain(|_, blank| !blank.has_messages.load(Ordering::Relaxed));
            if rooms.len() >= max {
                return Err(TooManyBlank);
            }
        }
        let none = || Blank { has_messages: Arc::clone(has_messages), connections: 0 };
        rooms.entry(room.name().clone()).or_insert_with(none).connections += 1;
        drop(users);
        Ok(Some(BlankSeat { rooms: Arc::clone(self), user, room: room.name().clone() }))
    }

    /// Takes a token from a user who sends the first message of a room.
    ///
    /// # Errors
    ///
    /// The time until the user may create another room.
    pub(crate) fn may_create(&self, user: &User, room: &LiveRoom) -> Result<(), Duration> {
        if room.has_messages().load(Ordering::Relaxed) { Ok(()) } else { self.blank.create(user.key()) }
    }
}

impl Drop for BlankSeat {
    fn drop(&mut self) {
        let mut users = self.rooms.blank.users.lock();
        let Some(rooms) = users.get_mut(&self.user) else { return };
        if let Entry::Occupied(mut blank) = rooms.entry(self.room.clone()) {
            blank.get_mut().connections -= 1;
            if blank.get().connections == 0 {
                blank.remove();
            }
        }
        if rooms.is_empty() {
            users.remove(&self.user);
        }
    }
}
