use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{
    AppendError, AppendReceipt, ChangeError, ChangeReceipt, Chat, CommitSink, Health, Limits, LogBounds,
    Marked, MarkerError, MemoryRoom, MemoryStore, NewAct, NewChange, NewMessage, Page, Range, Room, RoomName,
    RoomRules, Standing, Unavailable, Unread, UserKey,
};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::sleep;

/// The behaviour of one kind of call to a [`Store`].
#[derive(Clone, Copy, Debug, Default)]
pub enum Mode {
    /// The call succeeds at once.
    #[default]
    Works,
    /// The call succeeds after this time.
    Slow(Duration),
    /// The call fails at once.
    Fails,
    /// The call never returns.
    Hangs,
    /// The call panics.
    Panics,
    /// An append waits until the behaviour of appends changes. Any other call never returns.
    Waits,
    /// An append stores its message and fails. Any other call fails at once.
    StoresAndFails,
}

/// A store of rooms in memory with calls that a test controls. It has no search.
#[derive(Clone, Debug, Default)]
pub struct Store(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    open: Mode,
    append: watch::Sender<Mode>,
    /// The number of appends that have begun.
    appends: watch::Sender<usize>,
    read: Mode,
    count: Mode,
    standing: Mode,
    follow: Mode,
    bounds: Mode,
    close: Mode,
    /// The health that a test has set. `None` is ready.
    health: Option<Health>,
    opens: usize,
    /// The number of times that the bounds were asked for.
    bounds_asked: usize,
    /// The newest position in the bounds that are known without a call. `None` if they are not known.
    known: Option<u64>,
    reads: usize,
    counts: usize,
    standings: usize,
    /// The rooms whose logs cannot be read.
    broken: BTreeSet<RoomName>,
    follows: MemoryStore,
    closes: usize,
    lost: Vec<u64>,
    /// True while no commit is reported.
    is_paused: bool,
    keeps_order: bool,
    /// True while a quota refuses each act.
    is_full: bool,
    /// The epoch that the bounds report instead of the log's own.
    epoch: Option<String>,
    /// The sink and the epoch of the room that was opened last.
    sink: Option<(CommitSink, String)>,
}

impl Store {
    /// Returns a store in which all calls succeed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a new store and a chat on it.
    pub fn with_chat(limits: Limits) -> (Self, Chat) {
        let store = Self::new();
        let chat = store.chat(limits);
        (store, chat)
    }

    /// Returns a chat on this store.
    pub fn chat(&self, limits: Limits) -> Chat {
        Chat::builder().limits(limits).store(self.clone()).build()
    }

    /// Sets the behaviour of opening a room.
    pub fn open(&self, mode: Mode) {
        self.0.lock().open = mode;
    }

    /// Sets the behaviour of appends.
    pub fn append(&self, mode: Mode) {
        self.0.lock().append.send_replace(mode);
    }

    /// Refuses each act because of a quota.
    pub fn fill(&self) {
        self.0.lock().is_full = true;
    }

    /// Sets the behaviour of reads.
    pub fn read(&self, mode: Mode) {
        self.0.lock().read = mode;
    }

    /// Sets the behaviour of counting unread messages.
    pub fn count(&self, mode: Mode) {
        self.0.lock().count = mode;
    }

    /// Sets the behaviour of asking for the standing of a user. A slow answer is an old one.
    pub fn standing(&self, mode: Mode) {
        self.0.lock().standing = mode;
    }

    /// Sets the behaviour of following a room, and of ending that. A slow answer comes after the change.
    pub fn follow(&self, mode: Mode) {
        self.0.lock().follow = mode;
    }

    /// Lets the standings and the unread messages of a room not be read.
    pub fn break_room(&self, room: RoomName) {
        self.0.lock().broken.insert(room);
    }

    /// Sets the behaviour of asking for the bounds.
    pub fn bounds(&self, mode: Mode) {
        self.0.lock().bounds = mode;
    }

    /// Sets the behaviour of closing the store.
    pub fn close(&self, mode: Mode) {
        self.0.lock().close = mode;
    }

