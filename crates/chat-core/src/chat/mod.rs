mod builder;
mod rooms;

pub use builder::Builder;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout};

use crate::bus::{BusSink, Notice, Received};
use crate::room::Rooms;
use crate::session::{Phase, Reservation, Sessions, Ticket};
use crate::{AdmitError, Authorize, Health, Identity, Limits, NodeId, RoomName, Unavailable, User};

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

pub(crate) struct Shared {
    pub(crate) rooms: Arc<Rooms>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) authorize: Option<Arc<dyn Authorize>>,
    /// The prefix of guests' numbers: the name of this node.
    pub(crate) node: Option<NodeId>,
    /// The number of the last guest.
    pub(crate) guests: AtomicU64,
    /// The number of the next subscription. It counts down, since the numbers of connections count up.
    pub(crate) subscriptions: AtomicU64,
    /// The result of closing the store, which is closed once.
    pub(crate) closed: OnceCell<Result<(), Unavailable>>,
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
}

/// The result of a drain.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Drained {
    /// Connections at the beginning.
    pub connections: usize,
    /// Connections that were still open at the end.
    pub abandoned: usize,
    /// The result of closing the store. No acknowledged message is lost, even after an error.
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
    /// assert_eq!(ticket.user().name(), "Ann");
    /// assert_eq!(chat.admit(chat.next_guest()).err(), Some(AdmitError::Full));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`AdmitError::Full`] beyond [`ConnectionLimits::max_connections`](crate::ConnectionLimits::max_connections);
    /// [`AdmitError::Draining`] once the chat drains.
    pub fn admit(&self, identity: Identity) -> Result<Ticket, AdmitError> {
        Ok(self.admit_reserved(self.reserve()?, identity))
    }

    /// Reserves a connection for a user that is not identified yet.
    pub(crate) fn reserve(&self) -> Result<Reservation, AdmitError> {
        self.shared.sessions.reserve()
    }

    pub(crate) fn admit_reserved(&self, reservation: Reservation, Identity { user }: Identity) -> Ticket {
        let permit = reservation.admit(&user);
        Ticket::new(Arc::clone(&self.shared.rooms), self.shared.authorize.clone(), permit, user)
    }

    /// Returns the identity of a guest that has not chosen a name: `guest-1`, `guest-2`, and so on.
    pub fn next_guest(&self) -> Identity {
        let number = self.shared.guests.fetch_add(1, Ordering::Relaxed) + 1;
        User::numbered_guest(self.shared.node.as_ref().map(NodeId::as_str), number).into()
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

    /// Returns the open rooms that a user is in now, sorted.
    pub fn rooms_of(&self, user: &User) -> Vec<RoomName> {
        let is_there = |name: &RoomName| {
            self.rooms().find(name).is_some_and(|room| room.state().roster().contains(user))
        };
        self.open_rooms().into_iter().filter(is_there).collect()
    }

    /// Closes all connections of a user with 4503, on all nodes. Returns the number of those on this node.
    ///
    /// The user may connect again, unless [`Identify`](crate::Identify) refuses it.
    ///
    /// ```
    /// use chat_core::{Chat, Identity, User};
    ///
    /// let (chat, ann) = (Chat::default(), User::new("7", "Ann")?);
    /// let _ticket = chat.admit(Identity::from(ann.clone()))?;
    /// assert_eq!(chat.kick(&ann), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn kick(&self, user: &User) -> usize {
        let key = user.key();
        let rooms = self.rooms();
        if let Some(bus) = &rooms.bus {
            bus.publish(&rooms.node, &Notice::Kick { user: key.clone() });
        }
        self.shared.sessions.kick(&key)
    }

    /// Returns the numbers of open connections, sessions and rooms.
    pub fn counts(&self) -> Counts {
        Counts {
            connections: self.shared.sessions.connections(),
            sessions: self.shared.sessions.serving(),
            rooms: self.rooms().len(),
        }
    }

    /// Returns the limits.
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
        let left = limit.saturating_sub(started.elapsed());
        let close = || async {
            let closed = timeout(left, self.rooms().store.close()).await;
            closed.unwrap_or_else(|_| Err(Unavailable::new("the store was not closed in time")))
        };
        let store = self.shared.closed.get_or_init(close).await.clone();
        Drained { connections, abandoned, store }
    }

    /// Returns the receiver of the bus's notices, which ends with the chat.
    pub(crate) fn bus_sink(&self) -> BusSink {
        let shared = Arc::downgrade(&self.shared);
        BusSink::new(move |received| {
            if let Some(shared) = shared.upgrade() {
                shared.receive(&received);
            }
        })
    }

    fn rooms(&self) -> &Arc<Rooms> {
        &self.shared.rooms
    }
}

impl Shared {
    /// Takes a notice of the bus.
    fn receive(&self, received: &Received<'_>) {
        if let Received::Notice(_, Notice::Kick { user }) = received {
            self.sessions.kick(user);
        } else {
            self.rooms.receive(received);
        }
    }
}

impl fmt::Debug for Chat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chat").field("counts", &self.counts()).finish_non_exhaustive()
    }
}
