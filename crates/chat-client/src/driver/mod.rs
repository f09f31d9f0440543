mod connection;
mod network;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chat_proto::CloseCode;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Sleep, sleep};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::backoff::Backoff;
use crate::socket::{Socket, Target};
use crate::state::{PendingCommand, State};
use crate::{ClientEvent, Closed, Lost, Reconnect};
use connection::{ConnState, NetEvent};

pub(crate) use connection::connect;

/// The largest number of events that one frame causes.
const EVENTS_OF_A_FRAME: usize = 2;

/// The time for the commands in flight after [`Client::close`](crate::Client::close).
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The timer's duration if nothing is due.
const IDLE_TIMER: Duration = Duration::from_secs(3_600);

/// A request of a client's handle to its driver.
#[derive(Debug)]
pub(crate) enum DriverRequest {
    /// Sends a command with this `ref`.
    Command(u64, PendingCommand),
    /// Sends a frame that has no reply.
    Notice(Utf8Bytes),
    /// Replaces the connection by another.
    Reconnect,
}

/// The end of a client.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) reason: Closed,
    /// True if every command had a reply before the end.
    pub(crate) answered: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) connect_timeout: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) event_buffer: usize,
    pub(crate) max_in_flight: usize,
    pub(crate) reconnect: Reconnect,
}

/// The task of a client. It owns the connection and the state.
pub(crate) struct Driver {
    target: Target,
    settings: Settings,
    requests: mpsc::Receiver<DriverRequest>,
    /// True if more requests may arrive.
    accepts_requests: bool,
    /// Becomes true when the client must close. The driver drops it at its end.
    closing: watch::Receiver<bool>,
    /// The time by which the client ends once it closes. It ends earlier with the last reply.
    end: Option<Instant>,
    events: mpsc::Sender<ClientEvent>,
    /// Events that must be delivered and wait for capacity. Their number is at most that of the rooms.
    overflow: VecDeque<ClientEvent>,
    state: State,
    backoff: Backoff,
    started: Instant,
    connection: ConnState,
    /// The time of the last frame from the server.
    heard: Instant,
    /// True if a ping has no answer yet.
    pinged: bool,
    timer: Pin<Box<Sleep>>,
}

/// An input of the driver.
enum Input {
    Request(Option<DriverRequest>),
    Closing,
    Network(NetEvent),
    /// The channel of events has capacity.
    Capacity,
    Timer,
}

impl Driver {
    pub(crate) fn new(
        target: Target,
        settings: Settings,
        requests: mpsc::Receiver<DriverRequest>,
        closing: watch::Receiver<bool>,
        events: mpsc::Sender<ClientEvent>,
        mut state: State,
        socket: Socket,
    ) -> Self {
        let now = Instant::now();
        state.handle_connected(now);
        Self {
            target,
            backoff: Backoff::new(settings.reconnect.clone(), Duration::ZERO),
            settings,
            requests,
            accepts_requests: true,
            closing,
            end: None,
            events,
            overflow: VecDeque::new(),
            state,
            started: now,
            connection: ConnState::Connected(Box::new(socket)),
            heard: now,
            pinged: false,
            timer: Box::pin(sleep(IDLE_TIMER)),
        }
    }

    /// Runs until the client has ended. The reason is stored before the channels close.
    pub(crate) async fn run(mut self, ended: Arc<OnceLock<Ending>>) {
        let reason = loop {
            if self.is_done() {
                break Closed::Locally;
            }
            let input = self.next_input().await;
            if let Err(closed) = self.handle_input(input) {
                break closed;
            }
        };
        let answered = !self.accepts_requests && !self.state.has_callers();
        if let (Closed::Locally, ConnState::Connected(socket)) = (&reason, self.connection) {
            socket.close(CloseCode::Normal).await;
        }
        // Only this line sets it.
        let _again = ended.set(Ending { reason, answered });
    }

    fn handle_input(&mut self, input: Input) -> Result<(), Closed> {
        match input {
            Input::Request(Some(DriverRequest::Command(reference, pending))) => {
                self.state.handle_command(reference, pending);
            }
            Input::Request(Some(DriverRequest::Notice(frame))) => self.state.handle_notice(frame),
            Input::Request(Some(DriverRequest::Reconnect)) => {
                if let ConnState::Connected(_) = self.connection {
                    return self.handle_lost(Lost::ReconnectRequested);
                }
            }
            Input::Request(None) => {
                self.accepts_requests = false;
                self.handle_closing();
            }
            Input::Closing => self.handle_closing(),
            Input::Network(event) => return self.handle_network(event),
            Input::Capacity => self.handle_capacity(),
            Input::Timer => return self.handle_timer(),
        }
        Ok(())
    }

