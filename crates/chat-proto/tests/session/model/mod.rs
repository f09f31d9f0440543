//! A model of a session, which is compared with each effect of the session.

mod credentials;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chat_proto::session::{Effect, Identified, Operation, Outcome, Session};
use chat_proto::{CloseCode, ErrorCode, Event, Limits, ProtocolViolation, User};
use serde_json::{Value, json};

use crate::random_command::{Answer, Expected, ROOMS, RandomCommand, answer_to, kind_of, known, outcome};
use crate::tokens::{Tokens, UserRate};

/// The time at which sessions start.
const START: Duration = Duration::from_secs(1_000);

pub(crate) struct Model {
    /// A membership is the name of its room.
    session: Session<&'static str>,
    limits: Arc<Limits>,
    now: Duration,
    rooms: BTreeSet<&'static str>,
    followed: BTreeSet<&'static str>,
    /// The commands without an answer, oldest first.
    owed: VecDeque<RandomCommand>,
    /// The operations in flight. Their commands are the first of `owed`.
    in_flight: VecDeque<Operation>,
    /// True if the newest operation in flight is a message with a place in its room.
    is_submitted: bool,
    /// True if the next command was found not to be a message that can be carried out.
    is_held: bool,
    /// True while a `hello` is in flight. Its command is the first of `owed`.
    has_hello: bool,
    /// The time by which the user must be known. `None` if it is.
    hello_until: Option<Duration>,
    /// The time at which the credentials expire, and that of the notice before, if the client was not told.
    expires: Option<(Duration, Option<Duration>)>,
    errors: Vec<Duration>,
    connection_tokens: Tokens,
    user_tokens: Tokens,
    user_rate: UserRate,
    retry_at: Duration,
    /// The times of early commands, with no break of more than a second between two.
    early: Vec<Duration>,
    /// The time until which the peer is not read.
    unread_until: Duration,
    pub(crate) refused_for_rate: usize,
    heard: Duration,
    pinged: Option<Duration>,
    draining: bool,
    pub(crate) closed: Option<CloseCode>,
}

impl Model {
    pub(crate) fn new(limits: Limits) -> Self {
        let limits = Arc::new(limits);
        let (session, welcome) = Session::open(Arc::clone(&limits), user("ada"), START);
        assert!(matches!(welcome, Event::Welcome { .. }));
        let mut model = Self::of(session, limits);
        model.session.share_rate(Some(Box::new(model.user_rate.clone())));
        model
    }

    /// Returns the model of a session whose first command must be `hello`.
    pub(crate) fn without_user(limits: Limits) -> Self {
        let limits = Arc::new(limits);
        let session = Session::open_without_user(Arc::clone(&limits), START);
        let hello_until = Some(START + limits.connection.hello_timeout);
        Self { hello_until, ..Self::of(session, limits) }
    }

