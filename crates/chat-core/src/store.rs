use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::room::MemoryBudget;
use crate::{
    AppendError, AppendReceipt, ChangeError, ChangeReceipt, Limits, LogBounds, Marked, MarkerError, NewAct,
    NewChange, NewMessage, Page, Range, RoomName, RoomRules, Search, SearchError, SearchPage, Standing,
    StoredMessage, ThreadError, Unavailable, Unread, UserKey,
};

/// A store of the logs of rooms.
///
/// # Contract
///
/// The contract of a log is at [`Room`]. `chat-store-conformance` tests both contracts.
///
/// - Rooms of one name are one log, however often they are opened and by however many processes.
/// - [`open`](Self::open) may fail and may take time; the chat limits that time by
///   [`RoomLimits::call_timeout`](crate::RoomLimits::call_timeout).
/// - From the answer of `open` on, each entry is reported to the sink, including those of other processes, until the
///   room is dropped.
///
/// # Examples
///
/// A store that keeps rooms in memory:
///
/// ```
/// use std::sync::Arc;
///
/// use chat_core::{Chat, CommitSink, Limits, MemoryRoom, Room, RoomName, Store, Unavailable};
///
/// struct InMemory;
///
/// #[chat_core::async_trait]
/// impl Store for InMemory {
///     async fn open(
///         &self,
///         room: &RoomName,
///         limits: &Arc<Limits>,
///         sink: CommitSink,
///     ) -> Result<Arc<dyn Room>, Unavailable> {
///         Ok(Arc::new(MemoryRoom::new(room.clone(), limits.clone(), sink)))
///     }
/// }
///
/// let chat = Chat::builder().store(InMemory).build();
/// # drop(chat);
/// ```
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Opens the log of a room. A new log begins with its first message. `limits` are those of the chat: the store
    /// takes from them the size of a page and the time for which keys are remembered.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the store cannot be used now.
    async fn open(
        &self,
        room: &RoomName,
        limits: &Arc<Limits>,
        sink: CommitSink,
    ) -> Result<Arc<dyn Room>, Unavailable>;

    /// Returns the state of the store, which `/readyz` reports. It must return at once.
    fn health(&self) -> Health {
        Health::Ready
    }

    /// Returns true if each room commits messages in the order in which the futures of [`Room::append`] were polled for
    /// the first time, however they are polled after that.
    ///
    /// Then the chat has up to [`ConnectionLimits::max_sends_in_flight`](crate::ConnectionLimits::max_sends_in_flight)
    /// messages of one connection in flight, so that a store which commits in batches has larger batches. With the
    /// default, false, the chat waits for the result of each message of a connection.
    fn keeps_order(&self) -> bool {
        false
    }

    /// Lets a user follow a room, or ends that. A repeat changes nothing. A room without messages can be followed too.
    /// [Direct rooms](RoomName::is_direct) count separately from the others, because other users open them too.
    ///
    /// Rooms that are followed survive what messages survive. Anyone can take any number of guest names, so a store may
    /// forget the rooms of guests.
    ///
    /// # Errors
    ///
    /// [`MarkerError::Unsupported`], the default, if the store keeps no markers. [`MarkerError::TooManyRooms`] if the
    /// user follows `max` rooms of the kind.
    async fn follow(
        &self,
        _user: &UserKey,
        _room: &RoomName,
        _on: bool,
        _max: usize,
    ) -> Result<(), MarkerError> {
        Err(MarkerError::Unsupported)
    }

    /// Returns the rooms that a user follows, in the order of their names. They are at most twice the
    /// `max` of [`follow`](Self::follow).
    ///
    /// # Errors
    ///
    /// [`MarkerError::Unsupported`], the default, if the store keeps no markers.
    async fn followed(&self, _user: &UserKey) -> Result<Vec<RoomName>, MarkerError> {
        Err(MarkerError::Unsupported)
    }

    /// Completes the calls in flight and releases the store. Rooms refuse further calls.
    /// [`Chat::drain`](crate::Chat::drain) calls it once, when the last session has ended.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the store could not be closed cleanly. No acknowledged entry is lost.
    async fn close(&self) -> Result<(), Unavailable> {
        Ok(())
    }
}

