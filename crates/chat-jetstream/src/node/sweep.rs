//! Retention by age: the records that are too old are at the beginning of the stream, whatever their rooms are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chat_core::Unavailable;
use tokio::time::sleep;

use crate::life::{Life, Subject};
use crate::link::From;
use crate::node::{MAX_AHEAD, Node};
use crate::record::Record;
use crate::room::{Due, unix_millis};
use crate::stats::count;

/// The time in which a node that has started hears of the others.
const LISTEN: Duration = Duration::from_secs(3);

/// The part of the age by which a message may outlive it, and the bounds of that time.
const PART: u32 = 100;
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60 * 60));

/// The records that are read in one request, and before rooms are changed.
const BATCH: usize = 256;
const STEP: usize = if cfg!(test) { 256 } else { 65_536 };

/// The rooms whose ends are read in one request.
const ENDS: usize = 512;

/// The pause after each room, so that a sweep leaves the servers to others.
const ROOM_PAUSE: Duration = Duration::from_millis(10);

/// The time in which pages that began before the oldest position has moved are read.
const GRACE: Duration = Duration::from_secs(2);

/// The rooms that the next walk tries again, at most. It finds the others again, because it begins at their records.
const MAX_FAILED: usize = if cfg!(test) { 4 } else { 1_024 };

/// A repeated way along the stream, from its beginning to the first record that is young enough.
#[derive(Debug)]
struct Walk {
    age: Duration,
    /// True if the records are removed from the stream, and not only hidden.
    removes: bool,
    /// The time for which keys are remembered.
    keys: Duration,
    /// The life in which the places count.
    life: Option<Arc<Life>>,
    /// The place at which the next walk begins. The records before it are removed, or are the ends of their rooms.
    from: u64,
    /// The rooms that could not be changed, by their tokens.
    failed: DueRooms,
    /// The lowest place of the rooms that could not be changed either, and for which there was no memory.
    dropped: Option<u64>,
    /// True if some room could not be changed by the last walk.
    has_failed: bool,
}

/// The rooms with records that are too old, by their tokens.
type DueRooms = BTreeMap<String, Due>;

impl Node {
    /// Removes messages of this age, regularly. Of all nodes, one does it for a stream.
    pub(super) async fn remove_old(self: Arc<Self>, age: Duration) {
        let pause = (age / PART).clamp(PAUSES.0, PAUSES.1);
        sleep(LISTEN).await;
        let mut walks = Vec::new();
        loop {
            if let Some(limits) = self.limits()
                && walks.is_empty()
            {
                walks = Walk::all(age, limits.rooms.key_window);
            }
            for walk in &mut walks {
                let result = walk.go(&self).await;
                let did_fail = std::mem::replace(&mut walk.has_failed, result.is_err());
                if let Err(error) = &result
                    && !did_fail
                {
                    tracing::warn!(%error, stream = %self.link.stream, "old messages not removed; it is tried again");
                }
            }
            sleep(pause).await;
        }
    }

    /// Returns true if this node is the one, of those with an age, that removes old messages. While a node of an
    /// earlier version is there, which cannot read the ends of such rooms, none does.
    fn is_sweeper(&self) -> bool {
        self.peers.all_read_trims() && self.peers.sweeper_of(&self.link.stream).is_none()
    }

    /// Returns the time by which ages are measured: the earlier one of the clocks of this node and of the leader of the
    /// stream. `None` before the leader has answered.
    fn safe_time(&self) -> Option<u64> {
        Some(self.leader_now()?.min(unix_millis()))
    }
}

impl Walk {
    /// Returns the walks for this age. Keys stay in the stream for their time, so a message that is younger is hidden
    /// first, and removed later.
    fn all(age: Duration, key_window: Duration) -> Vec<Self> {
        let keys = key_window.saturating_add(key_window.min(MAX_AHEAD));
        let walk = |age, removes| {
            let (life, from, failed, dropped, has_failed) = (None, 1, DueRooms::new(), None, false);
            Self { age, removes, keys, life, from, failed, dropped, has_failed }
        };
        if age >= keys { vec![walk(age, true)] } else { vec![walk(age, false), walk(keys, true)] }
    }

