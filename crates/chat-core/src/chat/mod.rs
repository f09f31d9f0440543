mod builder;
mod publish;
mod refusals;
mod rooms;

pub use builder::Builder;
pub use publish::describe_metrics;
pub use refusals::Refusals;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, Shared as SharedFuture};
use parking_lot::RwLock;
use tokio::time::{Instant, timeout};

use crate::address::{LineLimit, LineLimits, PlainConnection, PlainConnections};
use crate::bus::{BusEvent, BusSink, Notice};
use crate::room::Rooms;
use crate::session::{
    Identification, Identities, Mechanism, Permit, Phase, ReadQueues, Reservation, Sessions, Ticket,
};
use crate::stats::Counters;
use crate::{
    AdmitError, Health, Identify, Identity, Limits, RoomName, Stats, TrustedProxies, Unavailable, User,
    UserKey,
};

/// The part of a drain's time that is reserved for the store. It is at most a fifth of the drain's time.
const CLOSE_SHARE: Duration = Duration::from_secs(1);

/// A chat: all its rooms and all its sessions. A clone is another handle to the same chat.
///
/// ```
/// use chat_core::{Chat, Limits};
///
/// let limits = Limits::default().with(|limits| limits.connection.max_connections = 5_000);
/// let chat = Chat::builder().limits(limits).build();
/// assert_eq!(chat.counts().connections, 0);
/// ```
#[derive(Clone)]
pub struct Chat {
    shared: Arc<Shared>,
}

/// The closing of a store, for each drain that waits for it.
type Closing = SharedFuture<BoxFuture<'static, Result<(), Unavailable>>>;

pub(crate) struct Shared {
    /// The limits of connections that are admitted from now on.
    pub(crate) limits: RwLock<Arc<Limits>>,
    pub(crate) rooms: Arc<Rooms>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) identities: Arc<Identities>,
    pub(crate) reads: Arc<ReadQueues>,
    pub(crate) lines: LineLimits,
    pub(crate) plain: Arc<PlainConnections>,
    /// The number of the next subscription. It counts down, since the numbers of connections count up.
    pub(crate) subscriptions: AtomicU64,
    /// The closing of the store, once it has begun. The store is closed once.
    pub(crate) closing: OnceLock<Closing>,
}

/// The numbers of connections, sessions and rooms that a chat has open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Connections, including those that are being upgraded or closed.
    pub connections: usize,
    /// Sessions.
    pub sessions: usize,
    /// Open rooms.
    pub rooms: usize,
    /// Bytes that count in [`RoomLimits::memory_bytes`](crate::RoomLimits::memory_bytes).
    pub memory_bytes: usize,
}

/// The result of a drain.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Drained {
    /// Connections at the beginning.
    pub connections: usize,
    /// Connections that were still open at the end.
    pub abandoned: usize,
    /// The result of closing the store, or an error if the limit was over before. A later drain then waits for the same
    /// closing. No acknowledged message is lost, even after an error.
    pub store: Result<(), Unavailable>,
}

impl Default for Chat {
    /// Returns a chat of guests with rooms in memory.
    fn default() -> Self {
        Self::builder().build()
    }
}

impl Chat {
    /// Returns a builder.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    /// Admits a user to one session, over any connection.
    ///
    /// [`Endpoint`](crate::Endpoint) calls it for WebSockets. Other transports call it themselves and serve the
    /// session with [`Ticket::serve`].
    ///
    /// ```
    /// use chat_core::{AdmitError, Chat, Identity, Limits, User};
    ///
    /// let limits = Limits::default().with(|limits| limits.connection.max_connections = 1);
    /// let chat = Chat::builder().limits(limits).build();
    /// let ticket = chat.admit(Identity::from(User::new("7", "Ann")?))?;
    /// assert_eq!(ticket.user().map(|user| user.name()), Some("Ann"));
    /// assert_eq!(chat.admit(chat.next_guest()).err(), Some(AdmitError::Full));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`AdmitError::Full`] beyond [`ConnectionLimits::max_connections`](crate::ConnectionLimits::max_connections);
    /// [`AdmitError::FullForUser`] beyond [`ConnectionLimits::max_per_user`](crate::ConnectionLimits::max_per_user);
    /// [`AdmitError::Draining`] once the chat is draining. Addresses are counted only for an
    /// [`Endpoint`](crate::Endpoint).
    pub fn admit(&self, identity: Identity) -> Result<Ticket, AdmitError> {
        self.admit_reserved(self.reserve(None, Mechanism::Other)?, identity, None)
    }

