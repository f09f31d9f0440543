use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::follow_state::FollowChanges;
use super::kicks::RemoteKicks;
use super::mechanism::{Mechanism, Open};
use super::peers::Peers;
use super::returning::Returning;
use crate::address::{Addresses, CountedAddress};
use crate::room::{Inbox, wake_all};
use crate::{AdmitError, CloseCode, ConnectionLimits, NodeId, Refusals, User, UserKey};

/// The connections of a chat, and the phase of its drain.
#[derive(Debug)]
pub(crate) struct Sessions {
    limits: RwLock<ConnectionLimits>,
    /// The node's name, in front of each connection's id.
    node: Option<NodeId>,
    phase: AtomicU8,
    connections: AtomicUsize,
    /// The connections and sessions of each [`Mechanism`].
    open: [Open; Mechanism::ALL.len()],
    index: Mutex<Index>,
    remote_kicks: Mutex<RemoteKicks>,
    addresses: Mutex<Addresses>,
    refusals: Mutex<Refusals>,
    pub(super) follow_changes: FollowChanges,
    pub(crate) returning: Returning,
    /// Notified when the last connection has gone.
    all_closed: Notify,
}

/// The connections of each user.
#[derive(Debug, Default)]
struct Index {
    /// The number of the last connection.
    last: u64,
    admitted: HashMap<UserKey, Vec<Arc<Control>>>,
    /// Connections whose user is not known yet.
    reserved: BTreeMap<u64, Reserved>,
    kicks: u64,
    /// The kicks since the first of those connections.
    recent: VecDeque<Kick>,
}

/// A kick, which closes the connections of a user that are not newer.
#[derive(Debug)]
struct Kick {
    number: u64,
    user: UserKey,
    /// The time at which it was given. On another node, that is before it arrives here.
    at: Instant,
}

/// A connection whose user is not known yet.
#[derive(Debug)]
struct Reserved {
    /// The number of kicks before it.
    kicks: u64,
    since: Instant,
    /// `None` if the connection is not open yet. Otherwise it waits for a `hello`.
    control: Option<Arc<Control>>,
}

impl Index {
    /// Returns true if a user was kicked since a connection was reserved.
    fn was_kicked(&self, user: &UserKey, reserved: &Reserved) -> bool {
        let kicks = self.recent.iter().rev().take_while(|kick| kick.number > reserved.kicks);
        kicks.into_iter().any(|kick| kick.user == *user && kick.at >= reserved.since)
    }

    /// Forgets the kicks that no reserved connection can have missed.
    fn forget_kicks(&mut self) {
        let first = self.reserved.first_key_value().map_or(self.kicks, |(_, reserved)| reserved.kicks);
        while self.recent.front().is_some_and(|kick| kick.number <= first) {
            self.recent.pop_front();
        }
    }

    fn remove(&mut self, control: &Arc<Control>) {
        let Some(user) = control.user.as_ref().map(User::key) else { return };
        let Some(controls) = self.admitted.get_mut(&user) else { return };
        controls.retain(|other| !Arc::ptr_eq(other, control));
        if controls.is_empty() {
            self.admitted.remove(&user);
        }
    }
}

/// The notices of the chat to one session.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) inbox: Arc<Inbox>,
    /// `None` if the connection waits for a `hello`.
    user: Option<User>,
    /// The time from which the connection counts.
    since: Instant,
    kicked: AtomicBool,
}

/// The phase of a chat's drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Open,
    /// Sessions finish the operation in flight.
    Draining,
    /// Sessions end without waiting for the operation in flight.
    Ended,
}

impl Sessions {
    pub(crate) fn new(limits: ConnectionLimits, returning: Returning, node: Option<NodeId>) -> Self {
        Self {
            limits: RwLock::new(limits),
            node,
            phase: AtomicU8::new(Phase::Open as u8),
            connections: AtomicUsize::new(0),
            open: Default::default(),
            index: Mutex::default(),
            remote_kicks: Mutex::default(),
            addresses: Mutex::default(),
            refusals: Mutex::default(),
            follow_changes: FollowChanges::default(),
            returning,
            all_closed: Notify::new(),
        }
    }

    /// Sets the numbers of connections that are admitted from now on.
    pub(crate) fn set_limits(&self, limits: &ConnectionLimits) {
        *self.limits.write() = limits.clone();
    }

