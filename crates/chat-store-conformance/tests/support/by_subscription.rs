use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{
    AppendError, AppendReceipt, CommitSink, Limits, LogBounds, NewMessage, Page, Range, Room, RoomName, Scan,
    Search, SearchError, SearchPage, Store, StoredMessage, Unavailable,
};
use chat_proto::Log;
use chat_store_conformance::Fixture;
use parking_lot::Mutex;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::{AbortHandle, yield_now};
use tokio::time::{Instant, interval, sleep_until};

use crate::base::{Gate, Node, Rooms};

/// The interval at which a node asks for the head, which repairs lost notices. A chat waits for a shorter time for a
/// missing entry, so both repairs happen.
const DIGEST_INTERVAL: Duration = Duration::from_millis(300);

/// The notices that the server keeps for a subscription. A subscription that is slower loses some.
const MAX_NOTICES: usize = 64;

/// A log server with two nodes. A sink hears of entries only by the subscription of its node, which delays, repeats,
/// reorders and loses notices. A digest of the head repairs what was lost.
pub(crate) struct BySubscription {
    server: Arc<Server>,
    nodes: [Arc<Node<Server>>; 2],
}

#[derive(Default)]
struct Server {
    logs: Mutex<BTreeMap<RoomName, Arc<ServerLog>>>,
    epochs: AtomicU64,
}

struct ServerLog {
    log: Mutex<Log>,
    notices: broadcast::Sender<Notice>,
}

#[derive(Clone)]
enum Notice {
    Entry(String, StoredMessage),
    Renewed(LogBounds),
}

struct Opening {
    log: Arc<ServerLog>,
    limits: Arc<Limits>,
    subscription: AbortHandle,
}

impl BySubscription {
    pub(crate) fn new() -> Self {
        Self::of(Arc::default())
    }

    fn of(server: Arc<Server>) -> Self {
        Self { nodes: [Node::new(&server), Node::new(&server)], server }
    }
}

#[async_trait]
impl Fixture for BySubscription {
    fn store(&self, node: usize) -> Option<Arc<dyn Store>> {
        self.nodes.get(node).map(|node| Arc::clone(node) as Arc<dyn Store>)
    }

    async fn restart(&mut self) {
        *self = Self::of(Arc::clone(&self.server));
    }

    fn set_reachable(&self, reachable: bool) -> bool {
        self.nodes[0].gate.set_reachable(reachable);
        true
    }

    async fn renew(&self) -> bool {
        for (room, log) in &*self.server.logs.lock() {
            let mut state = log.log.lock();
            *state = self.server.new_log(room, &Arc::new(Limits::default()));
            // There may be no listener.
            let _unheard = log.notices.send(Notice::Renewed(state.bounds()));
        }
        true
    }
}

impl Server {
    fn new_log(&self, room: &RoomName, limits: &Arc<Limits>) -> Log {
        let epoch = self.epochs.fetch_add(1, Ordering::Relaxed);
        Log::new(room.clone(), format!("epoch-{epoch}"), Arc::clone(limits))
    }

    fn log(&self, room: &RoomName, limits: &Arc<Limits>) -> Arc<ServerLog> {
        let mut logs = self.logs.lock();
        let log = logs.entry(room.clone()).or_insert_with(|| {
            let log = Mutex::new(self.new_log(room, limits));
            Arc::new(ServerLog { log, notices: broadcast::channel(MAX_NOTICES).0 })
        });
        Arc::clone(log)
    }
}

#[async_trait]
impl Rooms for Server {
    async fn open(
        &self,
        room: &RoomName,
        limits: &Arc<Limits>,
        sink: CommitSink,
        gate: &Arc<Gate>,
    ) -> Result<Arc<dyn Room>, Unavailable> {
        yield_now().await;
        let (log, limits) = (self.log(room, limits), Arc::clone(limits));
        let notices = log.notices.subscribe();
        let subscription = Subscription::new(Arc::clone(&log), Arc::clone(gate), sink);
        let subscription = tokio::spawn(subscription.run(notices)).abort_handle();
        Ok(Arc::new(Opening { log, limits, subscription }))
    }
}

