use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use chat_proto::Bucket;
use chat_proto::session::{Effect, Identified, Session};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::catch_up::CatchUps;
use super::end::End;
use super::following::Watching;
use super::govern::RightsChecks;
use super::hello::Hello;
use super::operation::InFlight;
use super::output::Output;
use super::registry::Phase;
use super::requested::RequestedBytes;
use super::ticket::Ticket;
use crate::connection::{Connection, Incoming, Outgoing};
use crate::room::{Membership, OwnFlushes};
use crate::timer::{Alarm, Stall};
use crate::{CloseCode, Limits};

/// Frames read, and rounds made, before other tasks get their turn.
pub(super) const BURST: usize = 32;

/// Replies that wait to be sent before no more commands are read or begun.
pub(super) const MAX_REPLIES: usize = 64;

/// The loop of one session. It polls the connection, the operation in flight, and the timer.
pub(super) struct Driver<'c, C> {
    pub(super) ticket: Box<Ticket>,
    pub(super) connection: &'c mut C,
    pub(super) session: Session<Membership>,
    /// The operations in flight, oldest first, as those of the session.
    pub(super) in_flight: SmallVec<[InFlight; 1]>,
    pub(super) hello: Option<Hello>,
    pub(super) catch_ups: CatchUps,
    pub(super) rights: RightsChecks,
    pub(super) watching: Watching,
    pub(super) output: Output,
    pub(super) writer: Writer,
    pub(super) state: State,
    pub(super) received: u64,
    /// The bytes that the peer may send.
    pub(super) read_bytes: Bucket,
    /// The time at which the peer, which sends faster than it may, is read again. `None` if it was read.
    pub(super) resumes: Option<Instant>,
    pub(super) requested: RequestedBytes,
    pub(super) sent: u64,
    /// The bytes read and sent in this poll.
    pub(super) uncounted: (u32, u32),
    pub(super) started: Instant,
    /// The time since the start, at the beginning of the poll.
    now: Duration,
    /// The time for which the alarm was set in this poll.
    alarm_set: Option<Instant>,
    /// False once the connection has no more input in this poll. It wakes the session when it has some.
    pub(super) has_input: bool,
    stall: Stall,
    alarm: Alarm,
}

/// The progress of a session towards its end.
#[derive(Debug)]
pub(super) enum State {
    /// The peer can send commands.
    Open,
    /// The peer has ended its stream, and gets the answers to its commands.
    PeerEnded,
    /// The peer has closed or broken the protocol while an earlier command is in flight. The command has until this
    /// time.
    Deferred(Box<(Incoming, Instant)>),
    /// The session is over.
    Ended(End),
}

/// The sending half of the connection.
#[derive(Debug)]
pub(super) enum Writer {
    /// Frames can be sent; true while some are not flushed.
    Open { unflushed: bool },
    /// No frame can be sent any more. Frames that the peer sent before, perhaps its close frame, are read until this
    /// time.
    Failed(io::Error, Instant),
}

