use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use chat_proto::handshake::Refusal;
use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::clocks;
use crate::inbox::Inbox;
use crate::memory::unix_millis;
use crate::rooms::{OpenLog, Rooms};
use crate::{
    AppendError, AppendReceipt, CommitSink, ErrorCode, Limits, MemoryRoom, Message, NewMessage, Page, Range,
    Room, RoomName, Search, SearchError, SearchPage, Text, Unavailable, User,
};

/// The chat: all rooms and all sessions. Cloning gives another handle to the same chat.
///
/// ```
/// use chat_core::{Chat, Limits};
///
/// let chat: Chat = Chat::builder().limits(Limits::default().with(|limits| { limits.connection.max_connections = 5_000; })).build();
/// assert_eq!(chat.counts().connections, 0);
/// ```
pub struct Chat<M: Message = Text> {
    shared: Arc<Shared>,
    message: PhantomData<fn() -> M>,
}

struct Shared {
    limits: Arc<Limits>,
    rooms: Arc<Rooms>,
    phase: AtomicU8,
    connections: AtomicUsize,
    next_connection: AtomicU64,
    next_guest: AtomicU64,
    /// Those who are to hear that the phase has changed.
    sessions: Mutex<HashMap<u64, Arc<Inbox>>>,
    /// Told when the last connection is gone.
    deserted: Notify,
}

/// How far the chat is on its way to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Open,
    /// Sessions finish what they have in hand.
    Draining,
    /// Sessions end where they are.
    Ended,
}

/// How much there is of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Connections, those still being upgraded or closed included.
    pub connections: usize,
    /// Sessions.
    pub sessions: usize,
    /// Rooms that are open.
    pub rooms: usize,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were there when it began.
    pub connections: usize,
    /// Those that were still there at its end.
    pub abandoned: usize,
}

impl<M: Message> Chat<M> {
    /// A chat to be set up.
    pub fn builder() -> Builder<M> {
        Builder {
            limits: Limits::default(),
            open_log: Box::new(|name, limits, outlet| Arc::new(MemoryRoom::new(name, limits, outlet))),
            guests: 0,
            message: PhantomData,
        }
    }

    /// Posts a message into a room, as `user`. With a `key`, a repeated call posts it once.
    ///
    /// # Errors
    ///
    /// What [`Message::parse`] has against the message; [`ErrorCode::BodyTooLarge`] if it does not fit in a
    /// frame; [`ErrorCode::BadKey`], [`ErrorCode::KeyConflict`]; [`ErrorCode::Unavailable`] if the log could not
    /// take it in time, after which a retry with the same key is safe.
    pub async fn post(
        &self,
        room: &RoomName,
        user: &User,
        message: &M,
        key: Option<&str>,
    ) -> Result<AppendReceipt, ErrorCode> {
        let limits = self.limits();
        if key.is_some_and(|key| key.is_empty() || key.len() > limits.wire.max_key_bytes) {
            return Err(ErrorCode::BadKey);
        }
        let body = RawValue::from_string(message.to_json()).map_err(|_| ErrorCode::BadBody)?;
        if body.get().len() > limits.wire.max_frame_bytes {
            return Err(ErrorCode::BodyTooLarge);
        }
        let room = self.shared.rooms.open(room)?;
        let draft = NewMessage { user: user.clone(), key: key.map(ToOwned::to_owned), body };
        append::<M>(&*room.log, draft, &self.shared.rooms).await
    }

    /// Reads part of a room's log.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::Unavailable`] if the log cannot be read in time.
    pub async fn history(&self, room: &RoomName, range: Range) -> Result<Page, ErrorCode> {
        let room = self.shared.rooms.open(room)?;
        within(&self.shared.rooms, room.log.read(range)).await
    }

