mod admission;
mod builder;
mod drain;
mod govern;
mod publish;
mod refusals;
mod rooms;
mod threads;

pub use builder::Builder;
pub use drain::Drained;
pub use publish::describe_metrics;
pub use refusals::Refusals;

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::RwLock;

use crate::address::{LineLimit, LineLimits, PlainConnections};
use crate::bus::{BusEvent, BusSink, Notice};
use crate::room::{LiveRoom, Rooms};
use crate::session::{Identities, ReadQueues, Sessions};
use crate::stats::Counters;
use crate::{Health, Limits, RoomName, Stats, User, UserKey};

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
    pub(crate) closing: OnceLock<drain::Closing>,
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
    /// call. On another node, a connection may be closed that is newer by less than the time of a notice on its way.
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
    /// stay as they are, and open connections keep their rates, except that a `hello` takes the new rate of its user.
    /// No connection is closed.
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

    /// Returns the time after which a client that was refused must return.
    pub(crate) fn retry_after(&self) -> Duration {
        self.shared.sessions.returning.after_refusal()
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
            BusEvent::Notice(from, Notice::Kick { user, version }, delay) if *from != self.rooms.nodes.id => {
                self.sessions.kick_from(from, user, *version, delay);
            }
            BusEvent::Notice(from, notice, _) if self.rooms.nodes.has_joined(from) => {
                self.tell_connections(notice);
                self.rooms.receive(received);
            }
            _ => self.rooms.receive(received),
        }
    }

    /// Tells the connections of a user on this node what has happened on another one.
    fn tell_connections(&self, notice: &Notice) {
        match notice {
            Notice::Read { room, user, epoch, seq, .. } => {
                let is_of_epoch = |room: Arc<LiveRoom>| room.state().is_of_epoch(epoch);
                if self.rooms.find(room).is_none_or(is_of_epoch) {
                    self.sessions.inboxes(&user.key()).iter().for_each(|inbox| inbox.note_read(room, *seq));
                }
            }
            Notice::Followed { room, user, on } => {
                let change = (user.clone(), room.clone(), *on);
                self.sessions.announce_follow(&self.rooms, &self.reads, change);
            }
            _ => {}
        }
    }
}

impl fmt::Debug for Chat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chat").field("counts", &self.counts()).finish_non_exhaustive()
    }
}