    /// Walks to the first record that is young enough. A room that could not be changed is tried again by the next
    /// walk, so that it does not delay the others.
    async fn go(&mut self, node: &Arc<Node>) -> Result<(), Unavailable> {
        let life = node.life();
        if self.life.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &life)) {
            (self.from, self.failed) = (1, DueRooms::new());
            self.life = Some(Arc::clone(&life));
        }
        let result = self.go_on(node, &life).await;
        if let Some(dropped) = self.dropped.take() {
            self.from = self.from.min(dropped);
        }
        result
    }

    async fn go_on(&mut self, node: &Arc<Node>, life: &Arc<Life>) -> Result<(), Unavailable> {
        let (mut is_first, mut result) = (true, Ok(()));
        loop {
            let Some(now) = node.safe_time().filter(|_| node.is_sweeper()) else { return result };
            let before =
                |time: Duration| u64::try_from(time.as_millis()).ok().and_then(|time| now.checked_sub(time));
            let Some(time) = before(self.age) else { return result };
            // All keys count if they are remembered for longer than the clock goes back.
            let keys = before(self.keys).unwrap_or_default();
            let (mut due, next, is_over) = self.read(node, life, time).await?;
            if std::mem::take(&mut is_first) {
                for (token, failed) in std::mem::take(&mut self.failed) {
                    due.entry(token).or_insert(failed);
                }
            }
            result = self.change(node, life, due, keys).await.and(result);
            self.from = next;
            // The places are those of this life.
            if is_over || !Arc::ptr_eq(life, &node.life()) {
                return result;
            }
        }
    }

    /// Reads the next records that were stored before a time. Returns their rooms, the place after them, and true if
    /// there are no further ones.
    async fn read(&self, node: &Node, life: &Life, time: u64) -> Result<(DueRooms, u64, bool), Unavailable> {
        let (mut due, mut trims, mut next, mut count) = (DueRooms::new(), DueRooms::new(), self.from, 0);
        let mut is_over = false;
        while count < STEP && !is_over {
            let batch = node.link.batch(&life.subject("*"), From::Place(next), BATCH).await?;
            for stored in batch.messages {
                // The time in the stream is that of one clock. One without a time stays.
                is_over = stored.at.is_none_or(|at| at > time);
                if is_over {
                    break;
                }
                (next, count) = (stored.place + 1, count + 1);
                let Some(Subject::Record { room }) = life.read(&stored.subject) else { continue };
                // The entries of one that is damaged are before those of the next one of the room.
                let Ok(record) = Record::decode(stored.place, stored.payload) else { continue };
                if let Some(name) = record.room() {
                    let rooms = if record.trim.is_some() { &mut trims } else { &mut due };
                    rooms.insert(room.to_owned(), Due { name, place: record.place, last: record.last() });
                }
            }
            is_over |= !batch.more;
        }
        add_followed(node, life, &mut due, trims).await?;
        Ok((due, next, is_over))
    }

    /// Hides the old entries of some rooms, and removes their records. Those of which it fails are tried again.
    async fn change(
        &mut self,
        node: &Arc<Node>,
        life: &Arc<Life>,
        due: DueRooms,
        keys: u64,
    ) -> Result<(), Unavailable> {
        let Some(limits) = node.limits() else { return Ok(()) };
        let (mut result, mut hidden) = (Ok(()), Vec::new());
        for (token, due) in due {
            if !node.is_sweeper() {
                self.fail(token, due);
                continue;
            }
            match node.room(&due.name, limits).hide(life, &due).await {
                Ok(entries) => {
                    count(&node.counters.expired, entries);
                    hidden.push((token, due));
                }
                Err(error) => {
                    self.fail(token, due);
                    result = Err(error);
                }
            }
            sleep(ROOM_PAUSE).await;
        }
        if !self.removes || hidden.is_empty() {
            return result;
        }
        sleep(GRACE).await;
        for (token, due) in hidden {
            match node.room(&due.name, limits).forget(life, &due, keys).await {
                Ok(records) => count(&node.counters.removed, records),
                Err(error) => {
                    self.fail(token, due);
                    result = Err(error);
                }
            }
            sleep(ROOM_PAUSE).await;
        }
        result
    }

    fn fail(&mut self, token: String, due: Due) {
        if self.failed.len() < MAX_FAILED {
            self.failed.insert(token, due);
        } else {
            self.dropped = Some(self.dropped.map_or(due.place, |dropped| dropped.min(due.place)));
        }
    }
}

/// Adds those of some trims that are followed by other records of their rooms. The others are the ends of rooms without
/// messages, which stay.
async fn add_followed(
    node: &Node,
    life: &Life,
    due: &mut DueRooms,
    mut trims: DueRooms,
) -> Result<(), Unavailable> {
    trims.retain(|token, trim| due.get(token).is_none_or(|due| due.place < trim.place));
    let tokens: Vec<_> = trims.keys().map(|token| life.subject(token)).collect();
    for subjects in tokens.chunks(ENDS) {
        // Those of a copy that is behind are added by a later walk of another node.
        let ends = node.link.last_of(subjects.to_vec(), &life.probe(), 0).await?;
        for end in ends.into_iter().flatten() {
            if let Some(Subject::Record { room }) = life.read(&end.subject)
                && let Some(trim) = trims.remove(room).filter(|trim| trim.place < end.place)
            {
                due.insert(room.to_owned(), trim);
            }
        }
    }
    Ok(())
}
