//! What one session decides: pure state, told what happened and when, answering what to do.
//!
//! The methods named `handle_*` say what happened; each returns [`Effect`]s to be performed in order. `now`
//! is the time since some moment that stays the same for one session.

use std::collections::{BTreeSet, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::command::{self, Command, Invalid, JoinFrom};
use crate::{
    AppendReceipt, CloseCode, ErrorCode, Event, Limits, LimitsNotice, LogBounds, Page, ProtocolViolation,
    Range, Resumption, RoomName, Search, SearchPage, StoredMessage, User,
};

/// Something to do for the session.
#[derive(Debug)]
pub enum Effect {
    /// Send this event.
    Reply(Event),
    /// Send a ping.
    Ping,
    /// Do this in a room, and tell [`Session::handle_outcome`] how it went. There is one at a time.
    Perform(Operation),
    /// Announce that a user is writing; nothing is answered.
    Typing(RoomName, bool),
    /// Close the connection: the `closing` event, then a close frame.
    Close(CloseCode),
}

/// What is to be done in a room.
#[derive(Debug)]
pub struct Operation {
    /// Which room.
    pub room: RoomName,
    /// What to do there.
    pub action: Action,
}

/// See [`Operation`].
#[derive(Debug)]
pub enum Action {
    /// Become a member, or read again from another place.
    Join(JoinFrom),
    /// Stop being a member.
    Leave,
    /// Append a message.
    Send {
        /// The idempotency key.
        key: Option<String>,
        /// The body, not yet checked.
        body: Box<RawValue>,
    },
    /// Read the log.
    History(Range),
    /// Search the log.
    Search(Search),
    /// List the users.
    Members,
}

/// How an operation went.
#[derive(Debug)]
pub enum Outcome {
    /// The connection is a member.
    Joined {
        /// How far the room's log reaches.
        bounds: LogBounds,
        /// Where the member starts.
        resumption: Resumption,
        /// How many users the room has.
        members: usize,
    },
    /// The connection is no member any more.
    Left,
    /// The message is in the log.
    Sent(AppendReceipt),
    /// This is the part of the log.
    History(Page),
    /// This is what was searched for.
    Found(SearchPage),
    /// These are the users.
    Members(Vec<User>),
    /// It was not done.
    Refused(ErrorCode),
}

/// The state of one session.
#[derive(Debug)]
pub struct Session {
    limits: Arc<Limits>,
    user: User,
    rooms: BTreeSet<RoomName>,
    /// The `ref` and the room of the operation in hand.
    in_flight: Option<(Option<String>, RoomName)>,
    /// Commands that came while an operation was in hand.
    backlog: VecDeque<Bytes>,
    /// When the last errors happened.
    errors: VecDeque<Duration>,
    /// When the peer last sent something complete.
    heard: Duration,
    /// When a ping was sent that nothing has answered.
    pinged: Option<Duration>,
    /// The server is about to stop: nothing new is begun.
    draining: bool,
    closed: bool,
}

impl Session {
    /// Starts a session for `user`; the welcome comes first.
    pub fn open(limits: Arc<Limits>, user: User, connection: String, now: Duration) -> (Self, Event) {
        let welcome = Event::Welcome {
            connection,
            user: user.clone(),
            limits: LimitsNotice {
                max_frame: limits.wire.max_frame_bytes,
                max_rooms: limits.connection.max_rooms,
                max_body: limits.wire.max_body_bytes,
                max_page: limits.wire.max_page_messages,
            },
            ping_interval: limits.connection.ping_interval.as_secs(),
        };
        let session = Self {
            limits,
            user,
            rooms: BTreeSet::new(),
            in_flight: None,
            backlog: VecDeque::new(),
            errors: VecDeque::new(),
            heard: now,
            pinged: None,
            draining: false,
            closed: false,
        };
        (session, welcome)
    }

    /// Who the session speaks for.
    pub fn user(&self) -> &User {
        &self.user
    }

    /// Whether the session can take another text frame now.
    pub fn wants_text(&self) -> bool {
        self.backlog.len() < self.limits.connection.max_backlog_commands
    }

    /// When [`handle_timer`](Self::handle_timer) is due.
    pub fn deadline(&self) -> Duration {
        match self.pinged {
            Some(pinged) => pinged + self.limits.connection.ping_timeout,
            None => self.heard + self.limits.connection.ping_interval,
        }
    }

    /// A text frame came.
    pub fn handle_text(&mut self, now: Duration, text: Bytes) -> Vec<Effect> {
        self.handle_sign_of_life(now);
        if self.closed || self.draining {
            return Vec::new();
        }
        if self.in_flight.is_some() {
            self.backlog.push_back(text);
            return Vec::new();
        }
        self.carry_out(now, &text)
    }

    /// A binary frame came.
    pub fn handle_binary(&mut self) -> Vec<Effect> {
        self.close(CloseCode::UnsupportedData)
    }

    /// A ping, a pong or anything else complete came.
    pub fn handle_sign_of_life(&mut self, now: Duration) {
        self.heard = now;
        self.pinged = None;
    }

    /// The peer broke the WebSocket protocol.
    pub fn handle_violation(&mut self, breach: ProtocolViolation) -> Vec<Effect> {
        self.close(breach.into())
    }

    /// The peer has taken nothing for too long.
    pub fn handle_stall(&mut self) -> Vec<Effect> {
        self.close(CloseCode::SlowConsumer)
    }

    /// The time of [`deadline`](Self::deadline) has come.
    pub fn handle_timer(&mut self, now: Duration) -> Vec<Effect> {
        if self.closed || now < self.deadline() {
            return Vec::new();
        }
        if self.pinged.is_some() {
            return self.close(CloseCode::PingTimeout);
        }
        self.pinged = Some(now);
        vec![Effect::Ping]
    }

    /// The server is about to stop: what is in hand is finished, then the connection is closed.
    pub fn handle_drain(&mut self) -> Vec<Effect> {
        self.draining = true;
        if self.in_flight.is_some() { Vec::new() } else { self.close(CloseCode::Restarting) }
    }

    /// The operation in hand is done.
    pub fn handle_outcome(&mut self, now: Duration, outcome: Outcome) -> Vec<Effect> {
        let Some((reference, room)) = self.in_flight.take() else {
            return Vec::new();
        };
        if self.closed {
            return Vec::new();
        }
        let mut effects = self.reply(now, reference, room, outcome);
        while !self.closed && self.in_flight.is_none() {
            let Some(text) = self.backlog.pop_front() else {
                break;
            };
            effects.extend(self.carry_out(now, &text));
        }
        if self.in_flight.is_none() && self.draining {
            effects.extend(self.close(CloseCode::Restarting));
        }
        effects
    }

    fn carry_out(&mut self, now: Duration, text: &[u8]) -> Vec<Effect> {
        let command::Parsed { reference, command } = command::parse(text, &self.limits);
        let command = match command {
            Ok(command) => command,
            Err(Invalid { code, room }) => return self.error(now, reference, code, room),
        };
        let (room, action) = match command {
            Command::Ping => return vec![Effect::Reply(Event::Pong { reference })],
            Command::Hello => return self.error(now, reference, ErrorCode::AlreadyIdentified, None),
            Command::Join { room, from } => {
                if !self.rooms.contains(&room) && self.rooms.len() >= self.limits.connection.max_rooms {
                    return self.error(now, reference, ErrorCode::TooManyRooms, Some(room));
                }
                return self.perform(reference, room, Action::Join(from));
            }
            Command::Typing { room, active } => {
                if self.rooms.contains(&room) {
                    return vec![Effect::Typing(room, active)];
                }
                return self.error(now, reference, ErrorCode::NotJoined, Some(room));
            }
            Command::Leave { room } => (room, Action::Leave),
            Command::Send { room, key, body } => (room, Action::Send { key, body }),
            Command::History { room, range } => (room, Action::History(range)),
            Command::Members { room } => (room, Action::Members),
            Command::Search { room, search } => (room, Action::Search(search)),
        };
        if !self.rooms.contains(&room) {
            return self.error(now, reference, ErrorCode::NotJoined, Some(room));
        }
        self.perform(reference, room, action)
    }

    fn perform(&mut self, reference: Option<String>, room: RoomName, action: Action) -> Vec<Effect> {
        self.in_flight = Some((reference, room.clone()));
        vec![Effect::Perform(Operation { room, action })]
    }

    fn reply(
        &mut self,
        now: Duration,
        reference: Option<String>,
        room: RoomName,
        outcome: Outcome,
    ) -> Vec<Effect> {
        let event = match outcome {
            Outcome::Joined { bounds, resumption, members } => {
                return self.joined(reference, room, bounds, &resumption, members);
            }
            Outcome::Left => {
                self.rooms.remove(&room);
                Event::Left { reference, room }
            }
            Outcome::Sent(AppendReceipt { seq, at, duplicate }) => {
                Event::Sent { reference, room, seq, at, duplicate }
            }
            Outcome::History(Page { messages, .. }) | Outcome::Found(SearchPage { messages, .. })
                if !messages.iter().all(StoredMessage::is_object) =>
            {
                return self.error(now, reference, ErrorCode::Unavailable, Some(room));
            }
            Outcome::History(Page { epoch, messages, more }) => {
                Event::History { reference, room, epoch, messages, more }
            }
            Outcome::Found(SearchPage { messages, more }) => Event::Found { reference, room, messages, more },
            Outcome::Members(members) => Event::Members { reference, room, members },
            Outcome::Refused(code) => return self.error(now, reference, code, Some(room)),
        };
        vec![Effect::Reply(event)]
    }

    fn joined(
        &mut self,
        reference: Option<String>,
        room: RoomName,
        bounds: LogBounds,
        resumption: &Resumption,
        members: usize,
    ) -> Vec<Effect> {
        self.rooms.insert(room.clone());
        let LogBounds { epoch, head, first } = bounds;
        let gap = resumption.gap.map(|gap| {
            Effect::Reply(Event::Gap { room: room.clone(), epoch: epoch.clone(), from: gap.from, to: gap.to })
        });
        let recovered = resumption.recovered;
        let joined = Event::Joined { reference, room, epoch, seq: head, first, recovered, members };
        [Some(Effect::Reply(joined)), gap].into_iter().flatten().collect()
    }

    fn error(
        &mut self,
        now: Duration,
        reference: Option<String>,
        code: ErrorCode,
        room: Option<RoomName>,
    ) -> Vec<Effect> {
        let mut effects = vec![Effect::Reply(Event::error(reference, code, room))];
        // What the server could not do is not the client's error.
        if code == ErrorCode::Unavailable {
            return effects;
        }
        self.errors.push_back(now);
        while self
            .errors
            .front()
            .is_some_and(|first| now.saturating_sub(*first) > self.limits.connection.error_window)
        {
            self.errors.pop_front();
        }
        if self.errors.len() >= self.limits.connection.max_errors {
            effects.extend(self.close(CloseCode::TooManyErrors));
        }
        effects
    }

    fn close(&mut self, code: CloseCode) -> Vec<Effect> {
        if mem::replace(&mut self.closed, true) {
            return Vec::new();
        }
        self.backlog.clear();
        vec![Effect::Close(code)]
    }
}
