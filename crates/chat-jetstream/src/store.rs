#[cfg(feature = "search-index")]
use std::fs::DirBuilder;
#[cfg(feature = "search-index")]
use std::os::unix::fs::DirBuilderExt;
#[cfg(feature = "search-index")]
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{
    Act, AppendError, AppendReceipt, ChangeError, ChangeReceipt, CommitSink, Health, Limits, LogBounds,
    Marked, MarkerError, NewAct, NewChange, NewMessage, Page, Range, Room, RoomName, RoomRules, Search,
    SearchError, SearchPage, Standing, Store, ThreadError, Unavailable, Unread, UserKey,
};
use parking_lot::Mutex;
use tokio::sync::{RwLock, RwLockReadGuard};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::high_water::HighWaterMarks;
use crate::life::{is_chat_name, random_number};
use crate::link::{Client, Link};
#[cfg(feature = "search-index")]
use crate::node::Node;
use crate::node::{Asked, ClaimedName, Connection, Streams, open_streams};
use crate::room::{Receipt, SharedRoom, Work, as_append};
#[cfg(feature = "search-index")]
use crate::search::SearchIndex;
use crate::shard::MAX_STREAMS;
use crate::stats::count;
use crate::users::Users;
use crate::{OpenError, Options, Stats, StreamStatus};

/// The time for the last words of a store that is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The rooms of a chat in one or several streams of NATS JetStream. A clone is another handle to the same store.
///
/// ```no_run
/// use chat_core::{Chat, Text, User};
/// use chat_jetstream::{JetStreamStore, Options};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = JetStreamStore::open("nats://n1:4222,nats://n2:4222", Options::default()).await?;
/// let chat = Chat::builder().store(store).build();
/// chat.post(&"lobby".parse()?, &User::guest("clock")?, &Text::new("It is noon.")).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct JetStreamStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    streams: Streams,
    users: Users,
    /// The high-water marks, if they are kept.
    marks: Option<Arc<HighWaterMarks>>,
    /// True while another server of the chat has the name of this one.
    is_name_taken: Arc<AtomicBool>,
    /// True if the store is closed. A call holds it while it is in progress.
    is_closed: RwLock<bool>,
    /// The tasks of the node, which end with the store.
    tasks: Mutex<JoinSet<()>>,
}

impl JetStreamStore {
    /// Opens the store on the servers with these addresses, separated by commas. Creates the streams that do not
    /// exist. With [`Options::node`], it takes half a second more, in which another server of that name would answer.
    ///
    /// It must be called in a runtime of tokio, in which the store then runs.
    ///
    /// # Errors
    ///
    /// Returns an [`OpenError`] whose text says what to do.
    pub async fn open(servers: &str, options: Options) -> Result<Self, OpenError> {
        Self::open_on(connect(servers, &options).await?, servers, options).await
    }

    /// Opens the store on a connection to the servers with these addresses.
    pub(crate) async fn open_on(
        (client, connection): (Arc<dyn Client>, Arc<Connection>),
        servers: &str,
        options: Options,
    ) -> Result<Self, OpenError> {
        let link = link_to(client, &options)?;
        let streams = open_streams(&link, &options).await?;
        let unreachable = |error| OpenError::unreachable(servers, &error);
        let claimed = match &options.node {
            Some(name) => {
                let claimed = ClaimedName::claim(&link.client, &connection, &link.stream, name).await;
                Some(claimed.map_err(unreachable)?.ok_or_else(|| OpenError::NameInUse(name.clone()))?)
            }
            None => None,
        };
        let name =
            options.node.as_ref().map_or_else(|| format!("{:016x}", random_number()), ToString::to_string);
        let streams = Streams::new(streams, Arc::clone(&connection), &options, name);
        let mut tasks = streams.start().await.map_err(unreachable)?;
        let is_name_taken = claimed.as_ref().map(ClaimedName::is_taken).unwrap_or_default();
        if let Some(claimed) = claimed {
            tasks.spawn(claimed.keep(connection));
        }
        let marks = match &options.state_dir {
            Some(dir) => Some(Arc::new(HighWaterMarks::open(dir, &streams)?)),
            None => None,
        };
        if let Some(marks) = &marks {
            marks.compare().await;
            tasks.spawn(Arc::clone(marks).keep());
        }
        #[cfg(feature = "search-index")]
        if let Some(dir) = &options.search_index {
            for node in streams.iter() {
                let stream = &node.link.stream;
                let log = chat_sqlite::LogIndex::open(&index_dir(dir, stream, &options), stream)?;
                let index = node.index.get_or_init(|| Arc::new(SearchIndex::new(log)));
                tasks.spawn(Arc::clone(node).keep_index(Arc::clone(index)));
            }
        }
        let first = streams.first();
        let users = Users::new(Arc::clone(first), first.copies);
        let (is_closed, tasks) = (RwLock::new(false), Mutex::new(tasks));
        Ok(Self(Arc::new(Inner { streams, users, marks, is_name_taken, is_closed, tasks })))
    }

