use std::sync::Arc;
use std::time::Duration;

use async_nats::SubscribeError;
use chat_core::{Health, Limits, RoomName};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::life::{Life, is_import, token};
use crate::link::{Link, StreamInfo};
use crate::node::tend::{wait_for, wait_for_stream};
use crate::node::{Connection, Node, Peers, Purging, Shared};
use crate::room::{QuietLogs, SharedRoom};
use crate::shard::{Shard, index_of};
use crate::{OpenError, Options};

/// The time until the other servers of the chat know that this one leaves, and their last requests have come.
const LAST_ASKED: Duration = Duration::from_millis(50);

/// The time to answer what other servers have asked this one before it leaves.
const ANSWER_TIME: Duration = Duration::from_millis(400);

/// The time to send the subscriptions of a server.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The streams that are opened at the same time.
const MAX_OPENING: usize = 8;

/// A stream of the rooms that exists.
#[derive(Debug)]
pub(crate) struct OpenStream {
    pub(super) link: Link,
    pub(super) shard: Shard,
    /// The copies that it has.
    pub(super) copies: usize,
    pub(super) life: Life,
}

impl OpenStream {
    /// Opens a stream. Creates it if it does not exist.
    async fn open(link: Link, shard: Shard, replicas: usize) -> Result<Self, OpenError> {
        let stream = || link.stream.clone();
        let info = wait_for_stream(&link, shard, replicas).await;
        let info =
            info.map_err(|error| OpenError::NoStream { stream: stream(), cause: error.to_string() })?;
        Self::of(link, shard, &info)
    }

    /// Opens a stream for a task. It is not created.
    async fn find(link: Link, shard: Shard) -> Result<Self, OpenError> {
        let info = wait_for(|| link.info()).await;
        let no_stream = |cause: String| OpenError::NoStream { stream: link.stream.clone(), cause };
        let info = info.map_err(|error| no_stream(error.to_string()))?;
        let info = info.ok_or_else(|| OpenError::Missing(link.stream.clone()))?;
        Self::of(link, shard, &info)
    }

    /// Returns a stream that an import fills, or `None` if the stream is another one.
    pub(crate) fn of_import(link: Link, shard: Shard, info: &StreamInfo) -> Option<Self> {
        let is_own = Shard::of(&info.config.metadata) == Some(shard);
        let life = Life::of_import(info).filter(|_| is_own)?;
        Some(Self { copies: info.config.num_replicas, life, link, shard })
    }

    fn of(link: Link, shard: Shard, info: &StreamInfo) -> Result<Self, OpenError> {
        let stream = || link.stream.clone();
        if is_import(&info.config) {
            return Err(OpenError::Unfinished(stream()));
        }
        let (life, found) = (Life::of(info), Shard::of(&info.config.metadata));
        match (life, found) {
            (Some(life), Some(found)) if found == shard => {
                Ok(Self { copies: info.config.num_replicas, life, link, shard })
            }
            (Some(_), Some(found)) if found.number == shard.number => {
                Err(OpenError::OtherStreams { stream: stream(), found: found.count, wanted: shard.count })
            }
            _ => Err(OpenError::ForeignStream(stream())),
        }
    }
}

/// Opens the streams of a chat. Creates those that do not exist. The link is that of the first one.
pub(crate) async fn open_streams(link: &Link, options: &Options) -> Result<Vec<OpenStream>, OpenError> {
    each_stream(link, options, |link, shard| OpenStream::open(link, shard, options.replicas)).await
}

/// Opens the streams of a chat for a task. None is created. The link is that of the first one.
pub(crate) async fn find_streams(link: &Link, options: &Options) -> Result<Vec<OpenStream>, OpenError> {
    each_stream(link, options, OpenStream::find).await
}

async fn each_stream<F: Future<Output = Result<OpenStream, OpenError>>>(
    link: &Link,
    options: &Options,
    open: impl Fn(Link, Shard) -> F,
) -> Result<Vec<OpenStream>, OpenError> {
    let mut shards = Shard::all(options.streams);
    let open = |shard: Shard| open(link.to(shard.stream(&link.stream)), shard);
    let mut streams = Vec::new();
    // The first one decides about the number of streams, before another one is created.
    if let Some(first) = shards.next() {
        streams.push(open(first).await?);
    }
    let others: Vec<_> = stream::iter(shards.map(open)).buffered(MAX_OPENING).try_collect().await?;
    streams.extend(others);
    Ok(streams)
}