    /// Searches a room's log.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::BadQuery`], [`ErrorCode::Unsupported`] if the log cannot search, [`ErrorCode::Unavailable`] if
    /// it does not in time.
    pub async fn search(&self, room: &RoomName, what: Search) -> Result<SearchPage, ErrorCode> {
        if !what.is_valid(self.limits()) {
            return Err(ErrorCode::BadQuery);
        }
        let room = self.shared.rooms.open(room)?;
        search(&*room.log, what, &self.shared.rooms).await
    }

    /// The users who are in a room now, sorted by name.
    pub fn members(&self, room: &RoomName) -> Vec<User> {
        self.shared.rooms.find(room).map(|room| room.members()).unwrap_or_default()
    }

    /// How much there is of everything.
    pub fn counts(&self) -> Counts {
        Counts {
            connections: self.shared.connections.load(Ordering::SeqCst),
            sessions: self.shared.sessions.lock().len(),
            rooms: self.shared.rooms.len(),
        }
    }

    /// What was decided when the chat was built.
    pub fn limits(&self) -> &Arc<Limits> {
        &self.shared.limits
    }

    /// Whether [`drain`](Self::drain) has begun.
    pub fn is_draining(&self) -> bool {
        self.phase() != Phase::Open
    }

    /// Ends the chat without losing anything: no connection is let in any more, every session finishes the
    /// commands it has, tells its client, and closes with 1012. Shortly before `limit` is over, those that are
    /// not done are closed as they are.
    pub async fn drain(&self, limit: Duration) -> Drained {
        let connections = self.counts().connections;
        self.enter(Phase::Draining);
        // The last words and the closing handshake of a session have this long each.
        let farewell = (self.limits().connection.close_timeout * 2).min(limit / 2);
        if timeout(limit - farewell, self.deserted()).await.is_err() {
            self.enter(Phase::Ended);
            // What is left after this is counted.
            let _left = timeout(farewell, self.deserted()).await;
        }
        self.enter(Phase::Ended);
        Drained { connections, abandoned: self.counts().connections }
    }

    /// Waits until no connection is left.
    async fn deserted(&self) {
        loop {
            let deserted = self.shared.deserted.notified();
            if self.shared.connections.load(Ordering::SeqCst) == 0 {
                return;
            }
            deserted.await;
        }
    }

    fn enter(&self, phase: Phase) {
        // There is no way back, whoever else drains.
        self.shared.phase.fetch_max(phase as u8, Ordering::SeqCst);
        for inbox in self.shared.sessions.lock().values() {
            inbox.waker.wake();
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.shared.phase.load(Ordering::SeqCst) {
            0 => Phase::Open,
            1 => Phase::Draining,
            _ => Phase::Ended,
        }
    }

    pub(crate) fn rooms(&self) -> &Arc<Rooms> {
        &self.shared.rooms
    }

    pub(crate) fn next_guest(&self) -> User {
        User::numbered_guest(self.shared.next_guest.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Leave to have one connection more.
    pub(crate) fn permit(&self) -> Result<Permit, Refusal> {
        let max = self.limits().connection.max_connections;
        let one_more = |count: usize| (count < max).then_some(count + 1);
        self.shared
            .connections
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more)
            .map_err(|_| Refusal::Overloaded)?;
        let connection = self.shared.next_connection.fetch_add(1, Ordering::Relaxed) + 1;
        let permit = Permit { shared: Arc::clone(&self.shared), connection };
        // Counted first, asked then: a drain that does not see this connection is seen by it.
        if self.is_draining() { Err(Refusal::Draining) } else { Ok(permit) }
    }
}

/// Appends a message if it is one, in the time that a log has.
pub(crate) async fn append<M: Message>(
    log: &dyn Room,
    draft: NewMessage,
    rooms: &Rooms,
) -> Result<AppendReceipt, ErrorCode> {
    let message = M::parse(&draft.body, &rooms.limits)?;
    tracing::debug!(kind = message.kind(), "append");
    let appended = async {
        match log.append(draft).await {
            Ok(appended) => Ok(Ok(appended)),
            Err(AppendError::KeyConflict) => Ok(Err(ErrorCode::KeyConflict)),
            Err(AppendError::Unavailable(cause)) => Err(Unavailable(cause)),
        }
    };
    within(rooms, appended).await?
}

/// Searches, in the time that a log has.
pub(crate) async fn search(log: &dyn Room, what: Search, rooms: &Rooms) -> Result<SearchPage, ErrorCode> {
    let found = async {
        match log.search(what).await {
            Ok(found) => Ok(Ok(found)),
            Err(SearchError::Unsupported) => Ok(Err(ErrorCode::Unsupported)),
            Err(SearchError::BadQuery) => Ok(Err(ErrorCode::BadQuery)),
            Err(SearchError::Unavailable(cause)) => Err(Unavailable(cause)),
        }
    };
    within(rooms, found).await?
}

/// Waits for a log's answer as long as a log has.
pub(crate) async fn within<T>(
    rooms: &Rooms,
    answer: impl Future<Output = Result<T, Unavailable>>,
) -> Result<T, ErrorCode> {
    let limit = rooms.limits.rooms.call_timeout;
    let cause = match clocks::timeout(limit, answer).await {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(Unavailable(cause))) => cause,
        Err(_) => format!("no answer within {limit:?}"),
    };
    rooms.complaints.unavailable(&cause);
    Err(ErrorCode::Unavailable)
}

impl<M: Message> Clone for Chat<M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), message: PhantomData }
    }
}

