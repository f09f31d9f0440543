use std::sync::Arc;
use std::time::Duration;

use chat_core::Unavailable;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::time::{Instant, sleep};

use crate::life::{Life, Subject, new_stream, random_number, with_new_epoch};
use crate::link::{From, Link, LinkError, StreamInfo};
use crate::node::Node;
use crate::node::heard::HeardStates;
use crate::room::SharedRoom;
use crate::shard::Shard;
use crate::stats::count;

/// The messages of the stream that are read after a loss of notices. After a longer one, each open room asks.
const MAX_READ: u64 = 4_096;

/// The rooms that ask the leader at the same time.
const MAX_ASKING: usize = 32;

/// The time for servers that have just started to provide the stream, and the pause between two questions.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
const OPEN_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause before a node gives a stream a new epoch, in milliseconds. The first one of all nodes does it.
const MAX_EPOCH_PAUSE: u64 = 500;

/// The time in which notices that are on their way arrive.
const NOTICE_TIME: Duration = Duration::from_millis(50);

impl Node {
    /// Compares what this node knows with what the leader of the stream says, and repairs what it has missed.
    pub(super) async fn tend(&self) -> Result<(), Unavailable> {
        let life = self.life();
        let highest = life.highest();
        let info = find_or_create(&self.link, self.shard, self.replicas).await?;
        *self.answered.lock() = Instant::now();
        *self.leader_time.lock() = info.time().map(|time| (time, Instant::now()));
        if let Some(time) = info.time() {
            self.compare_clocks(time);
        }
        let found = self.life_of(&info)?;
        let is_before = found.is_before(&life);
        if found.differs(&life) && !is_before {
            tracing::error!(stream = %self.link.stream, "stream was made again; rooms start new epochs");
            self.renew(found);
        } else if is_before
            || life.is_lost()
            || (info.state.last_seq < highest && self.is_behind(&life, highest).await?)
        {
            tracing::error!(stream = %self.link.stream, highest, "stream has lost its end; rooms start new epochs");
            let renewed = self.begin_epoch(&life).await?;
            self.renew(renewed);
        } else {
            self.repair(&life, info.state.last_seq).await?;
        }
        Ok(())
    }

    /// Lets each open room begin the new epoch, and look at what it has missed. A room that fails holds up no other
    /// one.
    pub(super) async fn tend_rooms(&self) -> Result<(), Unavailable> {
        let tend = |room: Arc<SharedRoom>| async move {
            room.finish_renewal().await?;
            room.resume_purges();
            room.look_if_missed().await
        };
        self.for_each_room(tend).await
    }

    /// Gives the stream an epoch that follows a life, unless another node has done so. Returns the life of the stream
    /// then. All nodes notice a loss at the same time, and clients read their rooms again for each epoch.
    async fn begin_epoch(&self, life: &Life) -> Result<Life, Unavailable> {
        sleep(Duration::from_millis(random_number() % MAX_EPOCH_PAUSE)).await;
        let info = find_or_create(&self.link, self.shard, self.replicas).await?;
        let found = self.life_of(&info)?;
        if found.differs(life) && !found.is_before(life) {
            return Ok(found);
        }
        self.link.update(&with_new_epoch(info.config, life)).await?;
        let info = find_or_create(&self.link, self.shard, self.replicas).await?;
        self.life_of(&info)
    }

    /// Returns true if the stream has this life.
    pub(crate) async fn is_current(&self, life: &Life) -> Result<bool, LinkError> {
        let info = self.link.info().await?;
        Ok(info.and_then(|info| Life::of(&info)).is_some_and(|found| !found.differs(life)))
    }

    fn life_of(&self, info: &StreamInfo) -> Result<Life, Unavailable> {
        let is_own = Shard::of(&info.config.metadata) == Some(self.shard);
        Life::of(info).filter(|_| is_own).ok_or_else(|| {
            let stream = &self.link.stream;
            Unavailable::new(format!("the stream {stream} is not one of this chat and of this version"))
        })
    }

    /// Returns true if the stream gives out a place that it has given out before. Only a majority of the servers can
    /// store a message, so a server that is not the leader any more cannot answer.
    async fn is_behind(&self, life: &Life, highest: u64) -> Result<bool, LinkError> {
        Ok(self.link.probe(&life.probe()).await? <= highest)
    }

