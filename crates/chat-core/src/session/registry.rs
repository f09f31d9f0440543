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
    /// The node's name, in front of each connection's number.
    node: Option<NodeId>,
    phase: AtomicU8,
    connections: AtomicUsize,
    serving: AtomicUsize,
    next: AtomicU64,
    admitted: Mutex<HashMap<u64, Arc<Control>>>,
    /// Notified when the last connection has gone.
    all_closed: Notify,
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
            admitted: Mutex::default(),
            all_closed: Notify::new(),
        }
    }

    /// Admits one more connection.
    pub(crate) fn admit(self: &Arc<Self>, user: &User) -> Result<Permit, Refusal> {
        let one_more = |count: usize| (count < self.max).then_some(count + 1);
        self.connections
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more)
            .map_err(|_| Refusal::Overloaded)?;
        let connection = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let control =
            Arc::new(Control { inbox: Arc::default(), user: user.key(), kicked: AtomicBool::new(false) });
        self.admitted.lock().insert(connection, Arc::clone(&control));
        let permit = Permit { sessions: Arc::clone(self), connection, control, is_serving: false };
        // The connection is counted before the phase is read, so that a drain cannot miss it.
        if self.phase() == Phase::Open { Ok(permit) } else { Err(Refusal::Draining) }
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
        for control in self.admitted.lock().values() {
            control.inbox.waker.wake();
        }
    }

    /// Closes all connections of a user. Returns their number.
    pub(crate) fn kick(&self, user: &UserKey) -> usize {
        let admitted = self.admitted.lock();
        let kicked = admitted.values().filter(|control| control.user == *user);
        kicked
            .map(|control| {
                control.kicked.store(true, Ordering::SeqCst);
                control.inbox.waker.wake();
            })
            .count()
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
pub(crate) struct Permit {
    sessions: Arc<Sessions>,
    connection: u64,
    control: Arc<Control>,
    is_serving: bool,
}

impl Permit {
    /// Returns the connection's number in this process.
    pub(crate) fn connection(&self) -> u64 {
        self.connection
    }

    /// Returns the connection's name among all nodes.
    pub(crate) fn connection_id(&self) -> String {
        match &self.sessions.node {
            Some(node) => format!("{node}-{}", self.connection),
            None => self.connection.to_string(),
        }
    }

    pub(crate) fn inbox(&self) -> &Arc<Inbox> {
        &self.control.inbox
    }

    pub(crate) fn phase(&self) -> Phase {
        self.sessions.phase()
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
            self.sessions.serving.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Ends the session. The connection may still be closing.
    pub(crate) fn end_session(&mut self) {
        if std::mem::take(&mut self.is_serving) {
            self.sessions.serving.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.end_session();
        self.sessions.admitted.lock().remove(&self.connection);
        if self.sessions.connections.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.sessions.all_closed.notify_waiters();
        }
    }
}
