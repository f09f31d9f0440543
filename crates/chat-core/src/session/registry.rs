use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

use chat_proto::handshake::Refusal;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::room::Inbox;
use crate::{CloseCode, NodeId, User, UserKey};

/// The connections of a chat, and the phase of its drain.
#[derive(Debug)]
pub(crate) struct Sessions {
    max: usize,
    /// The node's name, in front of each connection's id.
    node: Option<NodeId>,
    phase: AtomicU8,
    connections: AtomicUsize,
    serving: AtomicUsize,
    next: AtomicU64,
    slots: Mutex<HashMap<u64, Slot>>,
    /// Notified when the last connection has gone.
    all_closed: Notify,
}

/// One connection.
#[derive(Debug)]
enum Slot {
    /// The host identifies the user. These users were kicked meanwhile.
    Reserved(Vec<UserKey>),
    Admitted(Arc<Control>),
}

/// The notices of the chat to one session.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) inbox: Arc<Inbox>,
    user: UserKey,
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
    pub(crate) fn new(max: usize, node: Option<NodeId>) -> Self {
        Self {
            max,
            node,
            phase: AtomicU8::new(Phase::Open as u8),
            connections: AtomicUsize::new(0),
            serving: AtomicUsize::new(0),
            next: AtomicU64::new(0),
            slots: Mutex::default(),
            all_closed: Notify::new(),
        }
    }

    /// Reserves one more connection, whose user is not known yet.
    pub(crate) fn reserve(self: &Arc<Self>) -> Result<Reservation, Refusal> {
        let one_more = |count: usize| (count < self.max).then_some(count + 1);
        self.connections
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more)
            .map_err(|_| Refusal::Overloaded)?;
        let connection = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        self.slots.lock().insert(connection, Slot::Reserved(Vec::new()));
        let id = getrandom::u64().expect("the operating system always has random numbers once it is up");
        let reservation = Reservation { sessions: Arc::clone(self), connection, id };
        // The connection is counted before the phase is read, so that a drain cannot miss it.
        if self.phase() == Phase::Open { Ok(reservation) } else { Err(Refusal::Draining) }
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn serving(&self) -> usize {
        self.serving.load(Ordering::SeqCst)
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
        for slot in self.slots.lock().values() {
            if let Slot::Admitted(control) = slot {
                control.inbox.waker.wake();
            }
        }
    }

    /// Closes all connections of a user. Returns their number.
    pub(crate) fn kick(&self, user: &UserKey) -> usize {
        let mut count = 0;
        for slot in self.slots.lock().values_mut() {
            match slot {
                Slot::Reserved(kicked) => kicked.push(user.clone()),
                Slot::Admitted(control) if control.user == *user => {
                    control.kicked.store(true, Ordering::SeqCst);
                    control.inbox.waker.wake();
                    count += 1;
                }
                Slot::Admitted(_) => {}
            }
        }
        count
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

/// One connection's share of [`ConnectionLimits::max_connections`](crate::ConnectionLimits::max_connections).
/// Dropping it gives the share back.
#[derive(Debug)]
pub(crate) struct Reservation {
    sessions: Arc<Sessions>,
    connection: u64,
    /// The connection's id on the wire and in the log. It does not show how many connections there were.
    id: u64,
}

impl Reservation {
    /// Gives the connection to a user. A user that was kicked since the reservation is closed at once.
    pub(crate) fn admit(self, user: &User) -> Permit {
        let user = user.key();
        let mut slots = self.sessions.slots.lock();
        let was_kicked =
            matches!(slots.get(&self.connection), Some(Slot::Reserved(kicked)) if kicked.contains(&user));
        let control = Arc::new(Control { inbox: Arc::default(), user, kicked: AtomicBool::new(was_kicked) });
        slots.insert(self.connection, Slot::Admitted(Arc::clone(&control)));
        drop(slots);
        Permit { reservation: self, control, is_serving: false }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.sessions.slots.lock().remove(&self.connection);
        if self.sessions.connections.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.sessions.all_closed.notify_waiters();
        }
    }
}

/// A connection of a user.
#[derive(Debug)]
pub(crate) struct Permit {
    reservation: Reservation,
    control: Arc<Control>,
    is_serving: bool,
}

impl Permit {
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

    pub(crate) fn inbox(&self) -> &Arc<Inbox> {
        &self.control.inbox
    }

    pub(crate) fn phase(&self) -> Phase {
        self.reservation.sessions.phase()
    }

    /// Returns the code with which the host wants the connection closed at once.
    pub(crate) fn close_now(&self) -> Option<CloseCode> {
        if self.control.kicked.load(Ordering::SeqCst) {
            Some(CloseCode::Kicked)
        } else {
            (self.phase() == Phase::Ended).then_some(CloseCode::Restarting)
        }
    }

    /// Counts a session.
    pub(crate) fn begin_session(&mut self) {
        if !std::mem::replace(&mut self.is_serving, true) {
            self.reservation.sessions.serving.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Ends the session. The connection may still be closing.
    pub(crate) fn end_session(&mut self) {
        if std::mem::take(&mut self.is_serving) {
            self.reservation.sessions.serving.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.end_session();
    }
}