    #[cfg(test)]
    pub(crate) fn room(&self, name: &RoomName, limits: &Arc<Limits>) -> Arc<SharedRoom> {
        self.0.streams.room(name, limits)
    }

    /// Returns the number of times that a record of the stream could not be read, because it is damaged.
    pub fn unreadable(&self) -> u64 {
        self.stats().unreadable
    }

    /// Returns the counters of the store.
    pub fn stats(&self) -> Stats {
        let first = self.0.streams.first();
        Stats { requests: first.link.requests.load(Ordering::Relaxed), ..first.counters.stats() }
    }

    /// Returns the states of the streams in which the rooms are.
    pub fn streams(&self) -> Vec<StreamStatus> {
        self.0.streams.iter().map(|node| node.status()).collect()
    }

    /// Returns the number of messages of the streams that the search index of this server does not have, or `None`
    /// without an index.
    #[cfg(feature = "search-index")]
    pub(crate) fn waiting_for_index(&self) -> Option<u64> {
        let waiting =
            |node: &Arc<Node>| Some(node.life().highest().saturating_sub(node.index.get()?.place()));
        self.0.streams.iter().map(waiting).sum()
    }
}

/// Checks the options, and connects to the servers.
pub(crate) async fn connect(
    servers: &str,
    options: &Options,
) -> Result<(Arc<dyn Client>, Arc<Connection>), OpenError> {
    if !is_chat_name(&options.stream) {
        return Err(OpenError::InvalidName);
    }
    if !(1..=MAX_STREAMS).contains(&options.streams) {
        return Err(OpenError::InvalidStreams);
    }
    let connected = Connection::open(servers, options.connect.clone()).await;
    let (client, connection) = connected.map_err(|error| OpenError::unreachable(servers, &error))?;
    Ok((Arc::new(client), connection))
}

/// Returns the link to the first stream, if the server is new enough.
pub(crate) fn link_to(client: Arc<dyn Client>, options: &Options) -> Result<Link, OpenError> {
    let version = client.version();
    if !has_batches(&version) {
        return Err(OpenError::OldServer(version));
    }
    Ok(Link { client, stream: options.stream.clone(), requests: Arc::default() })
}

/// Returns the directory of the search index of one stream.
#[cfg(feature = "search-index")]
fn index_dir(dir: &Path, stream: &str, options: &Options) -> PathBuf {
    if options.streams == 1 {
        return dir.to_owned();
    }
    // If it fails, the index in it is not opened, and says why.
    let _is_there = DirBuilder::new().mode(0o700).create(dir);
    dir.join(stream)
}

/// Returns true for the version of a server that can store several messages together.
fn has_batches(version: &str) -> bool {
    let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(2), Some(12))
}

impl Inner {
    /// Begins a call. The store is not closed before it has ended.
    async fn call(&self) -> Result<RwLockReadGuard<'_, bool>, Unavailable> {
        let is_closed = self.is_closed.read().await;
        if *is_closed {
            return Err(Unavailable::new("the store is closed"));
        }
        self.streams.first().connection.wait().await?;
        Ok(is_closed)
    }
}

#[async_trait]
impl Store for JetStreamStore {
    async fn open(
        &self,
        room: &RoomName,
        limits: &Arc<Limits>,
        sink: CommitSink,
    ) -> Result<Arc<dyn Room>, Unavailable> {
        let _call = self.0.call().await?;
        let room = self.0.streams.room(room, limits);
        let sink = room.add_sink(sink);
        room.bounds().await?;
        room.resume_erasure(Duration::ZERO);
        room.resume_purges();
        Ok(Arc::new(Opening { store: Arc::clone(&self.0), room, _sink: sink }))
    }

    async fn follow(&self, user: &UserKey, room: &RoomName, on: bool, max: usize) -> Result<(), MarkerError> {
        let _call = self.0.call().await?;
        self.0.users.follow(user, room, on, max).await
    }

    async fn followed(&self, user: &UserKey) -> Result<Vec<RoomName>, MarkerError> {
        let _call = self.0.call().await?;
        Ok(self.0.users.followed(user).await?)
    }

    fn health(&self) -> Health {
        match self.0.is_closed.try_read() {
            Ok(is_closed) if !*is_closed && self.0.is_name_taken.load(Ordering::Relaxed) => {
                Health::Unreachable("another server of the chat has the name of this one".to_owned())
            }
            Ok(is_closed) if !*is_closed => self.0.streams.health(),
            _ => Health::Unreachable("the store is closed".to_owned()),
        }
    }

