mod network;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Sleep, sleep};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::backoff::Backoff;
use crate::link::{Link, Turn, connect};
use crate::socket::{Socket, Target};
use crate::state::{State, Waiting};
use crate::{Closed, Event, Lost, Reconnect};

/// What one frame can add to the events, at most.
const EVENTS_OF_A_FRAME: usize = 2;

/// How long the commands in hand may take once the client is to end.
pub(crate) const DRAIN: Duration = Duration::from_secs(5);

/// When nothing is due.
const LATER: Duration = Duration::from_secs(3_600);

/// What the handles of a client ask its driver.
#[derive(Debug)]
pub(crate) enum Request {
    /// Carry out a command with this `ref`.
    Command(u64, Waiting),
    /// Send a frame that has no reply.
    Notice(Utf8Bytes),
    /// Give up the connection for another.
    Reconnect,
}

/// How a client has ended.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) why: Closed,
    /// Whether every command had its answer before.
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

/// The one task of a client: it owns the connection and waits for everything at once.
pub(crate) struct Driver {
    target: Target,
    settings: Settings,
    requests: mpsc::Receiver<Request>,
    /// Whether there may be more requests.
    open: bool,
    /// Told when the client is to end, and gone when it has.
    closing: watch::Receiver<bool>,
    /// When it ends, if it is to: with the last reply, or then.
    end: Option<Instant>,
    events: mpsc::Sender<Event>,
    /// Events that must not be left out and found no room; there are as many as rooms at the most.
    overflow: VecDeque<Event>,
    state: State,
    backoff: Backoff,
    started: Instant,
    link: Link,
    heard: Instant,
    /// Whether a ping of ours is unanswered.
    pinged: bool,
    timer: Pin<Box<Sleep>>,
}

enum Happened {
    Request(Option<Request>),
    Closing,
    Link(Turn),
    /// There is room for events.
    Room,
    Time,
}

