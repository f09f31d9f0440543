//! The search for rooms that nobody has open, with purges or erasures that a node has begun and not completed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chat_core::{Limits, RoomName, Unavailable};
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep};

use crate::life::random_number;
use crate::link::Stored;
use crate::node::Node;
use crate::record::Record;

/// The interval at which the node looks which other nodes are there.
const TICK: Duration = Duration::from_secs(5);

/// The time after the start, or after another node is gone, after which the node searches. Some milliseconds below the
/// second value are added to it: the listing of many rooms costs the leader of the stream some time.
const DELAY: (Duration, u64) = (Duration::from_secs(5), 20_000);

/// The time after which the node searches again, whatever has happened, and if a room could not be completed.
const INTERVAL: Duration = Duration::from_secs(60 * 60);
const LEFT_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// The rooms that are looked at in one request, and the pause after it.
const ROOMS: usize = 64;
const PAUSE: Duration = Duration::from_millis(50);

/// The questions to copies that are behind, and the pause before each further one.
const QUESTIONS: usize = 5;
const BEHIND_PAUSE: Duration = Duration::from_millis(500);

/// The rooms that are completed at the same time.
const TOGETHER: usize = 8;

/// The time for which a room is kept open, and that without progress. What it does not suffice for is continued after
/// the next search. A purge whose node makes no progress is taken over after 15 s.
const MAX_OPEN: Duration = Duration::from_secs(60);
const MAX_STILL: Duration = Duration::from_secs(20);

/// The pause between two looks at a room that is kept open.
const LOOK: Duration = Duration::from_millis(100);

impl Node {
    /// Completes what other nodes have left, once this node takes part in the cluster.
    pub(super) async fn complete_rooms(self: Arc<Self>) {
        let (mut known, mut due, mut failures) = (BTreeSet::new(), None, 0);
        loop {
            sleep(TICK).await;
            let Some(limits) = self.limits().cloned() else { continue };
            let alive = self.peers.alive();
            if due.is_none() || !known.is_subset(&alive) {
                due = Some(Instant::now() + delay(0));
            }
            known = alive;
            if due.is_some_and(|due| Instant::now() >= due) {
                // A failure is one of the servers, and all is tried again later.
                let pause;
                (pause, failures) = match self.search(&limits).await {
                    Ok(true) => (INTERVAL, 0),
                    Ok(false) => (LEFT_INTERVAL, 0),
                    Err(_) => (delay(failures), failures.saturating_add(1)),
                };
                due = Some(Instant::now() + pause);
            }
        }
    }

    /// Looks at the ends of the rooms for which this node is asked, and completes what they name. Returns true if that
    /// is complete.
    async fn search(self: &Arc<Self>, limits: &Arc<Limits>) -> Result<bool, Unavailable> {
        // A copy that has this place has what was left before this search was due.
        let least = self.life().highest();
        let mut subjects = self.link.subjects(&self.life().subject("*")).await?;
        let is_own = |subject: &String| {
            subject.rsplit('.').next().is_some_and(|token| self.peers.of_room(token).is_none())
        };
        subjects.retain(is_own);
        let mut result = Ok(true);
        for subjects in subjects.chunks(ROOMS) {
            sleep(PAUSE).await;
            // The others are not kept waiting, and the next search begins soon.
            let Some(ends) = self.ends(subjects, least).await? else {
                result = Err(Unavailable::new("the copies of the stream are behind"));
                continue;
            };
            let ends = ends.into_iter().filter_map(|end| Record::decode(end.place, end.payload).ok());
            let names = ends.filter(|end| !(end.erasing.is_empty() && end.purges.is_empty()));
            let names: Vec<_> = names.filter_map(|end| end.room()).collect();
            let completing: Vec<_> = names.iter().map(|name| self.complete(name, limits)).collect();
            let completing = stream::iter(completing).buffer_unordered(TOGETHER);
            let are_complete: Vec<_> = completing.collect().await;
            result = result.map(|all| all && are_complete.into_iter().all(|is_complete| is_complete));
        }
        result
    }

    /// Reads the ends of some rooms. `None` if all copies of the stream that were asked are behind a place.
    async fn ends(&self, subjects: &[String], least: u64) -> Result<Option<Vec<Stored>>, Unavailable> {
        let probe = self.life().probe();
        for question in 0..QUESTIONS {
            if question > 0 {
                sleep(BEHIND_PAUSE).await;
            }
            if let Some(ends) = self.link.last_of(subjects.to_vec(), &probe, least).await? {
                return Ok(Some(ends));
            }
        }
        Ok(None)
    }

    /// Completes what a room names, or begins to. Returns true if it is complete.
    async fn complete(self: &Arc<Self>, name: &RoomName, limits: &Arc<Limits>) -> bool {
        // The erasure ends if nobody has the room open.
        let room = self.room(name, limits);
        if room.look().await.is_err() {
            return false;
        }
        let (begun, mut left, mut changed) = (Instant::now(), room.unfinished(), Instant::now());
        while left.is_some() && begun.elapsed() < MAX_OPEN && changed.elapsed() < MAX_STILL {
            room.resume_erasure(Duration::ZERO);
            room.resume_purges();
            sleep(LOOK).await;
            let now = room.unfinished();
            if now != left {
                (left, changed) = (now, Instant::now());
            }
        }
        left.is_none()
    }
}

/// Returns the time before a search. After failures it is longer: the listing of very many rooms may take the servers
/// too long, each time.
fn delay(failures: u32) -> Duration {
    let (least, further) = DELAY;
    let delay = least + Duration::from_millis(random_number() % further);
    delay.saturating_mul(2_u32.saturating_pow(failures)).min(LEFT_INTERVAL)
}