    async fn close(&self) -> Result<(), Unavailable> {
        let mut is_closed = self.0.is_closed.write().await;
        if *is_closed {
            return Ok(());
        }
        *is_closed = true;
        let client = &self.0.streams.first().link.client;
        let last_words = async {
            self.0.streams.leave().await;
            client.flush().await;
            client.drain().await;
        };
        // All calls are answered: nothing is lost without them.
        let _unheard = timeout(CLOSE_TIMEOUT, last_words).await;
        self.0.tasks.lock().abort_all();
        if let Some(marks) = &self.0.marks {
            if let Err(error) = marks.write().await {
                tracing::warn!(%error, "ends of the streams not written; a loss of messages may stay unnoticed");
            }
            marks.release();
        }
        #[cfg(feature = "search-index")]
        for index in self.0.streams.iter().filter_map(|node| node.index.get()) {
            index.close().await;
        }
        Ok(())
    }
}

/// A room as the chat has it open.
struct Opening {
    store: Arc<Inner>,
    room: Arc<SharedRoom>,
    /// The sink gets reports while it is held.
    _sink: Arc<CommitSink>,
}

impl Opening {
    /// Stores a message, a change or an act on the node that is asked for the room, or on this one.
    async fn carry_out(&self, work: Work) -> Result<Receipt, ChangeError> {
        let _call = self.store.call().await?;
        self.route(work).await
    }

    async fn route(&self, work: Work) -> Result<Receipt, ChangeError> {
        let node = &self.room.node;
        if let Some(other) = node.peers.of_room(&self.room.token) {
            let asked = Asked { room: self.room.name.clone(), work: &work };
            if let Some(answer) = node.ask(&other, &asked).await {
                count(&node.counters.routed, usize::from(answer.is_ok()));
                return answer;
            }
        }
        self.room.carry_out(work).await
    }
}

#[async_trait]
impl Room for Opening {
    async fn append(&self, message: NewMessage) -> Result<AppendReceipt, AppendError> {
        let done = self.carry_out(Work::Append(message)).await;
        done.map(AppendReceipt::from).map_err(as_append)
    }

    async fn change(&self, change: NewChange) -> Result<ChangeReceipt, ChangeError> {
        self.carry_out(Work::Change(change)).await.map(ChangeReceipt::from)
    }

    async fn govern(&self, act: NewAct) -> Result<ChangeReceipt, ChangeError> {
        self.carry_out(Work::Act(Box::new(act))).await.map(ChangeReceipt::from)
    }

    async fn purge(&self, act: NewAct) -> Result<ChangeReceipt, ChangeError> {
        if !matches!(act.act, Act::Purge { .. }) {
            return Err(ChangeError::Unsupported);
        }
        let order = {
            let _call = self.store.call().await?;
            self.room.purge_order(act).await?
        };
        // The store can be closed meanwhile. Another node completes the purge then.
        self.route(Work::Purge(Box::new(order))).await.map(ChangeReceipt::from)
    }

    async fn standing(&self, user: &UserKey) -> Result<(RoomRules, Standing), Unavailable> {
        let _call = self.store.call().await?;
        self.room.standing(user).await
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        let _call = self.store.call().await?;
        self.room.page(range).await
    }

    async fn thread(&self, root: u64, range: Range) -> Result<Page, ThreadError> {
        let _call = self.store.call().await?;
        self.room.thread(root, range).await
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        let _call = self.store.call().await?;
        self.room.bounds().await
    }

    fn known_bounds(&self) -> Option<LogBounds> {
        let is_open = self.store.is_closed.try_read().is_ok_and(|is_closed| !*is_closed);
        (is_open && self.room.node.health() == Health::Ready).then(|| self.room.known_bounds())?
    }

    async fn mark(&self, user: &UserKey, seq: u64) -> Result<Marked, MarkerError> {
        let _call = self.store.call().await?;
        self.room.mark(&self.store.users, user, seq).await
    }

    async fn unread(&self, user: &UserKey, up_to: u64) -> Result<Unread, MarkerError> {
        let _call = self.store.call().await?;
        Ok(self.room.unread(&self.store.users, user, up_to).await?)
    }

    /// Looks at the messages that the index of a server names. Without one, looks at the messages one by one, newest
    /// first, and at 20,000 at most.
    async fn search(&self, search: Search) -> Result<SearchPage, SearchError> {
        let _call = self.store.call().await?;
        self.room.find_messages(&search).await
    }
}

#[cfg(test)]
mod tests {
    use super::has_batches;

    #[test]
    fn servers_from_2_12_on_have_batches() {
        assert!(["2.12.0", "2.15.1", "2.12.0-RC.1", "3.0.0"].iter().all(|version| has_batches(version)));
        assert!(!["2.11.9", "2.2.12", "1.14.0", "", "2"].iter().any(|version| has_batches(version)));
    }
}