/// The task that brings notices to the sink of one opening.
struct Subscription {
    log: Arc<ServerLog>,
    gate: Arc<Gate>,
    sink: CommitSink,
    /// Entries in flight, each with the time of its delivery.
    in_flight: Vec<(Instant, String, StoredMessage)>,
}

impl Subscription {
    fn new(log: Arc<ServerLog>, gate: Arc<Gate>, sink: CommitSink) -> Self {
        let mut subscription = Self { log, gate, sink, in_flight: Vec::new() };
        // A subscription begins before the head, so that it misses nothing. The first reports are repeats.
        let last = subscription.log.log.lock().read(Range::newest(3));
        for stored in &last.messages {
            subscription.sink.publish(&last.epoch, stored);
            subscription.delay(&last.epoch, stored);
        }
        subscription
    }

    async fn run(mut self, mut notices: broadcast::Receiver<Notice>) {
        let mut digest = interval(DIGEST_INTERVAL);
        loop {
            let next = self.in_flight.iter().map(|(at, ..)| *at).min();
            let next = next.unwrap_or_else(|| Instant::now() + DIGEST_INTERVAL);
            tokio::select! {
                notice = notices.recv() => match notice {
                    Ok(Notice::Entry(epoch, stored)) => self.delay(&epoch, &stored),
                    // The notices in flight are of the earlier epoch, and are still delivered.
                    Ok(Notice::Renewed(bounds)) => self.sink.renewed(&bounds),
                    // The digest repairs it.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                () = sleep_until(next) => self.deliver(),
                _ = digest.tick() => self.digest(),
            }
        }
    }

    /// Loses one notice of seven, repeats one of five, and delays each for 0 to 4 milliseconds, which reorders them.
    fn delay(&mut self, epoch: &str, stored: &StoredMessage) {
        if stored.seq % 7 == 3 || self.gate.check().is_err() {
            return;
        }
        let copies = if stored.seq.is_multiple_of(5) { 2 } else { 1 };
        for copy in 0..copies {
            let delay = Duration::from_millis((stored.seq * 13 + copy * 3) % 5);
            self.in_flight.push((Instant::now() + delay, epoch.to_owned(), stored.clone()));
        }
    }

    fn deliver(&mut self) {
        let now = Instant::now();
        for (_, epoch, stored) in self.in_flight.extract_if(.., |(at, ..)| *at <= now) {
            self.sink.publish(&epoch, &stored);
        }
    }

    fn digest(&self) {
        if self.gate.check().is_ok() {
            let LogBounds { epoch, head, .. } = self.log.log.lock().bounds();
            self.sink.advance(&epoch, head);
        }
    }
}

#[async_trait]
impl Room for Opening {
    async fn append(&self, message: NewMessage) -> Result<AppendReceipt, AppendError> {
        yield_now().await;
        message.judge_without_threads()?;
        let mut log = self.log.log.lock();
        let (receipt, stored) = log.append(unix_millis(), message)?;
        if let Some(stored) = stored {
            let _unheard = self.log.notices.send(Notice::Entry(receipt.epoch.clone(), stored));
        }
        Ok(receipt)
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        yield_now().await;
        Ok(self.log.log.lock().read(range))
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        yield_now().await;
        Ok(self.log.log.lock().bounds())
    }

    async fn search(&self, search: Search) -> Result<SearchPage, SearchError> {
        yield_now().await;
        let mut scan = Scan::new(&search, &self.limits);
        let mut before = search.before;
        loop {
            let newest = Range::newest(usize::MAX);
            let range = before.map_or(newest, |seq| Range::before(seq, usize::MAX));
            let page = self.log.log.lock().read(range);
            let goes_on = page.messages.iter().rev().all(|stored| {
                before = Some(stored.seq);
                scan.look(stored)
            });
            if !goes_on || !page.more {
                return Ok(scan.finish());
            }
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.subscription.abort();
    }
}

fn unix_millis() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