impl<M: Message> Default for Chat<M> {
    fn default() -> Self {
        Self::builder().build()
    }
}

impl<M: Message> std::fmt::Debug for Chat<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chat").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

/// Sets up a [`Chat`].
pub struct Builder<M: Message> {
    limits: Limits,
    open_log: Box<OpenLog>,
    /// The number before that of the first guest.
    guests: u64,
    message: PhantomData<fn() -> M>,
}

impl<M: Message> Builder<M> {
    /// Sets the limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Keeps rooms elsewhere than in memory. `open` makes or finds the log of a room; it does not wait, and
    /// may be called again for a room that was idle.
    #[must_use]
    pub fn rooms(
        mut self,
        open: impl Fn(RoomName, Arc<Limits>, CommitSink) -> Arc<dyn Room> + Send + Sync + 'static,
    ) -> Self {
        self.open_log = Box::new(open);
        // The rooms may know the guests of an earlier process: none of these is to be one of them.
        self.guests = unix_millis();
        self
    }

    /// The chat.
    pub fn build(self) -> Chat<M> {
        let limits = Arc::new(self.limits.clamped());
        let shared = Shared {
            rooms: Arc::new(Rooms::new(Arc::clone(&limits), self.open_log)),
            limits,
            phase: AtomicU8::new(Phase::Open as u8),
            connections: AtomicUsize::new(0),
            next_connection: AtomicU64::new(0),
            next_guest: AtomicU64::new(self.guests),
            sessions: Mutex::default(),
            deserted: Notify::new(),
        };
        Chat { shared: Arc::new(shared), message: PhantomData }
    }
}

impl<M: Message> std::fmt::Debug for Builder<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// One connection's place among [`ConnectionLimits::max_connections`]; dropping it gives the place back.
pub(crate) struct Permit {
    shared: Arc<Shared>,
    connection: u64,
}

impl Permit {
    /// The connection's number in this process.
    pub(crate) fn connection(&self) -> u64 {
        self.connection
    }

    /// Counts a session and lets it hear of phases.
    pub(crate) fn enlist(&self, inbox: Arc<Inbox>) {
        self.shared.sessions.lock().insert(self.connection, inbox);
    }

    /// The session is over; the connection may still be closing.
    pub(crate) fn discharge(&self) {
        self.shared.sessions.lock().remove(&self.connection);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.discharge();
        if self.shared.connections.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.shared.deserted.notify_waiters();
        }
    }
}