impl<'c, C: Connection> Driver<'c, C> {
    pub(super) fn new(mut ticket: Box<Ticket>, connection: &'c mut C) -> Self {
        ticket.permit.begin_session();
        let (limits, started, mut output) = (Arc::clone(ticket.limits()), Instant::now(), Output::default());
        let mut session = match ticket.user.clone() {
            Some(user) => {
                let identified = Identified::new(user, ticket.permit.connection_id());
                let identified = identified.until(ticket.take_expiry(started));
                let (session, welcome) = Session::open(limits, identified, Duration::ZERO);
                output.reply(Outgoing::Text(welcome.encode()));
                session
            }
            None => Session::open_without_user(limits, Duration::ZERO),
        };
        session.share_rate(ticket.user_rate.take().map(|rate| rate as _));
        ticket.permit.inbox().outlet.attach(connection.direct());
        Self {
            alarm: Alarm::new(started + session.deadline()),
            watching: Watching::new(Arc::clone(&ticket.rooms)),
            ticket,
            connection,
            session,
            in_flight: SmallVec::new(),
            hello: None,
            catch_ups: CatchUps::default(),
            rights: RightsChecks::default(),
            output,
            writer: Writer::Open { unflushed: false },
            state: State::Open,
            received: 0,
            read_bytes: Bucket::default(),
            resumes: None,
            requested: RequestedBytes::default(),
            sent: 0,
            uncounted: (0, 0),
            started,
            now: Duration::ZERO,
            alarm_set: None,
            has_input: true,
            stall: Stall::default(),
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let flushes = OwnFlushes::collect();
        self.close_outlet();
        let end = self.poll_rounds(cx);
        self.count_bytes();
        if end.is_pending() && self.is_quiet() {
            self.ticket.permit.inbox().outlet.open();
        }
        flushes.write();
        end
    }

    fn poll_rounds(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.ticket.permit.inbox().waker.register(cx.waker());
        (self.has_input, self.alarm_set, self.now) = (true, None, self.started.elapsed());
        self.note_owed_bytes();
        self.poll_phase();
        // Output first: nothing goes out ahead of the welcome, not even a pong.
        let mut moved = self.poll_output(cx);
        for round in 0..BURST {
            if round > 0 {
                self.note_owed_bytes();
            }
            let was_idle = self.in_flight.is_empty();
            moved |= self.take_updates()
                | self.poll_operation(cx)
                | self.poll_hello(cx)
                | self.poll_input(cx)
                // A command that was just read.
                | (was_idle && self.poll_operation(cx))
                | self.poll_catch_up(cx)
                | self.poll_rights(cx);
            // What is ready together leaves together. The first reply leaves at once, which shows a peer that is gone.
            if !moved || round == 0 || round == BURST - 1 {
                moved |= self.poll_output(cx);
            }
            // Once, so that a busy session has its timers too, and before the session waits. After the output, which
            // may begin the wait for a peer that does not read.
            if round == 0 || !moved {
                moved |= self.poll_timer(cx);
            }
            if let State::Ended(end) = &mut self.state {
                return Poll::Ready(std::mem::replace(end, End::PeerGone));
            }
            if !moved {
                return if self.is_finished() { Poll::Ready(End::PeerGone) } else { Poll::Pending };
            }
            moved = false;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Leaves all rooms, on purpose if the user was kicked. Returns the ticket, the unsent frames, and the numbers of
    /// frames received and sent.
    pub(super) fn leave(mut self) -> (Box<Ticket>, Output, u64, u64) {
        if self.ticket.permit.close_now() == Some(CloseCode::Kicked) {
            self.session.leave_all().for_each(Membership::leave);
        }
        // A room may have written a part of a frame after the last poll.
        self.close_outlet();
        self.ticket.permit.inbox().outlet.detach();
        (self.ticket, self.output, self.received, self.sent)
    }

    pub(super) fn limits(&self) -> &Arc<Limits> {
        self.ticket.limits()
    }

    /// Returns the time since the start of the session, as it was when this poll began. A poll is short, and reads the
    /// clock once.
    pub(super) fn now(&self) -> Duration {
        self.now
    }

    /// Ends the session, unless it has ended.
    pub(super) fn end(&mut self, end: End) {
        let deferred = match &self.state {
            State::Ended(_) => return,
            State::Deferred(deferred) => Some(&deferred.0),
            _ => None,
        };
        self.state = State::Ended(match (deferred, end) {
            // The close of the peer came before that of the server.
            (Some(Incoming::Close(code)), End::Closing(_)) => End::PeerClosed(*code),
            (_, end) => end,
        });
    }

    pub(super) fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }

    pub(super) fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Reply(event) => self.reply(&event),
                Effect::Ping => self.output.reply(Outgoing::Ping),
                Effect::Identify(token) => self.begin_hello(token),
                Effect::Perform(operation) => self.begin(operation),
                Effect::List(listing) => self.begin_list(listing),
                Effect::Typing(room, active) => {
                    if let Some(membership) = self.session.membership(&room) {
                        membership.typing(active);
                    }
                }
                Effect::Close(code) => self.end(End::Closing(code)),
            }
        }
    }

    /// Adds the bytes that were read and sent to those of the chat.
    fn count_bytes(&mut self) {
        let (read, sent) = std::mem::take(&mut self.uncounted);
        let (counters, connection) = (&self.ticket.rooms.counters, self.ticket.permit.connection());
        if read > 0 {
            counters.bytes_read.add(connection, read.into());
        }
        if sent > 0 {
            counters.bytes_sent.add(connection, sent.into());
        }
    }

    /// Records whether frames wait for the peer.
    pub(super) fn note_stall(&mut self) {
        let waits = self.has_unflushed() || !self.output.is_empty();
        self.stall.note(waits, self.connection.progress());
    }

    /// Returns true if nothing waits to be sent.
    pub(super) fn is_quiet(&self) -> bool {
        matches!((&self.state, &self.writer), (State::Open, Writer::Open { unflushed: false }))
            && self.output.is_empty()
    }

    pub(super) fn has_unflushed(&self) -> bool {
        matches!(self.writer, Writer::Open { unflushed: true })
    }

    /// Returns true if the peer has ended its stream and has got all answers.
    fn is_finished(&self) -> bool {
        matches!(self.state, State::PeerEnded)
            && self.in_flight.is_empty()
            && self.hello.is_none()
            && self.output.is_empty()
            && !self.has_unflushed()
    }

    fn poll_phase(&mut self) {
        if let Some(code) = self.ticket.permit.close_now() {
            self.end(End::Closing(code));
        } else if self.ticket.permit.phase() == Phase::Draining {
            let effects = self.session.handle_drain();
            self.perform(effects);
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let stall = self.stall.due(self.limits().connection.write_timeout);
        let liveness = self.started + self.session.deadline();
        let deferred = match &self.state {
            State::Deferred(deferred) => Some(deferred.1),
            _ => None,
        };
        let failed = match &self.writer {
            Writer::Failed(_, until) => Some(*until),
            Writer::Open { .. } => None,
        };
        let (resumes, requested) = (self.resumes, self.requested.resumes);
        let credentials = self.session.credentials_deadline().map(|due| self.started + due);
        let first = [stall, deferred, failed, resumes, requested, credentials];
        let first = first.into_iter().flatten().fold(liveness, Instant::min);
        if self.alarm_set.is_some_and(|set| set <= first) {
            return false;
        }
        let Poll::Ready(now) = self.alarm.poll(cx, first) else {
            self.alarm_set = Some(first);
            return false;
        };
        // It is over, so it must be set again.
        self.alarm_set = None;
        self.now = now.saturating_duration_since(self.started);
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let mut effects = Vec::new();
        if is_due(stall) {
            effects = self.session.handle_stall();
        } else if is_due(failed) {
            if let Writer::Failed(error, _) =
                std::mem::replace(&mut self.writer, Writer::Open { unflushed: false })
            {
                self.end(End::Lost(error));
            }
        } else if is_due(deferred) {
            self.handle_deferred();
        } else if is_due(credentials) {
            effects = self.session.handle_credentials(self.now());
        } else if is_due(resumes) || is_due(requested) {
            // The next round reads again.
        } else if resumes.is_none() && self.wants_input() {
            effects = self.session.handle_timer(self.now());
        } else {
            // Frames of the peer may wait unread, so its silence is not known.
            self.session.handle_sign_of_life(self.now());
        }
        self.perform(effects);
        true
    }
}