/// The state of a [`Store`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// The store can be used.
    Ready,
    /// The store is impaired, for this cause. Another process would have the same problem, so this process stays in
    /// service.
    Degraded(String),
    /// This process cannot reach the store, for this cause. Another process may serve its rooms, so
    /// `/readyz` answers 503.
    Unreachable(String),
}

/// The log of one room.
///
/// # Contract
///
/// `chat-store-conformance` tests this contract.
///
/// - **Numbers.** Entries get `seq` 1, 2, 3, ... without holes within one epoch. An epoch's positions are never
///   given out twice. No two rooms have the same epoch. A log that is lost and begins again has a new one. The
///   times of entries never decrease.
/// - **Commits.** [`append`](Self::append) commits at the level that the log promises, then answers. The
///   [`CommitSink`] of each opening gets each entry at least once, in any order, before or after the answer,
///   including entries of other processes. An entry is reported, or the new head is, even if the future of `append`
///   was dropped or is not polled. An entry can be read when it is reported: the chat reads the entries that only the
///   head has reported, once for all members.
/// - **Epochs.** Each report, receipt, page and answer of `bounds` names the epoch in which its positions count. The
///   chat drops reports and receipts of another epoch than that of the last [`bounds`](Self::bounds) or
///   [`CommitSink::renewed`]. So a late report of an earlier epoch does no harm.
///   An epoch is any text that is not used again. Make it random, for example 16 bytes in hexadecimal. Keep it below
///   64 bytes: each `joined` has it, and a client returns it in `join`, in a frame of limited size.
/// - **Bounds.** [`bounds`](Self::bounds) never goes back: its `head` is at least each `seq` that an answer or a sink
///   of this log, on any node, has named.
/// - **Openings.** A room may be opened several times at once, and again later. All openings are one log.
/// - **Keys.** A key repeated by the same [`User::key`](crate::User::key) within the key window answers the first
///   append, and stores nothing. With another [`NewMessage::content`] it is a conflict. Contents are compared byte by
///   byte.
/// - **Bodies.** A body is delivered byte for byte as it was sent. [`NewMessage::into_stored`] makes the frame, which
///   is sent as the log returns it and not read again.
/// - **Changes.** [`change`](Self::change), where a log supports it, asks [`Target::judge`](crate::Target::judge) at
///   the place where the entry is stored, and makes the entry and the new form of the message visible together.
///   [`ChangeEntry::encode`](crate::ChangeEntry::encode) and [`NewMessage::folded`] make the frames. A deletion erases
///   the body and all earlier bodies wherever the log keeps them, and reports [`CommitSink::erase`] before its answer.
///   `judge` and `MessageChanges` hold all rules, so that all logs have the same.
/// - **Rules.** [`govern`](Self::govern), where a log supports it, asks
///   [`ActContext::judge`](crate::ActContext::judge) at the place where the entry is stored, and makes the entry and
///   its effect visible together. From then on, `append` and `change` refuse what
///   [`Standing::check`](crate::Standing::check) and [`Standing::judge_change`](crate::Standing::judge_change) deny:
///   no entry that an act forbids has a higher `seq`. The standing is that [of](Standing::of) the user, with the role
///   that the message, the change or the act [grants](Standing::granted).
///   [`ActEntry::encode`](crate::ActEntry::encode) makes the frame, which stays as it is. The rules and the standings
///   are kept when retention removes their entries, as long as the room has an epoch.
///   [`LogBounds::has_rules`](crate::LogBounds::has_rules) is true from the first act on.
/// - **Purges.** [`purge`](Self::purge), where a log supports it, deletes the messages of a user up to the head at its
///   beginning. The author is compared by [`UserKey::id`](crate::UserKey::id) alone. A purge may be several entries, so
///   that a long one delays no other room: each entry deletes all messages of the user in its range that are not
///   deleted, makes them visible in their new form together with the entry, and asks
///   [`ActContext::judge_purge`](crate::ActContext::judge_purge) at its place, after
///   [`NewAct::fits`](crate::NewAct::fits). [`ActEntry::encode`](crate::ActEntry::encode) makes the frame. Everything
///   else is as for a deletion, with [`CommitSink::erase`] before each entry. A purge that has begun goes on if its
///   future is dropped, and is completed after a crash. Without a message to delete, there is no entry. A repeat by the
///   same user may become a part of a purge that goes on, if that one then deletes the newer messages too. The number
///   of purges that go on at once is limited.
/// - **Direct rooms.** A log with rules asks [`NewAct::fits`](crate::NewAct::fits) before it judges an act. The rules
///   of a room that has none are [`RoomRules::unset`](crate::RoomRules::unset), so nobody writes into a direct room
///   before it is opened. [`RoomRules::standing`](crate::RoomRules::standing) gives the standing of a user under the
///   rules.
/// - **Threads.** A log with threads asks [`Links::judge`](crate::Links::judge) at the place where a message is stored.
///   A message in a thread is folded into the root together with the append, with
///   [`MessageChanges::reply`](crate::MessageChanges::reply). [`thread`](Self::thread) reads a thread in pages like
///   those of `read`. A log without threads asks [`NewMessage::judge_without_threads`] instead. It refuses a message
///   that names another one, because the root would not count it.
/// - **Pins.** [`LogBounds::pins`] names the pinned messages that the log has.
/// - **Pages.** [`read`](Self::read) returns entries, oldest first, of
///   [`WireLimits::max_batch_bytes`](crate::WireLimits::max_batch_bytes) at most, or a single longer one. An entry that
///   the log has lost is left out. A page is empty only if there is nothing more in that direction. [`Range::Entries`]
///   has all entries without holes, [`Range::Acts`] the acts; the other ranges have messages, each in its present form.
/// - **Retention.** Old entries may be removed, the oldest first. The newest
///   [`RoomLimits::log_messages`](crate::RoomLimits::log_messages) messages stay, as long as the log has at most
///   [`RoomLimits::max_entries`](crate::RoomLimits::max_entries) entries of fewer than
///   [`RoomLimits::log_bytes`](crate::RoomLimits::log_bytes), unless the operator of the log has decided otherwise.
///   Then `first` grows; `head` and the keys stay.
/// - **Lives.** After a restart a room is the same log: entries, keys, epoch. Or it is empty and has another epoch. A
///   log that starts a new epoch while it is open reports it with [`CommitSink::renewed`], before the first entry of
///   the new epoch.
/// - **Markers.** [`mark`](Self::mark), where a log supports it, stores the position of a user before it answers. A
///   marker moves forward only. It counts in the epoch in which it was set: in another epoch, the user has none.
///   [`unread`](Self::unread) counts with [`UnreadCount`](crate::UnreadCount), newest message first, so that all logs
///   count the same and a count has a limited cost. A store may forget the markers of guests, and those of a log that
///   it deletes.
/// - **Search.** [`search`](Self::search), where a log supports it, finds what [`Scan`](crate::Scan) finds, newest
///   first, in as many bytes. No query breaks it, and nothing in a query is an operator.
///
/// # Examples
///
/// A room that counts the appends to another one:
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use chat_core::{
///     AppendError, AppendReceipt, CommitSink, Limits, LogBounds, MemoryRoom, NewMessage, Page, Range, RawValue, Room,
///     Unavailable, User,
/// };
///
/// struct Counting {
///     room: MemoryRoom,
///     appends: AtomicU64,
/// }
///
/// #[chat_core::async_trait]
/// impl Room for Counting {
///     async fn append(&self, message: NewMessage) -> Result<AppendReceipt, AppendError> {
///         self.appends.fetch_add(1, Ordering::Relaxed);
///         self.room.append(message).await
///     }
///
///     async fn read(&self, range: Range) -> Result<Page, Unavailable> {
///         self.room.read(range).await
///     }
///
///     async fn bounds(&self) -> Result<LogBounds, Unavailable> {
///         self.room.bounds().await
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let sink = CommitSink::new(|commit| println!("{commit:?}"));
/// let room = MemoryRoom::new("lobby".parse()?, Arc::new(Limits::default()), sink);
/// let room = Counting { room, appends: AtomicU64::new(0) };
/// let body = RawValue::from_string(r#"{"text":"hi"}"#.to_owned())?;
/// let receipt = room.append(NewMessage::new(User::guest("ann")?, body)).await?;
/// assert_eq!((receipt.seq, room.appends.load(Ordering::Relaxed)), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[async_trait]
pub trait Room: Send + Sync {
    /// Adds a message.
    ///
    /// # Errors
    ///
    /// [`AppendError::KeyConflict`], [`AppendError::NoMessage`], [`AppendError::Forbidden`] and
    /// [`AppendError::Unsupported`] store nothing. After [`AppendError::Unavailable`] a retry with the same key is
    /// safe.
    async fn append(&self, message: NewMessage) -> Result<AppendReceipt, AppendError>;

    /// Changes a message: appends an entry that says so, and keeps the message in its new form.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Unsupported`], the default, if the log keeps only messages. The other errors store nothing,
    /// except perhaps [`ChangeError::Unavailable`], after which a retry is safe.
    async fn change(&self, _change: NewChange) -> Result<ChangeReceipt, ChangeError> {
        Err(ChangeError::Unsupported)
    }

    /// Sets the rules of the room or the standing of a user: appends an entry that says so.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Unsupported`], the default, if the log keeps no rules. The other errors store nothing, except
    /// perhaps [`ChangeError::Unavailable`], after which a retry is safe.
    async fn govern(&self, _act: NewAct) -> Result<ChangeReceipt, ChangeError> {
        Err(ChangeError::Unsupported)
    }

    /// Deletes all messages of a user that the log has now, and answers when all of them are erased. The act is an
    /// [`Act::Purge`](crate::Act::Purge).
    ///
    /// # Errors
    ///
    /// [`ChangeError::Unsupported`], the default, if the log has no purges. [`ChangeError::Forbidden`] and
    /// [`ChangeError::Muted`] delete nothing more. After [`ChangeError::Unavailable`], a part of the messages may be
    /// deleted, and a retry is safe.
    async fn purge(&self, _act: NewAct) -> Result<ChangeReceipt, ChangeError> {
        Err(ChangeError::Unsupported)
    }

    /// Returns the rules of the room, and the standing that [holds](Standing::of) for a user. The default is an open
    /// room in which no user has a standing.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the log cannot be read now.
    async fn standing(&self, _user: &UserKey) -> Result<(RoomRules, Standing), Unavailable> {
        Ok((RoomRules::default(), Standing::default()))
    }

    /// Reads part of the log.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the log cannot be read now.
    async fn read(&self, range: Range) -> Result<Page, Unavailable>;

    /// Reads the messages at these positions, in ascending order. Positions without a message are left out, and so are
    /// messages beyond [`WireLimits::max_batch_bytes`](crate::WireLimits::max_batch_bytes). Then
    /// [`more`](Page::more) is true. The default reads each message with [`read`](Self::read).
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the log cannot be read now.
    async fn messages(&self, seqs: &[u64], max_bytes: usize) -> Result<Page, Unavailable> {
        let mut seqs = seqs.to_vec();
        seqs.sort_unstable();
        seqs.dedup();
        let (mut page, mut bytes) = (Page::new(self.bounds().await?.epoch, Vec::new()), 0);
        for seq in seqs.into_iter().filter(|seq| *seq > 0) {
            let one = self.read(Range::after(seq - 1, 1)).await?;
            if one.epoch != page.epoch {
                return Err(Unavailable::new("the log has started a new epoch"));
            }
            for stored in one.messages.into_iter().filter(|stored| stored.seq == seq) {
                bytes += stored.frame.len();
                if bytes > max_bytes && !page.messages.is_empty() {
                    return Ok(page.with_more(true));
                }
                page.messages.push(stored);
            }
        }
        Ok(page)
    }

    /// Reads part of the thread that begins with the message `root`, without that message. The range counts messages
    /// of the thread.
    ///
    /// # Errors
    ///
    /// [`ThreadError::Unsupported`], the default, if the log has no threads. [`ThreadError::NoMessage`] if the log does
    /// not have the message, or it is in a thread itself.
    async fn thread(&self, _root: u64, _range: Range) -> Result<Page, ThreadError> {
        Err(ThreadError::Unsupported)
    }

    /// Returns the extent of the log.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the log cannot be read now.
    async fn bounds(&self) -> Result<LogBounds, Unavailable>;

    /// Returns the extent of the log as this node knows it, if it is kept up to date by reports and can be told without
    /// a request. A join of an open room then costs the store nothing. It may lack entries that other nodes have
    /// stored just now, but none that the sink of this opening has got.
    fn known_bounds(&self) -> Option<LogBounds> {
        None
    }

    /// Moves the marker of a user forward to the entry `seq`, and answers with its present position.
    ///
    /// # Errors
    ///
    /// [`MarkerError::Unsupported`], the default, if the store keeps no markers. [`MarkerError::BeyondHead`] if the log
    /// has no such entry yet.
    async fn mark(&self, _user: &UserKey, _seq: u64) -> Result<Marked, MarkerError> {
        Err(MarkerError::Unsupported)
    }

    /// Returns the marker of a user, and the numbers of the unread messages up to the entry `up_to`.
    ///
    /// # Errors
    ///
    /// [`MarkerError::Unsupported`], the default, if the store keeps no markers.
    async fn unread(&self, _user: &UserKey, _up_to: u64) -> Result<Unread, MarkerError> {
        Err(MarkerError::Unsupported)
    }

    /// Searches the log.
    ///
    /// # Errors
    ///
    /// [`SearchError::Unsupported`], the default, if the log has no search.
    async fn search(&self, _search: Search) -> Result<SearchPage, SearchError> {
        Err(SearchError::Unsupported)
    }
}

/// A receiver of the commits of a [`Room`]. It may be called from any thread, in any order and more than once
/// for an entry: the chat brings entries into the order of their `seq`, and reads the log if one is missing.
///
/// A report wakes members. A store must therefore hold no lock that its other calls need while it reports.
#[derive(Clone)]
pub struct CommitSink {
    report: Arc<dyn Fn(Commit<'_>) + Send + Sync>,
    /// The budget of a room in memory. `None` without a chat.
    budget: Option<Arc<MemoryBudget>>,
}

/// A report of a store to a [`CommitSink`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Commit<'a> {
    /// An entry is committed.
    Entry {
        /// The epoch of the entry.
        epoch: &'a str,
        /// The entry.
        stored: &'a StoredMessage,
    },
    /// A deletion has erased the content of these entries. This is their present form.
    Erased {
        /// The epoch of the entries.
        epoch: &'a str,
        /// The message that was deleted, and its changes among the newest
        /// [`RoomLimits::tail_events`](crate::RoomLimits::tail_events) entries, which a room may still hold.
        entries: &'a [StoredMessage],
    },
    /// All entries up to `head` are committed, although they may not have been reported.
    Head {
        /// The epoch of the entries.
        epoch: &'a str,
        /// The `seq` of the newest entry.
        head: u64,
    },
    /// The log has started a new epoch, with these bounds.
    Renewed(&'a LogBounds),
}

impl CommitSink {
    /// Returns a sink that calls `report` for each commit, for code that uses a room without a
    /// [`Chat`](crate::Chat).
    pub fn new(report: impl Fn(Commit<'_>) + Send + Sync + 'static) -> Self {
        Self { report: Arc::new(report), budget: None }
    }

    /// Sets the budget of the rooms in memory that report to this sink.
    pub(crate) fn with_budget(mut self, budget: Arc<MemoryBudget>) -> Self {
        self.budget = Some(budget);
        self
    }

    pub(crate) fn budget(&self) -> Option<&Arc<MemoryBudget>> {
        self.budget.as_ref()
    }

    /// Reports that an entry of this epoch is committed.
    pub fn publish(&self, epoch: &str, stored: &StoredMessage) {
        self.report(Commit::Entry { epoch, stored });
    }

    /// Reports that a deletion of this epoch has erased the content of these entries, and passes their present form. It
    /// is called before the deletion itself is [published](Self::publish).
    pub fn erase(&self, epoch: &str, entries: &[StoredMessage]) {
        self.report(Commit::Erased { epoch, entries });
    }

    /// Reports that all entries of this epoch up to `head` are committed. The chat reads those that were not reported
    /// from the log, once for all members. So it repairs the loss of the report of the last entry.
    pub fn advance(&self, epoch: &str, head: u64) {
        self.report(Commit::Head { epoch, head });
    }

    /// Reports that the log has started a new epoch. The members are closed with a code that lets them resume.
    pub fn renewed(&self, bounds: &LogBounds) {
        self.report(Commit::Renewed(bounds));
    }

    /// Passes on a report of another sink.
    pub fn report(&self, commit: Commit<'_>) {
        (self.report)(commit);
    }
}

impl fmt::Debug for CommitSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommitSink").finish_non_exhaustive()
    }
}