    /// Sets the health that the store reports.
    pub fn health(&self, health: Health) {
        self.0.lock().health = Some(health);
    }

    /// Declares that the store keeps the order of messages in flight, as it does.
    pub fn keep_order(&self) {
        self.0.lock().keeps_order = true;
    }

    /// Loses these messages: reads leave them out.
    pub fn lose(&self, seqs: impl IntoIterator<Item = u64>) {
        self.0.lock().lost.extend(seqs);
    }

    /// Pauses or continues the reports of commits. A commit during a pause is never reported.
    pub fn pause_reports(&self, is_paused: bool) {
        self.0.lock().is_paused = is_paused;
    }

    /// Answers reads and bounds like an empty log of another epoch from now on, without a report to the sinks.
    pub fn renew(&self, epoch: &str) {
        self.0.lock().epoch = Some(epoch.to_owned());
    }

    /// Returns the number of times that a room was opened.
    pub fn opens(&self) -> usize {
        self.0.lock().opens
    }

    /// Tells the bounds without a call. They have the entries up to this one.
    pub fn know_bounds(&self, up_to: u64) {
        self.0.lock().known = Some(up_to);
    }

    /// Returns the number of times that the bounds were asked for.
    pub fn bounds_asked(&self) -> usize {
        self.0.lock().bounds_asked
    }

    /// Returns the number of appends that have begun.
    pub fn appends(&self) -> usize {
        *self.0.lock().appends.borrow()
    }

    /// Waits until this many appends have begun.
    pub async fn wait_for_appends(&self, count: usize) {
        let mut appends = self.0.lock().appends.subscribe();
        appends.wait_for(|appends| *appends >= count).await.expect("the store is there");
    }

    /// Returns the number of reads that have begun.
    pub fn reads(&self) -> usize {
        self.0.lock().reads
    }

    /// Returns the number of times that unread messages were counted.
    pub fn counts(&self) -> usize {
        self.0.lock().counts
    }

    /// Returns the number of times that a standing was asked for.
    pub fn standings(&self) -> usize {
        self.0.lock().standings
    }

    /// Returns the number of times that the store was closed.
    pub fn closes(&self) -> usize {
        self.0.lock().closes
    }

    /// Returns the sink of the room that was opened last.
    pub fn sink(&self) -> CommitSink {
        self.0.lock().sink.clone().expect("a room was opened").0
    }

    /// Returns the epoch of the room that was opened last.
    ///
    /// # Panics
    ///
    /// If no room was opened.
    pub fn epoch(&self) -> String {
        self.0.lock().sink.clone().expect("a room was opened").1
    }
}

#[async_trait]
impl chat_core::Store for Store {
    async fn open(
        &self,
        room: &RoomName,
        limits: &Arc<Limits>,
        sink: CommitSink,
    ) -> Result<Arc<dyn Room>, Unavailable> {
        let (state, reports) = (Arc::clone(&self.0), sink.clone());
        let reports = CommitSink::new(move |commit| {
            let is_paused = state.lock().is_paused;
            if !is_paused {
                reports.report(commit);
            }
        });
        let log = MemoryRoom::new(room.clone(), Arc::clone(limits), reports);
        let epoch = log.bounds().await?.epoch;
        let mode = {
            let mut state = self.0.lock();
            state.opens += 1;
            state.sink = Some((sink, epoch));
            state.open
        };
        obey(mode).await?;
        Ok(Arc::new(StoredRoom { store: self.clone(), name: room.clone(), log }))
    }

    async fn follow(&self, user: &UserKey, room: &RoomName, on: bool, max: usize) -> Result<(), MarkerError> {
        let (follows, mode) = {
            let state = self.0.lock();
            (state.follows.clone(), state.follow)
        };
        follows.follow(user, room, on, max).await?;
        Ok(obey(mode).await?)
    }

    async fn followed(&self, user: &UserKey) -> Result<Vec<RoomName>, MarkerError> {
        let follows = self.0.lock().follows.clone();
        follows.followed(user).await
    }

    fn health(&self) -> Health {
        self.0.lock().health.clone().unwrap_or(Health::Ready)
    }

