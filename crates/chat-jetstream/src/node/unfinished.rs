//! The search for rooms that nobody has open, with purges or erasures that a node has begun and not completed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chat_core::{Limits, RoomName, Unavailable};
use tokio::time::{Instant, sleep};

use crate::life::random_number;
use crate::node::Node;
use crate::record::Record;

/// The interval at which the node looks which other nodes are there.
const TICK: Duration = Duration::from_secs(5);

/// The time after the start, or after another node is gone, after which the node searches. Some milliseconds below the
/// second value are added to it: the listing of many rooms costs the leader of the stream some time.
const DELAY: (Duration, u64) = (Duration::from_secs(5), 20_000);

/// The time after which the node searches again, whatever has happened.
const INTERVAL: Duration = Duration::from_secs(60 * 60);

/// The rooms that are looked at in one request, and the pause after it.
const ROOMS: usize = 64;
const PAUSE: Duration = Duration::from_millis(50);

/// The time for which a room is kept open. What it does not suffice for is continued after the next search.
const MAX_OPEN: Duration = Duration::from_secs(60);

/// The pause between two looks at a room that is kept open.
const LOOK: Duration = Duration::from_millis(100);

impl Node {
    /// Completes what other nodes have left, once this node takes part in the cluster.
    pub(super) async fn complete_rooms(self: Arc<Self>) {
        let (mut known, mut due) = (BTreeSet::new(), None);
        loop {
            sleep(TICK).await;
            let Some(limits) = self.limits().cloned() else { continue };
            let alive = self.peers.alive();
            if due.is_none() || !known.is_subset(&alive) {
                due = Some(Instant::now() + DELAY.0 + Duration::from_millis(random_number() % DELAY.1));
            }
            known = alive;
            if due.is_some_and(|due| Instant::now() >= due) {
                // A failure is one of the servers, and all is tried again later.
                let is_complete = self.search(&limits).await.is_ok();
                due = is_complete.then(|| Instant::now() + INTERVAL);
            }
        }
    }

    /// Looks at the ends of the rooms for which this node is asked, and completes what they name.
    async fn search(self: &Arc<Self>, limits: &Arc<Limits>) -> Result<(), Unavailable> {
        let mut subjects = self.link.subjects(&self.life().subject("*")).await?;
        let is_own = |subject: &String| {
            subject.rsplit('.').next().is_some_and(|token| self.peers.of_room(token).is_none())
        };
        subjects.retain(is_own);
        for subjects in subjects.chunks(ROOMS) {
            sleep(PAUSE).await;
            // A copy that is a moment behind has what was left before this search was due.
            let ends = self.link.last_of(subjects.to_vec(), &subjects[0], 0).await?.unwrap_or_default();
            for end in ends {
                let Ok(end) = Record::decode(end.place, end.payload) else { continue };
                if let Some(name) = end.room()
                    && !(end.erasing.is_empty() && end.purges.is_empty())
                {
                    self.complete(&name, limits).await;
                }
            }
        }
        Ok(())
    }

    /// Completes what a room names, or begins to.
    async fn complete(self: &Arc<Self>, name: &RoomName, limits: &Arc<Limits>) {
        // The erasure ends if nobody has the room open.
        let room = self.room(name, limits);
        let until = Instant::now() + MAX_OPEN;
        if room.look().await.is_err() {
            return;
        }
        while room.has_unfinished() && Instant::now() < until {
            room.resume_erasure(Duration::ZERO);
            room.resume_purges();
            sleep(LOOK).await;
        }
    }
}
