use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::backoff::Backoff;
use crate::socket::{Received, Socket, Target};
use crate::state::{State, Waiting};
use crate::{Closed, ConnectError, Event, Lost, Welcome};

/// What one frame can add to the events, at most.
const EVENTS_OF_A_FRAME: usize = 2;

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
    /// End.
    Close,
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) connect_timeout: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) event_buffer: usize,
    pub(crate) max_in_flight: usize,
}

/// The one task of a client: it owns the connection and waits for everything at once.
pub(crate) struct Driver {
    target: Target,
    settings: Settings,
    requests: mpsc::Receiver<Request>,
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

enum Link {
    Up(Box<Socket>),
    Down { until: Instant },
    Connecting(Connecting),
}

type Connecting = Pin<Box<dyn Future<Output = Result<(Socket, Welcome), ConnectError>> + Send>>;

enum Happened {
    Request(Option<Request>),
    Received(Received),
    Lost(Lost),
    Connected(Result<Box<Socket>, ConnectError>),
    /// There is room for events.
    Room,
    Time,
}

/// Connects and takes the welcome, in the time that there is for both.
pub(crate) async fn connect(target: &Target, limit: Duration) -> Result<(Socket, Welcome), ConnectError> {
    let connected = async {
        let mut socket = Socket::connect(target).await?;
        let welcome = socket.welcome().await?;
        Ok((socket, welcome))
    };
    timeout(limit, connected).await.unwrap_or(Err(ConnectError::Timeout))
}

impl Driver {
    pub(crate) fn new(
        target: Target,
        settings: Settings,
        policy: crate::Reconnect,
        requests: mpsc::Receiver<Request>,
        events: mpsc::Sender<Event>,
        mut state: State,
        socket: Socket,
    ) -> Self {
        let now = Instant::now();
        state.handle_connected(now);
        Self {
            target,
            settings,
            requests,
            events,
            overflow: VecDeque::new(),
            state,
            backoff: Backoff::new(policy, Duration::ZERO),
            started: now,
            link: Link::Up(Box::new(socket)),
            heard: now,
            pinged: false,
            timer: Box::pin(sleep(LATER)),
        }
    }

    /// Runs until the client has ended, and tells why before anybody can find it gone.
    pub(crate) async fn run(mut self, ended: Arc<OnceLock<Closed>>) {
        let closed = loop {
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
                Happened::Request(Some(Request::Close) | None) => {
                    let link = std::mem::replace(&mut self.link, Link::Down { until: Instant::now() });
                    if let Link::Up(socket) = link {
                        socket.close(1000).await;
                    }
                    Err(Closed::Here)
                }
                Happened::Received(received) => self.handle_received(received),
                Happened::Lost(lost) => self.handle_lost(lost),
                Happened::Connected(connected) => self.handle_connected(connected),
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
        // It is set once, here.
        let _second = ended.set(closed);
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
        let takes_requests = self.state.waiting() < self.settings.max_in_flight;
        // Half of it at once: a room is not asked for again for the sake of one message.
        let room = self.settings.event_buffer / 2;
        tokio::select! {
            request = self.requests.recv(), if takes_requests => Happened::Request(request),
            happened = self.link.next(&mut self.state.outbox, reads) => happened,
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
        let due =
            [link, self.state.deadline(), catch_up.filter(|due| *due > now)].into_iter().flatten().min();
        let due = due.unwrap_or(now + LATER);
        // One that fires too early does no harm, and most are put off before they fire.
        if due < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(due);
        }
    }

    fn handle_received(&mut self, received: Received) -> Result<(), Closed> {
        let now = Instant::now();
        self.heard = now;
        self.pinged = false;
        let Received::Text(text) = received else { return Ok(()) };
        let mut events = Vec::new();
        let room = self.has_room();
        let read = self.state.handle_text(&text, now, room, &mut events);
        events.into_iter().for_each(|event| self.hand_on(event));
        read.or_else(|breach| self.handle_lost(Lost::Breach(breach)))
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

    fn handle_connected(&mut self, connected: Result<Box<Socket>, ConnectError>) -> Result<(), Closed> {
        let now = Instant::now();
        match connected {
            Ok(socket) => {
                self.link = Link::Up(socket);
                self.heard = now;
                self.pinged = false;
                self.backoff.handle_connected(now - self.started);
                self.hand_on(Event::Reconnected);
                self.state.handle_connected(now);
                Ok(())
            }
            Err(error) if error.is_temporary() => {
                let advice = match error {
                    ConnectError::Refused { retry_after, .. } => retry_after,
                    _ => None,
                };
                let wait = self.backoff.handle_failure(now - self.started, advice, random());
                let wait = wait.ok_or(Closed::GaveUp(error))?;
                self.link = Link::Down { until: now + wait };
                Ok(())
            }
            Err(error) => Err(Closed::Refused(error)),
        }
    }

    fn handle_lost(&mut self, lost: Lost) -> Result<(), Closed> {
        let now = Instant::now();
        let link = std::mem::replace(&mut self.link, Link::Down { until: now });
        // Neither keeps the next connection waiting.
        match (link, &lost) {
            (Link::Up(socket), Lost::Close { .. }) => drop(tokio::spawn(socket.finish())),
            (Link::Up(socket), Lost::Breach(_)) => drop(tokio::spawn(socket.close(1002))),
            _ => {}
        }
        let advice = self.state.handle_lost();
        if !lost.is_temporary() {
            return Err(Closed::Lost(lost));
        }
        let wait = self.backoff.handle_lost(now - self.started, advice, random());
        let Some(retry_in) = wait else { return Err(Closed::Lost(lost)) };
        self.link = Link::Down { until: now + retry_in };
        // A consumer that has not read of the last connection needs not read of two.
        self.overflow.retain(|event| !matches!(event, Event::Disconnected { .. } | Event::Reconnected));
        self.hand_on(Event::Disconnected { lost, retry_in });
        Ok(())
    }
}

impl Link {
    /// What the network does next; frames are written meanwhile.
    async fn next(&mut self, outbox: &mut VecDeque<Utf8Bytes>, reads: bool) -> Happened {
        match self {
            Self::Down { .. } => pending().await,
            Self::Connecting(connecting) => {
                Happened::Connected(connecting.await.map(|(socket, _)| Box::new(socket)))
            }
            Self::Up(socket) => {
                let happened = poll_fn(|cx| socket.poll_exchange(cx, outbox, reads));
                happened.await.map_or_else(Happened::Lost, Happened::Received)
            }
        }
    }
}

/// A random number.
pub(crate) fn random() -> u64 {
    getrandom::u64().expect("the operating system always has random numbers once it is up")
}