    /// Reserves a connection for a user that is not identified yet.
    pub(crate) fn reserve(
        &self,
        address: Option<IpAddr>,
        mechanism: Mechanism,
    ) -> Result<Reservation, AdmitError> {
        self.shared.sessions.reserve(address, mechanism)
    }

    pub(crate) fn admit_reserved(
        &self,
        reservation: Reservation,
        identity: Identity,
        peer: Option<SocketAddr>,
    ) -> Result<Ticket, AdmitError> {
        let permit = reservation.admit(&identity.user, identity.limits.max_connections)?;
        let mut ticket = self.ticket(permit, Some(&identity.user), peer);
        self.shared.identities.apply(identity, &mut ticket);
        Ok(ticket)
    }

    /// Opens a connection whose user is named by its `hello`.
    pub(crate) fn open_reserved(&self, reservation: Reservation, peer: Option<SocketAddr>) -> Ticket {
        self.ticket(reservation.open(), None, peer)
    }

    fn ticket(&self, permit: Permit, user: Option<&User>, peer: Option<SocketAddr>) -> Ticket {
        let (rooms, reads) = (Arc::clone(&self.shared.rooms), Arc::clone(&self.shared.reads));
        let (limits, lines) =
            (Arc::clone(&self.shared.limits.read()), Arc::clone(&self.shared.lines.upgraded));
        Ticket::new((rooms, limits), reads, lines, permit, user, peer)
    }

    /// Returns the check of credentials by the host, whose users get the rights and the rates of this chat.
    pub(crate) fn identification(&self, identify: Option<Arc<dyn Identify>>) -> Arc<Identification> {
        Arc::new(Identification::new(identify, Arc::clone(&self.shared.identities)))
    }

    /// Counts a connection for the address of its peer, while it serves plain requests. An adapter calls it for each
    /// connection that it accepts, and drops the result when the connection ends or becomes a session: then
    /// [`ConnectionLimits::max_per_address`](crate::ConnectionLimits::max_per_address) counts it. Connections of
    /// [trusted proxies](crate::Endpoint::trust_proxies) do not count.
    ///
    /// ```
    /// use chat_core::{AdmitError, Chat, Limits};
    ///
    /// let limits = Limits::default().with(|limits| {
    ///     limits.connection.max_per_address = 1;
    ///     limits.connection.plain_allowance = 0;
    /// });
    /// let chat = Chat::builder().limits(limits).build();
    /// let connection = chat.accept("192.0.2.7:50000".parse()?)?;
    /// assert_eq!(chat.accept("192.0.2.7:50001".parse()?).err(), Some(AdmitError::FullForAddress));
    /// drop(connection);
    /// assert!(chat.accept("192.0.2.7:50002".parse()?).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`AdmitError::FullForAddress`] beyond
    /// [`ConnectionLimits::max_plain_per_address`](crate::ConnectionLimits::max_plain_per_address). The adapter closes
    /// the connection.
    pub fn accept(&self, peer: SocketAddr) -> Result<PlainConnection, AdmitError> {
        self.shared.plain.accept(peer)
    }

    /// Trusts proxies, whose connections are those of many clients.
    pub(crate) fn trust_proxies(&self, proxies: Arc<TrustedProxies>) {
        self.shared.plain.exempt(proxies);
    }

    /// Returns the identity of a guest that has not chosen a name: see [`User::unnamed_guest`]. Its id is random, so
    /// it is not used again, not even by another server or after a restart.
    ///
    /// # Panics
    ///
    /// If the operating system has no random numbers.
    pub fn next_guest(&self) -> Identity {
        let random = getrandom::u64().expect("the operating system always has random numbers once it is up");
        User::unnamed_guest(random).into()
    }