    /// Returns true if the client must end, because no command is in flight or the drain has timed out.
    fn is_done(&self) -> bool {
        let idle = !self.accepts_requests && !self.state.has_callers() && self.state.outbox.is_empty();
        self.end.is_some_and(|end| idle || end <= Instant::now())
    }

    /// Handles the end of the last handle, or its call of `close`. Earlier commands still get their replies.
    fn handle_closing(&mut self) {
        self.requests.close();
        self.end.get_or_insert(Instant::now() + DRAIN_TIMEOUT);
    }

    /// Returns true if all events of one more frame can be delivered.
    fn has_capacity(&self) -> bool {
        let free = self.overflow.is_empty() && self.events.capacity() >= EVENTS_OF_A_FRAME;
        // Events without a consumer are dropped.
        free || self.events.is_closed()
    }

    /// Returns true if the client may read from the connection. A slow consumer stops the client, and so the server,
    /// unless a command waits for its reply.
    fn reads(&self) -> bool {
        self.has_capacity() || self.state.pending() > 0
    }

    async fn next_input(&mut self) -> Input {
        let now = Instant::now();
        let reads = self.reads();
        let catch_up = self.state.catch_up_due(now);
        let wants_capacity = !self.has_capacity() || catch_up.is_some_and(|due| due <= now);
        self.set_timer(now, reads, catch_up);
        let takes_requests = self.accepts_requests && self.state.pending() < self.settings.max_in_flight;
        // A room is resumed only if many entries fit.
        let capacity = self.settings.event_buffer / 2;
        tokio::select! {
            request = self.requests.recv(), if takes_requests => Input::Request(request),
            _ = self.closing.changed(), if self.end.is_none() => Input::Closing,
            event = self.connection.next(&mut self.state.outbox, reads) => Input::Network(event),
            _ = self.events.reserve_many(capacity), if wants_capacity => Input::Capacity,
            () = &mut self.timer => Input::Timer,
        }
    }

    fn set_timer(&mut self, now: Instant, reads: bool, catch_up: Option<Instant>) {
        let connection = match self.connection {
            ConnState::Connected(_) if reads => Some(self.heard + self.settings.heartbeat),
            ConnState::Waiting { until } => Some(until),
            _ => None,
        };
        let due = [connection, self.state.deadline(), catch_up.filter(|due| *due > now), self.end]
            .into_iter()
            .flatten()
            .min();
        let due = due.unwrap_or(now + IDLE_TIMER);
        // A timer that fires too early does no harm, and most are reset before they fire.
        if due < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(due);
        }
    }

    fn deliver(&mut self, event: ClientEvent) {
        if self.events.is_closed() {
            return;
        }
        if !self.overflow.is_empty() {
            self.overflow.push_back(event);
        } else if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            self.overflow.push_back(event);
        }
    }

    fn handle_capacity(&mut self) {
        for event in std::mem::take(&mut self.overflow) {
            self.deliver(event);
        }
        let now = Instant::now();
        // Nothing was read while there was no capacity.
        self.heard = now;
        if self.has_capacity() {
            self.state.catch_up(now);
        }
    }

    fn handle_timer(&mut self) -> Result<(), Closed> {
        let now = Instant::now();
        let resume_expired = self.state.handle_time(now);
        let reads = self.reads();
        match &mut self.connection {
            ConnState::Waiting { until } if *until <= now => {
                let (target, limit) = (self.target.clone(), self.settings.connect_timeout);
                self.connection =
                    ConnState::Connecting(Box::pin(async move { connect(&target, limit).await }));
                Ok(())
            }
            ConnState::Connected(_) if resume_expired => self.handle_lost(Lost::PingTimeout),
            ConnState::Connected(socket) if reads && self.heard + self.settings.heartbeat <= now => {
                if self.pinged {
                    return self.handle_lost(Lost::PingTimeout);
                }
                self.pinged = true;
                self.heard = now;
                socket.ping().or_else(|lost| self.handle_lost(lost))
            }
            _ => Ok(()),
        }
    }
}

/// Returns a random number.
pub(crate) fn random() -> u64 {
    getrandom::u64().expect("the operating system has random numbers after its start")
}