    fn renew(&self, life: Life) {
        count(&self.counters.new_epochs, 1);
        let life = Arc::new(life);
        *self.life.lock() = Arc::clone(&life);
        for room in self.open_rooms() {
            room.begin_renewal(&life);
        }
    }

    /// Reads the messages up to this place of which the node has not heard.
    async fn repair(&self, life: &Arc<Life>, last: u64) -> Result<(), Unavailable> {
        if last > life.heard() {
            sleep(NOTICE_TIME).await;
        }
        let heard = life.heard();
        if last <= heard {
            return Ok(());
        }
        if last - heard > MAX_READ {
            // A writer asks the leader after a lost connection. Otherwise the place that it expects is wrong, and its
            // append is refused.
            self.open_rooms().iter().for_each(|room| room.miss());
            life.catch_up(last);
            return Ok(());
        }
        let mut heard = HeardStates::default();
        loop {
            let batch = self.link.batch(&life.all(), From::Place(life.heard() + 1), 256).await?;
            count(&self.counters.missed, batch.messages.len());
            for message in batch.messages {
                let (place, payload) = (message.place, message.payload);
                match life.read(&message.subject) {
                    Some(Subject::State { room, seq }) => heard.add(place, room, seq, payload),
                    Some(Subject::Record { room }) => {
                        let states = heard.take(place, room);
                        if let Some(room) = self.open_room(room) {
                            match room.record(&message.subject, place, payload).await {
                                Ok(Ok(record)) => room.hear(life, &record, &states),
                                Ok(Err(_)) => {}
                                // The others do not wait until it can be read: this room looks again later.
                                Err(_) => room.miss(),
                            }
                        }
                    }
                    // The record may be one of those that are missed, and its deletions are reported then. So are those
                    // of a room that looks again.
                    Some(Subject::Copy { room }) => {
                        if let Some(room) = self.open_room(room).filter(|room| !room.has_missed()) {
                            let reported = match room.record(&message.subject, place, payload).await {
                                Ok(Ok(copy)) => room.report_erased(life, copy.targets(), place).await,
                                Ok(Err(_)) => Ok(()),
                                Err(unavailable) => Err(unavailable),
                            };
                            if reported.is_err() {
                                room.miss();
                            }
                        }
                    }
                    _ => {}
                }
                life.catch_up(place);
            }
            // A server that is behind has the rest at the next time.
            if !batch.more || life.heard() >= last {
                return Ok(());
            }
        }
    }

    /// Does this for all open rooms. Returns the first error after all rooms were tried.
    async fn for_each_room<F: Future<Output = Result<(), Unavailable>>>(
        &self,
        act: impl Fn(Arc<SharedRoom>) -> F,
    ) -> Result<(), Unavailable> {
        let rooms = stream::iter(self.open_rooms());
        let mut results = rooms.map(act).buffer_unordered(MAX_ASKING);
        let mut first = Ok(());
        while let Some(result) = results.next().await {
            first = first.and(result);
        }
        first
    }
}

/// Returns the stream. Creates it if it does not exist. Waits while the servers elect their leaders, or create the
/// stream for another node.
pub(super) async fn wait_for_stream(
    link: &Link,
    shard: Shard,
    replicas: usize,
) -> Result<StreamInfo, LinkError> {
    wait_for(|| find_or_create(link, shard, replicas)).await
}

/// Asks servers that may have just started, until they answer.
pub(crate) async fn wait_for<T, F: Future<Output = Result<T, LinkError>>>(
    ask: impl Fn() -> F,
) -> Result<T, LinkError> {
    let until = Instant::now() + OPEN_TIMEOUT;
    loop {
        match ask().await {
            Err(error) if error.is_temporary() && Instant::now() < until => sleep(OPEN_PAUSE).await,
            result => return result,
        }
    }
}

/// Returns the stream. Creates it if it does not exist.
async fn find_or_create(link: &Link, shard: Shard, replicas: usize) -> Result<StreamInfo, LinkError> {
    if let Some(info) = link.info().await? {
        return Ok(info);
    }
    tracing::warn!(stream = %link.stream, replicas, "stream does not exist; it is created");
    link.create(&new_stream(&link.stream, shard, replicas)).await?;
    link.info().await?.ok_or_else(|| LinkError::NoResponders(link.stream.clone()))
}