impl Driver {
    pub(crate) fn new(
        target: Target,
        settings: Settings,
        requests: mpsc::Receiver<Request>,
        closing: watch::Receiver<bool>,
        events: mpsc::Sender<Event>,
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
            open: true,
            closing,
            end: None,
            events,
            overflow: VecDeque::new(),
            state,
            started: now,
            link: Link::Up(Box::new(socket)),
            heard: now,
            pinged: false,
            timer: Box::pin(sleep(LATER)),
        }
    }

    /// Runs until the client has ended, and tells why before anybody can find it gone.
    pub(crate) async fn run(mut self, ended: Arc<OnceLock<Ending>>) {
        let why = loop {
            if self.is_done() {
                break Closed::Here;
            }
            let happened = match self.next().await {
                Happened::Request(Some(Request::Command(reference, waiting))) => {
                    self.state.handle_command(reference, waiting);
                    Ok(())
                }
                Happened::Request(Some(Request::Notice(frame))) => {
                    self.state.handle_notice(frame);
                    Ok(())
                }
                Happened::Request(Some(Request::Reconnect)) => match self.link {
                    Link::Up(_) => self.handle_lost(Lost::Asked),
                    // It is at it.
                    _ => Ok(()),
                },
                Happened::Request(None) => {
                    self.open = false;
                    self.handle_closing();
                    Ok(())
                }
                Happened::Closing => {
                    self.handle_closing();
                    Ok(())
                }
                Happened::Link(turn) => self.handle_turn(turn),
                Happened::Room => {
                    self.handle_room();
                    Ok(())
                }
                Happened::Time => self.handle_time(),
            };
            if let Err(closed) = happened {
                break closed;
            }
        };
        let answered = !self.open && !self.state.owes();
        if let (Closed::Here, Link::Up(socket)) = (&why, self.link) {
            socket.close(1000).await;
        }
        // It is set once, here.
        let _second = ended.set(Ending { why, answered });
    }

    /// Whether the client is to end, and nothing is in hand any more or it has taken too long.
    fn is_done(&self) -> bool {
        let idle = !self.open && !self.state.owes() && self.state.outbox.is_empty();
        self.end.is_some_and(|end| idle || end <= Instant::now())
    }

    /// No handle is left, or one of them asked for the end: what was asked before is still answered.
    fn handle_closing(&mut self) {
        self.requests.close();
        self.end.get_or_insert(Instant::now() + DRAIN);
    }

    /// Whether a frame can be read and all that comes of it handed on.
    fn has_room(&self) -> bool {
        let free = self.overflow.is_empty() && self.events.capacity() >= EVENTS_OF_A_FRAME;
        // Where nobody listens, nothing waits.
        free || self.events.is_closed()
    }

    /// Whether to read: a consumer that does not read keeps the client from reading, and so the server from
    /// sending, unless a reply is awaited.
    fn reads(&self) -> bool {
        self.has_room() || self.state.waiting() > 0
    }

    async fn next(&mut self) -> Happened {
        let now = Instant::now();
        let reads = self.reads();
        let catch_up = self.state.catch_up_due(now);
        let wants_room = !self.has_room() || catch_up.is_some_and(|due| due <= now);
        self.set_timer(now, reads, catch_up);
        let takes_requests = self.open && self.state.waiting() < self.settings.max_in_flight;
        // Half of it at once: a room is not asked for again for the sake of one message.
        let room = self.settings.event_buffer / 2;
        tokio::select! {
            request = self.requests.recv(), if takes_requests => Happened::Request(request),
            _ = self.closing.changed(), if self.end.is_none() => Happened::Closing,
            turn = self.link.next(&mut self.state.outbox, reads) => Happened::Link(turn),
            _ = self.events.reserve_many(room), if wants_room => Happened::Room,
            () = &mut self.timer => Happened::Time,
        }
    }

    fn set_timer(&mut self, now: Instant, reads: bool, catch_up: Option<Instant>) {
        let link = match self.link {
            Link::Up(_) if reads => Some(self.heard + self.settings.heartbeat),
            Link::Down { until } => Some(until),
            _ => None,
        };
        let due = [link, self.state.deadline(), catch_up.filter(|due| *due > now), self.end]
            .into_iter()
            .flatten()
            .min();
        let due = due.unwrap_or(now + LATER);
        // One that fires too early does no harm, and most are put off before they fire.
        if due < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(due);
        }
    }

    fn hand_on(&mut self, event: Event) {
        if self.events.is_closed() {
            return;
        }
        if !self.overflow.is_empty() {
            self.overflow.push_back(event);
        } else if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            self.overflow.push_back(event);
        }
    }

    fn handle_room(&mut self) {
        for event in std::mem::take(&mut self.overflow) {
            self.hand_on(event);
        }
        let now = Instant::now();
        // Nothing was read while there was no room.
        self.heard = now;
        if self.has_room() {
            self.state.catch_up(now);
        }
    }

    fn handle_time(&mut self) -> Result<(), Closed> {
        let now = Instant::now();
        let owed = self.state.handle_time(now);
        let reads = self.reads();
        match &mut self.link {
            Link::Down { until } if *until <= now => {
                let (target, limit) = (self.target.clone(), self.settings.connect_timeout);
                self.link = Link::Connecting(Box::pin(async move { connect(&target, limit).await }));
                Ok(())
            }
            Link::Up(_) if owed => self.handle_lost(Lost::Silence),
            Link::Up(socket) if reads && self.heard + self.settings.heartbeat <= now => {
                if self.pinged {
                    return self.handle_lost(Lost::Silence);
                }
                self.pinged = true;
                self.heard = now;
                socket.ping().or_else(|lost| self.handle_lost(lost))
            }
            _ => Ok(()),
        }
    }
}

/// A random number.
pub(crate) fn random() -> u64 {
    getrandom::u64().expect("the operating system always has random numbers once it is up")
}
