//! A session: the state of one connection, as a function of its inputs and the time.
//!
//! A method named `handle_*` takes one input and returns the [`Effect`]s to perform, in order. `now` is the time since
//! a fixed moment, such as the start of the session.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;

mod command;
mod credentials;
mod effect;
mod following;
mod haste;
mod memberships;

use credentials::Credentials;
pub use credentials::{Expiry, Identified, NotIdentified};
pub use effect::{Action, Effect, Listing, Operation, Outcome};
use following::Following;
use haste::Haste;
use memberships::Memberships;

use crate::command::Parsed;
use crate::{Bucket, CloseCode, Event, Limits, ProtocolViolation, RoomName, SharedRate, User};

/// The state of one session. It holds the memberships of its rooms, each an `M`.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use chat_proto::session::{Action, Effect, Identified, Session};
/// use chat_proto::{Event, Limits, User};
///
/// let (limits, start) = (Arc::new(Limits::default()), Duration::ZERO);
/// let ann = Identified::new(User::guest("ann")?, "1");
/// let (mut session, welcome) = Session::<()>::open(limits, ann, start);
/// assert!(matches!(welcome, Event::Welcome { .. }));
///
/// let effects = session.handle_text(start, r#"{"type":"ping"}"#.into());
/// assert!(matches!(effects[..], [Effect::Reply(Event::Pong { .. })]));
///
/// // An operation in a room is performed by the caller, who returns its outcome.
/// let effects = session.handle_text(start, r#"{"type":"join","room":"lobby"}"#.into());
/// let [Effect::Perform(operation)] = &effects[..] else { panic!("{effects:?}") };
/// assert!(matches!(operation.action, Action::Join(_)));
///
/// // A silent peer is pinged.
/// let effects = session.handle_timer(session.deadline());
/// assert!(matches!(effects[..], [Effect::Ping]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Session<M> {
    limits: Arc<Limits>,
    /// `None` until a `hello` has named the user.
    user: Option<User>,
    credentials: Option<Box<Credentials>>,
    rooms: Memberships<M>,
    following: Following,
    /// The operations in flight, oldest first. If there are several, all are messages.
    in_flight: SmallVec<[InFlight; 1]>,
    /// The command after them, if it was parsed and must wait until nothing is in flight.
    next: Option<Box<Parsed>>,
    /// The commands after that one.
    backlog: VecDeque<Bytes>,
    /// The tokens of this connection.
    bucket: Bucket,
    /// The tokens of the user.
    user_rate: Option<Box<dyn SharedRate>>,
    /// `None` until the peer has made a mistake.
    mistakes: Option<Box<Mistakes>>,
    /// The time of the last complete frame of the peer.
    last_heard: Duration,
    /// The time of a ping without an answer.
    pinged: Option<Duration>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// The chat is draining. No further command is taken.
    Draining,
    Closed,
}

/// An operation in flight.
#[derive(Debug)]
struct InFlight {
    reference: Option<String>,
    /// `None` for a list of rooms.
    room: Option<RoomName>,
    /// True if a message has its place in the order of its room.
    is_submitted: bool,
}

/// The mistakes of a peer.
#[derive(Debug, Default)]
struct Mistakes {
    /// The times of the last errors.
    errors: VecDeque<Duration>,
    /// The commands that came too early.
    haste: Haste,
    /// The commands without tokens that were not reported yet.
    refused: RateRefusals,
}

/// The numbers of commands that were refused because there were no tokens for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateRefusals {
    /// Commands without tokens of the connection.
    pub connection: u64,
    /// Commands with tokens of the connection, but without those of the user.
    pub user: u64,
}

impl<M> Session<M> {
    /// Returns a session for a user, and the welcome, which is sent first.
    pub fn open(limits: Arc<Limits>, identified: Identified, now: Duration) -> (Self, Event) {
        let mut session = Self::new(limits, now);
        let welcome = session.identify(now, None, identified);
        (session, welcome)
    }