    /// Reserves one more connection, whose user is not known yet.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        mechanism: Mechanism,
    ) -> Result<Reservation, AdmitError> {
        let reserved = self.try_reserve(address, mechanism);
        reserved.inspect_err(|error| self.refusals.lock().count(*error))
    }

    fn try_reserve(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        mechanism: Mechanism,
    ) -> Result<Reservation, AdmitError> {
        let (max_connections, max_per_address) = {
            let limits = self.limits.read();
            (limits.max_connections, limits.max_per_address)
        };
        let one_more = |count: usize| (count < max_connections).then_some(count + 1);
        self.connections
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more)
            .map_err(|_| AdmitError::Full)?;
        let connection = {
            let mut index = self.index.lock();
            index.last += 1;
            let (connection, before) = (index.last, index.kicks);
            let since = Instant::now();
            index.reserved.insert(connection, Reserved { kicks: before, since, control: None });
            connection
        };
        let id = getrandom::u64().expect("the operating system always has random numbers once it is up");
        let sessions = Arc::clone(self);
        self.open[mechanism as usize].connections.fetch_add(1, Ordering::Relaxed);
        let mut reservation = Reservation {
            sessions,
            connection,
            id,
            address: None,
            control: None,
            mechanism,
            is_serving: false,
        };
        // The connection is counted before the phase is read, so that a drain cannot miss it.
        if self.phase() != Phase::Open {
            return Err(AdmitError::Draining);
        }
        if let Some(address) = address {
            let counted = self.addresses.lock().add(address, max_per_address);
            reservation.address = Some(counted.ok_or(AdmitError::FullForAddress)?);
        }
        Ok(reservation)
    }

    /// Returns the numbers of connections that were not admitted.
    pub(crate) fn refusals(&self) -> Refusals {
        *self.refusals.lock()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn serving(&self) -> usize {
        self.open.iter().map(|open| open.sessions.load(Ordering::SeqCst)).sum()
    }

    /// Returns the numbers of connections and sessions of a mechanism.
    pub(crate) fn open(&self, mechanism: Mechanism) -> (usize, usize) {
        let Open { connections, sessions } = &self.open[mechanism as usize];
        (connections.load(Ordering::Relaxed), sessions.load(Ordering::SeqCst))
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            0 => Phase::Open,
            1 => Phase::Draining,
            _ => Phase::Ended,
        }
    }

    /// Enters a phase. A phase is never followed by an earlier one.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::SeqCst);
        let index = self.index.lock();
        let waiting = index.reserved.values().filter_map(|reserved| reserved.control.as_ref());
        let controls: Vec<_> = index.admitted.values().flatten().chain(waiting).cloned().collect();
        drop(index);
        wake_sessions(&controls);
    }

    /// Returns the inboxes of the connections of a user.
    pub(crate) fn inboxes(&self, user: &UserKey) -> Vec<Arc<Inbox>> {
        let index = self.index.lock();
        index.admitted.get(user).into_iter().flatten().map(|control| Arc::clone(&control.inbox)).collect()
    }

    /// Closes all connections of a user. Returns their number.
    pub(crate) fn kick(&self, user: &UserKey) -> usize {
        self.kick_as_of(user, Duration::ZERO)
    }

    /// Closes the connections of a user that existed this long ago. Returns their number.
    fn kick_as_of(&self, user: &UserKey, delay: Duration) -> usize {
        let mut index = self.index.lock();
        // Under the lock, so that no connection is there that began later.
        let now = Instant::now();
        let at = now.checked_sub(delay).unwrap_or(now);
        index.kicks += 1;
        let kick = Kick { number: index.kicks, user: user.clone(), at };
        index.recent.push_back(kick);
        index.forget_kicks();
        let mut controls = index.admitted.get(user).cloned().unwrap_or_default();
        controls.retain(|control| control.since <= at);
        controls.iter().for_each(|control| control.kicked.store(true, Ordering::SeqCst));
        drop(index);
        let count = controls.len();
        wake_sessions(&controls);
        count
    }

    /// Closes the connections of a user that another node has kicked, at least this long ago. A repeated kick changes
    /// nothing.
    pub(crate) fn kick_from(&self, node: &NodeId, user: &UserKey, version: u64, delay: Duration) {
        if self.remote_kicks.lock().is_new(node, user, version) {
            self.kick_as_of(user, delay);
        }
    }

    /// Waits until no connection is left.
    pub(crate) async fn all_closed(&self) {
        loop {
            let all_closed = self.all_closed.notified();
            if self.connections() == 0 {
                return;
            }
            all_closed.await;
        }
    }
}

/// Wakes the tasks of sessions. The caller holds no lock: a waker may run a task at once, and the end of a session
/// locks the index.
fn wake_sessions(controls: &[Arc<Control>]) {
    wake_all(controls.iter().filter_map(|control| control.inbox.waker.take()));
}

/// One connection's share of [`ConnectionLimits::max_connections`](crate::ConnectionLimits::max_connections).
/// Dropping it gives the share back.
#[derive(Debug)]
pub(crate) struct Reservation {
    sessions: Arc<Sessions>,
    connection: u64,
    /// `None` until the user is identified.
    control: Option<Arc<Control>>,
    /// The connection's id on the wire and in the log. It does not show how many connections there were.
    id: u64,
    /// The address that the connection counts for. `None` if it is not known.
    address: Option<CountedAddress>,
    mechanism: Mechanism,
    /// True while the connection counts as a session.
    is_serving: bool,
}

impl Reservation {
    /// Gives the connection to a user. A user that was kicked since the reservation is closed at once. `max` replaces
    /// the number of connections that each user may have.
    ///
    /// # Errors
    ///
    /// [`AdmitError::FullForUser`] if the user has too many connections.
    pub(crate) fn admit(mut self, user: &User, max: Option<usize>) -> Result<Permit, AdmitError> {
        let control = self.register(user, max, Arc::default())?;
        Ok(Permit { reservation: self, control })
    }