/// One server of the chat, in all streams of the rooms: at least one. A stream without a leader impairs only its own
/// rooms.
#[derive(Debug)]
pub(crate) struct Streams(Vec<Arc<Node>>);

impl Streams {
    /// Returns the server of this name in these streams.
    pub(crate) fn new(
        streams: Vec<OpenStream>,
        connection: Arc<Connection>,
        options: &Options,
        name: String,
    ) -> Self {
        let (limits, counters) = Default::default();
        let (peers, quiet) = (Arc::new(Peers::new(name)), Arc::new(QuietLogs::new(options.max_key_bytes)));
        let shared = Shared { connection, peers, quiet, purging: Purging::default(), limits, counters };
        Self(streams.into_iter().map(|stream| Arc::new(Node::new(stream, &shared, options))).collect())
    }

    /// Starts the tasks of the server. It returns when the subscriptions are sent, or the connection is lost.
    pub(crate) async fn start(&self) -> Result<JoinSet<()>, SubscribeError> {
        let mut tasks = JoinSet::new();
        for node in &self.0 {
            node.start(&mut tasks).await?;
        }
        // A lost connection repeats them on the next one, and the first questions repair what was missed.
        let _late = timeout(FLUSH_TIMEOUT, self.first().link.client.flush()).await;
        Ok(tasks)
    }

    /// Returns the server in the first stream.
    pub(crate) fn first(&self) -> &Arc<Node> {
        &self.0[0]
    }

    /// Returns the room of this name.
    pub(crate) fn room(&self, name: &RoomName, limits: &Arc<Limits>) -> Arc<SharedRoom> {
        self.first().set_limits(limits);
        self.node(&token(name)).room(name, limits)
    }

    /// Returns the server in the stream of the room with this token.
    pub(crate) fn node(&self, token: &str) -> &Arc<Node> {
        &self.0[index_of(token, self.0.len())]
    }

    /// Returns the server in each stream.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.0.iter()
    }

    /// Returns the health of the server: that in the worst stream. As long as the leader of one of them answers, the
    /// server is reachable: the fault is not on its side.
    pub(crate) fn health(&self) -> Health {
        worst(self.iter().map(|node| node.health()))
    }

    /// Tells the other servers of the chat that this one leaves, and answers what they have asked until they know.
    pub(crate) async fn leave(&self) {
        let first = self.first();
        first.leave().await;
        first.link.client.flush().await;
        sleep(LAST_ASKED).await;
        let answered = async {
            for node in self.iter() {
                node.answered_all().await;
            }
        };
        // A stream without a leader, or a purge, takes longer. The others repeat then.
        let _unanswered = timeout(ANSWER_TIME, answered).await;
    }
}

/// Returns the worst health of some streams. It is [`Health::Unreachable`] only if that of all is.
fn worst(states: impl Iterator<Item = Health>) -> Health {
    let (mut worst, mut is_over) = (Health::Ready, true);
    for state in states {
        is_over &= matches!(state, Health::Unreachable(_));
        let is_worse = match worst {
            Health::Ready => state != Health::Ready,
            Health::Degraded(_) => matches!(state, Health::Unreachable(_)),
            _ => false,
        };
        if is_worse {
            worst = state;
        }
    }
    match worst {
        Health::Unreachable(cause) if !is_over => Health::Degraded(cause),
        worst => worst,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_without_a_leader_impairs_the_server_and_all_of_them_make_it_unreachable() {
        let (degraded, unreachable) = (
            |name: &str| Health::Degraded(name.to_owned()),
            |name: &str| Health::Unreachable(name.to_owned()),
        );
        for (states, expected) in [
            (vec![Health::Ready, Health::Ready], Health::Ready),
            (vec![Health::Ready, degraded("2"), degraded("3")], degraded("2")),
            (vec![Health::Ready, degraded("2"), unreachable("3")], degraded("3")),
            (vec![degraded("1"), unreachable("2")], degraded("2")),
            (vec![unreachable("1"), unreachable("2")], unreachable("1")),
        ] {
            assert_eq!(worst(states.clone().into_iter()), expected, "{states:?}");
        }
    }
}