    fn of(session: Session<&'static str>, limits: Arc<Limits>) -> Self {
        let now = START;
        let user_rate = UserRate::new(limits.rates.user);
        user_rate.set_time(now);
        Self {
            session,
            connection_tokens: Tokens::new(limits.rates.connection),
            user_tokens: Tokens::new(limits.rates.user),
            user_rate,
            retry_at: Duration::ZERO,
            early: Vec::new(),
            unread_until: Duration::ZERO,
            refused_for_rate: 0,
            limits,
            now,
            rooms: BTreeSet::new(),
            followed: BTreeSet::new(),
            owed: VecDeque::new(),
            in_flight: VecDeque::new(),
            is_submitted: false,
            is_held: false,
            has_hello: false,
            hello_until: None,
            expires: None,
            errors: Vec::new(),
            heard: now,
            pinged: None,
            draining: false,
            closed: None,
        }
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        self.now += time;
        self.user_rate.set_time(self.now);
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Returns the time that the last `rate_limited` error named.
    pub(crate) fn told_to_wait(&self) -> Duration {
        self.retry_at.saturating_sub(self.now)
    }

    /// Returns the time for which the peer is not read.
    pub(crate) fn pause(&self) -> Duration {
        self.unread_until.saturating_sub(self.now)
    }

    pub(crate) fn wait_for_deadline(&mut self) {
        self.wait(self.session.deadline().saturating_sub(self.now));
    }

    pub(crate) fn text(&mut self, command: RandomCommand) {
        let open = self.closed.is_none() && !self.draining;
        let waiting = self.owed.len() - self.in_flight.len() - usize::from(self.has_hello);
        let wants_text = self.session.wants_text();
        if open {
            let may_wait = self.hello_until.is_none() || !self.has_hello;
            assert_eq!(wants_text, may_wait && waiting < self.limits.connection.max_backlog_commands);
        }
        assert_eq!(self.session.reading_pause(self.now), self.pause());
        if !wants_text || !self.pause().is_zero() {
            return;
        }
        self.note_sign_of_life();
        let text = Bytes::from(command.text.clone());
        if open {
            self.owed.push_back(command);
        }
        let effects = self.session.handle_text(self.now, text);
        self.check(effects);
    }

    pub(crate) fn sign_of_life(&mut self) {
        self.note_sign_of_life();
        self.session.handle_sign_of_life(self.now);
        self.check(Vec::new());
    }

    /// Records that the newest message in flight has its place in its room.
    pub(crate) fn submitted(&mut self) {
        if self.in_flight.back().is_some_and(|newest| kind_of(&newest.action) == "send") {
            self.is_submitted = true;
            let effects = self.session.handle_submitted(self.now);
            self.check(effects);
        }
    }

    /// Ends the oldest operation in flight, with a fitting outcome or with `refusal`.
    pub(crate) fn outcome(&mut self, refusal: Option<ErrorCode>, gap: bool) {
        if self.has_hello {
            return self.answer_hello(refusal, gap);
        }
        let outcome = match (self.in_flight.front(), refusal) {
            (_, Some(code)) => code.into(),
            (Some(operation), None) => outcome(operation, gap, self.rooms.contains(known(&operation.room))),
            (None, None) => Outcome::Left,
        };
        let Some(operation) = self.in_flight.pop_front() else {
            let effects = self.session.handle_outcome(self.now, outcome);
            assert!(effects.is_empty(), "no operation was in flight: {effects:?}");
            let effects = self.session.handle_identification(self.now, Ok(user("eve")));
            assert!(effects.is_empty(), "no hello was in flight: {effects:?}");
            return;
        };
        let room = known(&operation.room);
        let gaps = usize::from(gap && matches!(outcome, Outcome::Joined { .. }));
        if let Outcome::Joined { .. } = outcome {
            self.rooms.insert(room);
        }
        match outcome {
            Outcome::Followed(true) if self.closed.is_none() => {
                self.followed.insert(room);
            }
            Outcome::Followed(false) if self.closed.is_none() => {
                self.followed.remove(room);
            }
            _ => {}
        }
        let mut effects = self.session.handle_outcome(self.now, outcome);
        if self.closed.is_some() {
            return self.check(effects);
        }
        let rest = effects.split_off(1 + gaps);
        self.check_outcome(refusal, effects);
        self.check(rest);
    }

    pub(crate) fn timer(&mut self) {
        let due = match self.pinged {
            Some(pinged) => pinged + self.limits.connection.ping_timeout,
            None => self.heard + self.limits.connection.ping_interval,
        };
        assert_eq!(self.session.deadline(), due);
        let effects = self.session.handle_timer(self.now);
        if self.closed.is_some() || self.now < due {
            assert!(effects.is_empty(), "{effects:?}");
        } else if self.pinged.is_some() {
            self.check_close(&effects, CloseCode::PingTimeout);
        } else {
            assert!(matches!(effects.as_slice(), [Effect::Ping]), "{effects:?}");
            self.pinged = Some(self.now);
        }
    }

    pub(crate) fn drain(&mut self) {
        self.draining = true;
        let effects = self.session.handle_drain();
        self.check(effects);
    }

    pub(crate) fn binary(&mut self) {
        let effects = self.session.handle_binary();
        self.check_close(&effects, CloseCode::UnsupportedData);
    }

    pub(crate) fn violation(&mut self, breach: ProtocolViolation) {
        let effects = self.session.handle_violation(breach);
        self.check_close(&effects, breach.into());
    }

    pub(crate) fn stall(&mut self) {
        let effects = self.session.handle_stall();
        self.check_close(&effects, CloseCode::SlowConsumer);
    }

    /// Ends all operations. Then no answer is missing.
    pub(crate) fn finish(&mut self) {
        while self.is_busy() {
            self.outcome(None, false);
        }
        assert!(self.owed.is_empty() || self.closed.is_some(), "{:?}", self.owed);
    }

    fn note_sign_of_life(&mut self) {
        self.heard = self.now;
        self.pinged = None;
    }

    fn check_close(&mut self, effects: &[Effect], expected: CloseCode) {
        match effects {
            [] => assert!(self.closed.is_some(), "no {expected}"),
            [Effect::Close(code)] if self.closed.is_none() => assert_eq!(*code, expected),
            other => panic!("{other:?} after {:?}", self.closed),
        }
        self.closed = self.closed.or(Some(expected));
    }

    fn check_outcome(&mut self, refusal: Option<ErrorCode>, effects: Vec<Effect>) {
        let RandomCommand { expected: Expected::Room(kind, room), reference, .. } =
            self.owed.pop_front().expect("something is owed")
        else {
            panic!("a room answered what no room was asked")
        };
        let mut events = effects.into_iter().map(|effect| match effect {
            Effect::Reply(event) => encoded(&event),
            other => panic!("{other:?}"),
        });
        let reply = events.next().expect("an outcome is answered");
        let expected = refusal.as_ref().map_or(Ok(answer_to(kind)), |code| Err(code.as_str()));
        self.check_reply(&reply, expected, reference.as_deref(), Some(room));
        for gap in events {
            assert_eq!(gap, json!({"type": "gap", "room": room, "epoch": "e", "from": 1, "to": 5}));
        }
    }

    /// Compares effects with the commands without an answer, in their order.
    fn check(&mut self, effects: Vec<Effect>) {
        let mut effects = effects.into_iter();
        while self.closed.is_none() && !self.is_over() && self.carries_out_next() {
            let Some(command) = self.owed.remove(self.in_flight.len()) else { break };
            let effect = effects.next().unwrap_or_else(|| panic!("nothing for {command:?}"));
            self.check_effect(command, effect);
        }
        let close = if self.closed.is_some() {
            None
        } else if self.is_limited_for_too_long() {
            Some(CloseCode::RateLimited)
        } else if self.too_many_errors() {
            Some(CloseCode::TooManyErrors)
        } else {
            (self.draining && !self.is_busy()).then_some(CloseCode::Restarting)
        };
        let left: Vec<_> = effects.collect();
        match (left.as_slice(), close) {
            ([], None) => {}
            ([Effect::Close(code)], Some(expected)) => assert_eq!(*code, expected),
            other => panic!("{other:?} after {:?}", self.closed),
        }
        self.closed = self.closed.or(close);
        if self.closed.is_none() {
            self.check_memberships();
        }
    }

    /// Returns true if the next command is carried out, because nothing is in flight or because both are messages.
    fn carries_out_next(&mut self) -> bool {
        if !self.is_busy() {
            self.is_held = false;
            return true;
        }
        let Some(next) = self.owed.get(self.in_flight.len()) else { return false };
        if self.is_held
            || self.has_hello
            || !self.is_submitted
            || self.in_flight.len() == self.limits.connection.max_sends_in_flight
        {
            return false;
        }
        let is_send = matches!(next.expected, Expected::Room("send", room) if self.rooms.contains(room));
        self.is_held = !is_send
            || self.connection_tokens.missing_ms(self.now, 1) > 0
            || self.user_tokens.missing_ms(self.now, 1) > 0;
        !self.is_held
    }

    fn check_memberships(&self) {
        for room in ROOMS {
            let name = room.parse().expect("a room name");
            assert_eq!(self.session.membership(&name).is_some(), self.rooms.contains(room), "{room}");
            assert_eq!(self.session.is_following(&name), self.followed.contains(room), "{room}");
        }
    }

    fn check_effect(&mut self, command: RandomCommand, effect: Effect) {
        let expected = match self.take_tokens(command.expected.cost()) {
            0 => self.expected(&command.expected),
            wait => Answer::RateLimited(wait),
        };
        let reference = command.reference.as_deref();
        match (effect, expected) {
            (Effect::Reply(event), Answer::Event(kind)) => {
                self.check_reply(&encoded(&event), Ok(kind), reference, None);
            }
            (Effect::Reply(event), Answer::Error(code, room)) => {
                self.check_reply(&encoded(&event), Err(code), reference, room);
            }
            (Effect::Reply(event), Answer::RateLimited(wait)) => {
                let event = encoded(&event);
                assert_eq!((&event["code"], &event["ref"]), (&json!("rate_limited"), &json!(reference)));
                assert_eq!(event["retry_after_ms"], wait, "{event}");
            }
            (Effect::Typing(room, active), Answer::Typing(expected, state)) => {
                assert_eq!((room.as_str(), active), (expected, state));
            }
            (Effect::Perform(operation), Answer::Perform(kind, room)) => {
                assert_eq!((kind_of(&operation.action), operation.room.as_str()), (kind, room));
                if kind == "leave" {
                    assert_eq!(self.session.leave(&operation.room), Some(room));
                    self.rooms.remove(room);
                }
                self.owed.insert(self.in_flight.len(), command);
                self.in_flight.push_back(operation);
                self.is_submitted = false;
            }
            (Effect::Identify(token), Answer::Identify) => {
                assert_eq!(token.as_str(), "t");
                self.has_hello = true;
                self.owed.push_front(command);
            }
            (effect, _) => panic!("{effect:?} for {command:?}"),
        }
    }

    fn is_busy(&self) -> bool {
        !self.in_flight.is_empty() || self.has_hello
    }

    /// Takes tokens. Returns the milliseconds to wait if they are not there.
    fn take_tokens(&mut self, cost: u32) -> u64 {
        let wait = match self.connection_tokens.missing_ms(self.now, cost) {
            0 if self.hello_until.is_none() => self.user_tokens.missing_ms(self.now, cost),
            wait => wait,
        };
        if wait == 0 {
            self.connection_tokens.take(cost);
            if self.hello_until.is_none() {
                self.user_tokens.take(cost);
            }
            return 0;
        }
        self.refused_for_rate += 1;
        if self.now < self.retry_at {
            if self.early.last().is_some_and(|last| self.now - *last > Duration::from_secs(1)) {
                self.early.clear();
            }
            self.early.push(self.now);
            let pause = Duration::from_millis(wait.clamp(100, 500));
            let latest = self.now + Duration::from_millis(500);
            self.unread_until = latest.min(self.unread_until.max(self.now) + pause);
        }
        self.retry_at = self.now + Duration::from_millis(wait);
        wait
    }

    fn is_over(&self) -> bool {
        self.is_limited_for_too_long() || self.too_many_errors()
    }

    fn is_limited_for_too_long(&self) -> bool {
        let series = self.early.first().zip(self.early.last());
        series.is_some_and(|(first, last)| *last - *first >= self.limits.rates.close_after)
    }

    fn expected(&self, expected: &Expected) -> Answer {
        match *expected {
            Expected::Hello => Answer::Identify,
            Expected::Refused(code, room) => Answer::Error(code, room),
            Expected::Room(_, room) | Expected::Typing(room, _) if self.hello_until.is_some() => {
                Answer::Error("hello_required", Some(room))
            }
            Expected::Pong if self.hello_until.is_some() => Answer::Error("hello_required", None),
            Expected::Pong => Answer::Event("pong"),
            Expected::Room("join", room)
                if self.rooms.contains(room) || self.rooms.len() < self.limits.connection.max_rooms =>
            {
                Answer::Perform("join", room)
            }
            Expected::Room("create", room) => Answer::Perform("create", room),
            Expected::Room("join", room) => Answer::Error("too_many_rooms", Some(room)),
            Expected::Room(kind @ ("follow" | "unfollow"), room) => Answer::Perform(kind, room),
            Expected::Room("read", room) if self.followed.contains(room) => Answer::Perform("read", room),
            Expected::Room(_, room) | Expected::Typing(room, _) if !self.rooms.contains(room) => {
                Answer::Error("not_joined", Some(room))
            }
            Expected::Room(kind, room) => Answer::Perform(kind, room),
            Expected::Typing(room, active) => Answer::Typing(room, active),
        }
    }

    fn check_reply(
        &mut self,
        event: &Value,
        expected: Result<&str, &str>,
        reference: Option<&str>,
        room: Option<&str>,
    ) {
        assert_eq!(event["type"], expected.unwrap_or("error"), "{event}");
        assert_eq!(event["ref"].as_str(), reference, "{event}");
        assert_eq!(event["code"].as_str(), expected.err(), "{event}");
        assert_eq!(event["room"].as_str(), room, "{event}");
        if expected.is_err_and(|code| code != "unavailable") {
            self.errors.push(self.now);
        }
    }

    fn too_many_errors(&self) -> bool {
        let recent =
            self.errors.iter().filter(|at| self.now - **at <= self.limits.connection.error_window).count();
        recent >= self.limits.connection.max_errors
    }
}

/// Returns a guest on the connection 7.
fn user(name: &str) -> Identified {
    Identified::new(User::guest(name).expect("a good name"), "7")
}

fn encoded(event: &Event) -> Value {
    serde_json::from_slice(&event.encode()).expect("an event is JSON")
}