    /// Returns the users in a room now, sorted by name. The users on other nodes are known while the room is open here.
    ///
    /// ```
    /// use chat_core::Chat;
    ///
    /// let (chat, lobby) = (Chat::default(), "lobby".parse()?);
    /// assert!(chat.members(&lobby).is_empty());
    /// assert!(chat.open_rooms().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn members(&self, room: &RoomName) -> Vec<User> {
        self.rooms().find(room).map(|room| room.members()).unwrap_or_default()
    }

    /// Returns the names of the open rooms, sorted. A store may keep more.
    pub fn open_rooms(&self) -> Vec<RoomName> {
        let mut names = self.rooms().names();
        names.sort_unstable();
        names
    }

    /// Returns the open rooms that a user is in now, sorted. It looks into each open room.
    pub fn rooms_of(&self, user: impl Into<UserKey>) -> Vec<RoomName> {
        let user = user.into();
        let is_there = |name: &RoomName| {
            self.rooms().find(name).is_some_and(|room| room.state().roster().contains(&user))
        };
        self.open_rooms().into_iter().filter(is_there).collect()
    }

    /// Closes all connections of a user with 4503, on all nodes. Returns the number of those on this node.
    ///
    /// The user is a [`User`] or a [`UserKey`]: the host needs only the id. The key of a guest is the guest's name, so
    /// all guests of one name are closed. A user of the host service who has that name as the id is another user.
    ///
    /// The call concerns the connections that exist now, including those whose user is being identified. The user may
    /// connect again, unless [`Identify`](crate::Identify) refuses it. A node that is not reachable does not get the
    /// call.
    ///
    /// ```
    /// use chat_core::{Chat, Identity, User, UserKey};
    ///
    /// let chat = Chat::default();
    /// let _ticket = chat.admit(Identity::from(User::new("7", "Ann")?))?;
    /// assert_eq!(chat.kick(UserKey::new("7")), 1);
    /// assert_eq!(chat.kick(UserKey::guest("7")?), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn kick(&self, user: impl Into<UserKey>) -> usize {
        let user = user.into();
        let nodes = &self.rooms().nodes;
        nodes.publish(&Notice::Kick { user: user.clone(), version: nodes.next_version() });
        self.shared.sessions.kick(&user)
    }

    /// Returns the numbers of open connections, sessions and rooms.
    pub fn counts(&self) -> Counts {
        Counts {
            connections: self.shared.sessions.connections(),
            sessions: self.shared.sessions.serving(),
            rooms: self.rooms().len(),
            memory_bytes: self.rooms().budget.used(),
        }
    }

    /// Returns the counters since the start: of refusals, closes, errors and bytes.
    ///
    /// ```
    /// use chat_core::{Chat, Limits};
    ///
    /// let limits = Limits::default().with(|limits| limits.connection.max_connections = 0);
    /// let chat = Chat::builder().limits(limits).build();
    /// assert!(chat.admit(chat.next_guest()).is_err());
    /// assert_eq!(chat.stats().refusals.full, 1);
    /// ```
    pub fn stats(&self) -> Stats {
        let refusals = Refusals { plain: self.shared.plain.refused(), ..self.shared.sessions.refusals() };
        self.counters().stats(refusals)
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.rooms().counters
    }

    /// Changes limits of the running chat. For connections that are admitted from now on, these are
    /// [`max_connections`](crate::ConnectionLimits::max_connections),
    /// [`max_per_user`](crate::ConnectionLimits::max_per_user),
    /// [`max_per_address`](crate::ConnectionLimits::max_per_address),
    /// [`plain_allowance`](crate::ConnectionLimits::plain_allowance), and all of [`Limits::rates`]. All other limits
    /// stay as they are, and open connections keep their rates. No connection is closed.
    ///
    /// ```
    /// use chat_core::{AdmitError, Chat, Limits};
    ///
    /// let chat = Chat::default();
    /// let first = chat.admit(chat.next_guest())?;
    /// chat.set_limits(&Limits::default().with(|limits| limits.connection.max_connections = 1));
    /// assert_eq!(chat.admit(chat.next_guest()).err(), Some(AdmitError::Full));
    /// drop(first);
    /// assert!(chat.admit(chat.next_guest()).is_ok());
    /// # Ok::<(), AdmitError>(())
    /// ```
    pub fn set_limits(&self, limits: &Limits) {
        let limits = limits.clone().clamped();
        self.shared.sessions.set_limits(&limits.connection);
        self.shared.plain.set_limits(&limits.connection);
        self.shared.identities.set_rate(limits.rates.user);
        self.shared.lines.set_log_lines(limits.rates.log_lines);
        let changed = Limits::clone(self.limits()).with(|changed| changed.rates = limits.rates);
        *self.shared.limits.write() = Arc::new(changed);
    }

    /// Returns the limits that the chat was built with. [`set_limits`](Self::set_limits) does not change them.
    pub fn limits(&self) -> &Arc<Limits> {
        &self.rooms().limits
    }

    /// Returns the state of the store.
    pub fn health(&self) -> Health {
        self.rooms().store.health()
    }

    /// Returns true once [`drain`](Self::drain) has begun.
    pub fn is_draining(&self) -> bool {
        self.shared.sessions.phase() != Phase::Open
    }

    /// Ends the chat within `limit`, without losing an acknowledged message.
    ///
    /// No further connection is admitted. Each session finishes the commands that it has, sends `closing`, and closes
    /// with 1012. Shortly before `limit` is over, the remaining sessions are closed without waiting for their
    /// commands. Then the store is closed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use chat_core::Chat;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let chat = Chat::default();
    /// let drained = chat.drain(Duration::from_secs(20)).await;
    /// assert_eq!((drained.connections, drained.abandoned), (0, 0));
    /// assert!(drained.store.is_ok() && chat.is_draining());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If it is awaited outside a tokio runtime.
    pub async fn drain(&self, limit: Duration) -> Drained {
        let started = Instant::now();
        let sessions = &self.shared.sessions;
        let connections = sessions.connections();
        let limit_of_sessions = limit - CLOSE_SHARE.min(limit / 5);
        sessions.enter(Phase::Draining);
        // The last frames of a session and its closing handshake each have the close timeout.
        let closing = (self.limits().connection.close_timeout * 2).min(limit_of_sessions / 2);
        if timeout(limit_of_sessions - closing, sessions.all_closed()).await.is_err() {
            sessions.enter(Phase::Ended);
            // The connections that are left are counted below.
            let _left = timeout(closing, sessions.all_closed()).await;
        }
        sessions.enter(Phase::Ended);
        let abandoned = sessions.connections();
        self.rooms().drained.send_replace(true);
        // The process may end before the last endpoint is dropped.
        self.shared.lines.log_counts();
        let left = limit.saturating_sub(started.elapsed());
        let store = timeout(left, self.close_store()).await;
        let store = store.unwrap_or_else(|_| Err(Unavailable::new("the store was not closed in time")));
        Drained { connections, abandoned, store }
    }

    /// Closes the store. Each call waits for the same closing, which continues if a call is dropped.
    fn close_store(&self) -> Closing {
        let begin = || {
            let store = Arc::clone(&self.rooms().store);
            let close = async move { AssertUnwindSafe(store.close()).catch_unwind().await };
            let closed = close.map(|closed| {
                closed.unwrap_or_else(|_| Err(Unavailable::new("the store panicked while it was closed")))
            });
            let closing = closed.boxed().shared();
            tokio::spawn(closing.clone());
            closing
        };
        self.shared.closing.get_or_init(begin).clone()
    }

    pub(crate) fn refusal_lines(&self) -> Arc<LineLimit> {
        Arc::clone(&self.shared.lines.refusals)
    }

    /// Returns the receiver of the bus's notices, which ends with the chat.
    pub(crate) fn bus_sink(&self) -> BusSink {
        let shared = Arc::downgrade(&self.shared);
        BusSink::new(move |received| {
            if let Some(shared) = shared.upgrade() {
                shared.receive(received);
            }
        })
    }

    fn rooms(&self) -> &Arc<Rooms> {
        &self.shared.rooms
    }
}

impl Shared {
    /// Takes a notice of the bus.
    fn receive(&self, received: BusEvent<'_>) {
        match received {
            BusEvent::Notice(from, Notice::Kick { user, version }) if *from != self.rooms.nodes.id => {
                self.sessions.kick_from(from, user, *version);
            }
            _ => self.rooms.receive(received),
        }
    }
}

impl fmt::Debug for Chat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chat").field("counts", &self.counts()).finish_non_exhaustive()
    }
}