    /// Returns a session without a user. Its first command must be `hello`, within
    /// [`hello_timeout`](crate::ConnectionLimits::hello_timeout).
    pub fn open_without_user(limits: Arc<Limits>, now: Duration) -> Self {
        let until = now + limits.connection.hello_timeout;
        let credentials = Some(Box::new(Credentials::missing(until)));
        Self { credentials, ..Self::new(limits, now) }
    }

    fn new(limits: Arc<Limits>, now: Duration) -> Self {
        Self {
            limits,
            user: None,
            credentials: None,
            rooms: Memberships::new(),
            following: Following::default(),
            in_flight: SmallVec::new(),
            next: None,
            backlog: VecDeque::new(),
            bucket: Bucket::default(),
            user_rate: None,
            mistakes: None,
            last_heard: now,
            pinged: None,
            phase: Phase::Open,
        }
    }

    /// Sets the rate that this session shares with the other sessions of its user. Without one, only the rate of the
    /// connection counts.
    pub fn share_rate(&mut self, rate: Option<Box<dyn SharedRate>>) {
        self.user_rate = rate;
    }

    /// Returns the numbers of commands that had no tokens, since the last call.
    pub fn take_rate_refusals(&mut self) -> RateRefusals {
        self.mistakes.as_mut().map(|mistakes| std::mem::take(&mut mistakes.refused)).unwrap_or_default()
    }

    /// Returns the user for whom the session speaks, or `None` until a `hello` has named the user.
    pub fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// Returns the membership of a room.
    pub fn membership(&self, room: &RoomName) -> Option<&M> {
        self.rooms.get(room)
    }

    /// Returns the membership of a room.
    pub fn membership_mut(&mut self, room: &RoomName) -> Option<&mut M> {
        self.rooms.get_mut(room)
    }

    /// Returns the memberships of all rooms.
    pub fn memberships(&self) -> impl Iterator<Item = &M> {
        self.rooms.iter()
    }

    /// Takes the membership of a room that the user leaves.
    pub fn leave(&mut self, room: &RoomName) -> Option<M> {
        self.rooms.remove(room)
    }

    /// Takes the memberships of all rooms.
    pub fn leave_all(&mut self) -> impl Iterator<Item = M> + use<M> {
        std::mem::replace(&mut self.rooms, Memberships::new()).into_all()
    }

    /// Returns true if the session can take another text frame now. A session without a user has no backlog.
    pub fn wants_text(&self) -> bool {
        let may_wait = self.user.is_some() || !self.has_hello();
        let waiting = self.backlog.len() + usize::from(self.next.is_some());
        may_wait && waiting < self.limits.connection.max_backlog_commands
    }

    /// Returns the time for which the peer must not be read, because it sends commands earlier than it was told. Zero
    /// if it can be read. Its frames wait in the transport, and none is lost.
    pub fn reading_pause(&self, now: Duration) -> Duration {
        self.mistakes.as_ref().map_or(Duration::ZERO, |mistakes| mistakes.haste.pause(now))
    }

    /// Returns the time at which [`handle_timer`](Self::handle_timer) is due.
    pub fn deadline(&self) -> Duration {
        match self.pinged {
            Some(pinged) => pinged + self.limits.connection.ping_timeout,
            None => self.last_heard + self.limits.connection.ping_interval,
        }
    }

    /// Takes a text frame.
    pub fn handle_text(&mut self, now: Duration, text: Bytes) -> Vec<Effect> {
        self.handle_sign_of_life(now);
        if self.phase != Phase::Open {
            return Vec::new();
        }
        if !self.takes_command() || !self.backlog.is_empty() {
            self.backlog.push_back(text);
            return Vec::new();
        }
        self.carry_out(now, &text)
    }

    /// Takes a binary frame, which closes the connection.
    pub fn handle_binary(&mut self) -> Vec<Effect> {
        self.close(CloseCode::UnsupportedData)
    }