    fn keeps_order(&self) -> bool {
        self.0.lock().keeps_order
    }

    async fn close(&self) -> Result<(), Unavailable> {
        let mode = {
            let mut state = self.0.lock();
            state.closes += 1;
            state.close
        };
        obey(mode).await
    }
}

struct StoredRoom {
    store: Store,
    name: RoomName,
    log: MemoryRoom,
}

impl StoredRoom {
    /// Returns the behaviour, unless the room is broken.
    fn unless_broken(&self, state: &State, mode: Mode) -> Mode {
        if state.broken.contains(&self.name) { Mode::Fails } else { mode }
    }
}

#[async_trait]
impl Room for StoredRoom {
    async fn append(&self, message: NewMessage) -> Result<AppendReceipt, AppendError> {
        let mut modes = {
            let state = self.store.0.lock();
            state.appends.send_modify(|appends| *appends += 1);
            state.append.subscribe()
        };
        let mode = *modes.wait_for(|mode| !matches!(mode, Mode::Waits)).await.expect("the store is there");
        if let Mode::StoresAndFails = mode {
            self.log.append(message.clone()).await?;
        }
        obey(mode).await?;
        self.log.append(message).await
    }

    async fn change(&self, change: NewChange) -> Result<ChangeReceipt, ChangeError> {
        self.log.change(change).await
    }

    async fn govern(&self, act: NewAct) -> Result<ChangeReceipt, ChangeError> {
        let is_full = self.store.0.lock().is_full;
        if is_full {
            return Err(Unavailable::over_quota("the disk quota is reached").into());
        }
        self.log.govern(act).await
    }

    async fn purge(&self, act: NewAct) -> Result<ChangeReceipt, ChangeError> {
        self.log.purge(act).await
    }

    async fn standing(&self, user: &UserKey) -> Result<(RoomRules, Standing), Unavailable> {
        let mode = {
            let mut state = self.store.0.lock();
            state.standings += 1;
            self.unless_broken(&state, state.standing)
        };
        let standing = self.log.standing(user).await?;
        obey(mode).await?;
        Ok(standing)
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        let mode = {
            let mut state = self.store.0.lock();
            state.reads += 1;
            state.read
        };
        obey(mode).await?;
        if let Some(epoch) = self.store.0.lock().epoch.clone() {
            return Ok(Page::new(epoch, Vec::new()));
        }
        let mut page = self.log.read(range).await?;
        page.messages.retain(|stored| !self.store.0.lock().lost.contains(&stored.seq));
        Ok(page)
    }

    async fn mark(&self, user: &UserKey, seq: u64) -> Result<Marked, MarkerError> {
        self.log.mark(user, seq).await
    }

    async fn unread(&self, user: &UserKey, up_to: u64) -> Result<Unread, MarkerError> {
        let mode = {
            let mut state = self.store.0.lock();
            state.counts += 1;
            self.unless_broken(&state, state.count)
        };
        obey(mode).await?;
        self.log.unread(user, up_to).await
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        let mode = {
            let mut state = self.store.0.lock();
            state.bounds_asked += 1;
            state.bounds
        };
        let renewed = self.store.0.lock().epoch.clone();
        let bounds = match renewed {
            Some(epoch) => LogBounds::new(epoch, 0),
            None => self.log.bounds().await?,
        };
        // A slow answer is an old one.
        obey(mode).await?;
        Ok(bounds)
    }

    fn known_bounds(&self) -> Option<LogBounds> {
        let known = self.store.0.lock().known?;
        // A room in memory answers at once.
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(mut bounds)) = self.log.bounds().as_mut().poll(&mut context) else { return None };
        bounds.head = bounds.head.min(known);
        Some(bounds)
    }
}

async fn obey(mode: Mode) -> Result<(), Unavailable> {
    match mode {
        Mode::Works => Ok(()),
        Mode::Slow(time) => {
            sleep(time).await;
            Ok(())
        }
        Mode::Fails | Mode::StoresAndFails => Err(Unavailable::new("the disk is full")),
        Mode::Hangs | Mode::Waits => pending().await,
        Mode::Panics => panic!("this is the test's own panic"),
    }
}