    /// Opens the connection without a user, who is [admitted](Permit::admit) later.
    pub(crate) fn open(self) -> Permit {
        let (inbox, kicked) = (Arc::default(), AtomicBool::new(false));
        let control = Arc::new(Control { inbox, user: None, since: Instant::now(), kicked });
        if let Some(reserved) = self.sessions.index.lock().reserved.get_mut(&self.connection) {
            reserved.control = Some(Arc::clone(&control));
        }
        Permit { reservation: self, control }
    }

    fn register(
        &mut self,
        user: &User,
        max: Option<usize>,
        inbox: Arc<Inbox>,
    ) -> Result<Arc<Control>, AdmitError> {
        let key = user.key();
        let max = max.unwrap_or_else(|| self.sessions.limits.read().max_per_user);
        let mut index = self.sessions.index.lock();
        let count = index.admitted.get(&key).map_or(0, Vec::len);
        if max > 0 && count >= max {
            drop(index);
            self.sessions.refusals.lock().count(AdmitError::FullForUser);
            return Err(AdmitError::FullForUser);
        }
        let reserved = index.reserved.remove(&self.connection);
        let was_kicked = reserved.as_ref().is_some_and(|reserved| index.was_kicked(&key, reserved));
        let since = reserved.map_or_else(Instant::now, |reserved| reserved.since);
        let (user, kicked) = (Some(user.clone()), AtomicBool::new(was_kicked));
        let control = Arc::new(Control { inbox, user, since, kicked });
        // Most users have one connection.
        index.admitted.entry(key).or_insert_with(|| Vec::with_capacity(1)).push(Arc::clone(&control));
        index.forget_kicks();
        drop(index);
        self.control = Some(Arc::clone(&control));
        Ok(control)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut index = self.sessions.index.lock();
        match &self.control {
            Some(control) => index.remove(control),
            None => {
                index.reserved.remove(&self.connection);
                index.forget_kicks();
            }
        }
        drop(index);
        if let Some(address) = self.address.take() {
            self.sessions.addresses.lock().remove(address);
        }
        self.sessions.open[self.mechanism as usize].connections.fetch_sub(1, Ordering::Relaxed);
        if self.sessions.connections.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.sessions.all_closed.notify_waiters();
        }
    }
}

/// A connection that was admitted: one of a user, or one that waits for a `hello`.
#[derive(Debug)]
pub(crate) struct Permit {
    reservation: Reservation,
    control: Arc<Control>,
}

impl Permit {
    /// Gives a connection without a user to a user, as [`Reservation::admit`] does.
    pub(super) fn admit(&mut self, user: &User, max: Option<usize>) -> Result<(), AdmitError> {
        let inbox = Arc::clone(&self.control.inbox);
        self.control = self.reservation.register(user, max, inbox)?;
        Ok(())
    }

    /// Returns the connection's number in this process.
    pub(crate) fn connection(&self) -> u64 {
        self.reservation.connection
    }

    /// Returns the connection's name among all nodes.
    pub(crate) fn connection_id(&self) -> String {
        match &self.reservation.sessions.node {
            Some(node) => format!("{node}-{:016x}", self.reservation.id),
            None => format!("{:016x}", self.reservation.id),
        }
    }

    /// Returns the random number of the connection.
    pub(crate) fn random(&self) -> u64 {
        self.reservation.id
    }

    /// Returns the other connections of the user.
    pub(super) fn peers(&self) -> Peers {
        Peers { sessions: Arc::clone(&self.reservation.sessions), inbox: Arc::clone(self.inbox()) }
    }

    pub(crate) fn inbox(&self) -> &Arc<Inbox> {
        &self.control.inbox
    }

    pub(crate) fn phase(&self) -> Phase {
        self.reservation.sessions.phase()
    }

    /// Returns the time after which the client of a drained server must return.
    pub(super) fn reconnect_in(&self) -> Duration {
        self.reservation.sessions.returning.after_drain(self.connection())
    }

    /// Returns the code with which the host wants the connection closed at once.
    pub(crate) fn close_now(&self) -> Option<CloseCode> {
        if self.control.kicked.load(Ordering::SeqCst) {
            Some(CloseCode::Kicked)
        } else {
            (self.phase() == Phase::Ended).then_some(CloseCode::Restarting)
        }
    }

    fn serving(&self) -> &AtomicUsize {
        &self.reservation.sessions.open[self.reservation.mechanism as usize].sessions
    }

    /// Counts a session.
    pub(crate) fn begin_session(&mut self) {
        if !std::mem::replace(&mut self.reservation.is_serving, true) {
            self.serving().fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Ends the session. The connection may still be closing.
    pub(crate) fn end_session(&mut self) {
        if std::mem::take(&mut self.reservation.is_serving) {
            self.serving().fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.end_session();
        // The host may have dropped the session. Tasks that still have the inbox must not keep the socket open.
        self.inbox().outlet.detach();
    }
}