    /// Records a complete frame, such as a ping or a pong.
    pub fn handle_sign_of_life(&mut self, now: Duration) {
        self.last_heard = now;
        self.pinged = None;
    }

    /// Records that the peer violated the WebSocket protocol.
    pub fn handle_violation(&mut self, violation: ProtocolViolation) -> Vec<Effect> {
        self.close(violation.into())
    }

    /// Records that the peer has not read for too long.
    pub fn handle_stall(&mut self) -> Vec<Effect> {
        self.close(CloseCode::SlowConsumer)
    }

    /// Records that the [`deadline`](Self::deadline) has passed.
    pub fn handle_timer(&mut self, now: Duration) -> Vec<Effect> {
        if self.phase == Phase::Closed || now < self.deadline() {
            return Vec::new();
        }
        if self.pinged.is_some() {
            return self.close(CloseCode::PingTimeout);
        }
        self.pinged = Some(now);
        vec![Effect::Ping]
    }

    /// Records that the chat is draining. The commands that were taken are finished, then the connection is closed.
    pub fn handle_drain(&mut self) -> Vec<Effect> {
        if self.phase == Phase::Open {
            self.phase = Phase::Draining;
        }
        if self.is_busy() { Vec::new() } else { self.close(CloseCode::Restarting) }
    }

    /// Records that the newest message in flight has its place in the order of its room. The next message may be in
    /// flight before this one has its result: each is then committed in the order of the commands.
    pub fn handle_submitted(&mut self, now: Duration) -> Vec<Effect> {
        if let Some(newest) = self.in_flight.last_mut() {
            newest.is_submitted = true;
        }
        self.carry_out_waiting(now)
    }

    /// Takes the result of the oldest operation in flight.
    pub fn handle_outcome(&mut self, now: Duration, outcome: Outcome<M>) -> Vec<Effect> {
        if self.in_flight.is_empty() {
            return Vec::new();
        }
        let InFlight { reference, room, .. } = self.in_flight.remove(0);
        if self.in_flight.is_empty() && self.in_flight.spilled() {
            self.in_flight.shrink_to_fit();
        }
        if self.phase == Phase::Closed {
            return Vec::new();
        }
        let mut effects = match room {
            Some(room) => self.reply(now, reference, room, outcome),
            None => self.reply_with_rooms(now, reference, outcome),
        };
        self.take_backlog(now, &mut effects);
        effects
    }

    /// Returns true if an operation or a `hello` is in flight.
    fn is_busy(&self) -> bool {
        !self.in_flight.is_empty() || self.has_hello()
    }

    /// Carries out the commands that have waited. After the last command of a drain, it closes the connection.
    fn take_backlog(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        effects.extend(self.carry_out_waiting(now));
        if !self.is_busy() && self.phase == Phase::Draining {
            effects.extend(self.close(CloseCode::Restarting));
        }
    }

    /// Carries out the commands that wait, as far as they can be carried out now.
    fn carry_out_waiting(&mut self, now: Duration) -> Vec<Effect> {
        let mut effects = Vec::new();
        while self.phase != Phase::Closed {
            if !self.is_busy()
                && let Some(parsed) = self.next.take()
            {
                effects.extend(self.carry_out_parsed(now, *parsed));
            } else if self.takes_command()
                && let Some(text) = self.backlog.pop_front()
            {
                effects.extend(self.carry_out(now, &text));
            } else {
                break;
            }
        }
        effects
    }

    /// Returns true if the next command may be carried out, perhaps only if it is a message.
    fn takes_command(&self) -> bool {
        let may_overlap = |newest: &InFlight| {
            newest.is_submitted && self.in_flight.len() < self.limits.connection.max_sends_in_flight
        };
        self.next.is_none() && !self.has_hello() && self.in_flight.last().is_none_or(may_overlap)
    }
}

impl<M: fmt::Debug> fmt::Debug for Session<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("user", &self.user)
            .field("rooms", &self.rooms)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}
