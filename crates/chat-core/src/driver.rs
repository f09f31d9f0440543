//! The state of one session's loop: what it waits for, and what it does about it.

use std::collections::BTreeMap;
use std::future::ready;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use chat_proto::session::{Action, Effect, Operation, Outcome, Session};
use chat_proto::{Next, command};
use futures_util::future::{BoxFuture, FutureExt};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::chat::{Chat, Permit, Phase, append, search, within};
use crate::connection::{Connection, Incoming, Outgoing};
use crate::inbox::Inbox;
use crate::live::{Entered, LiveRoom, Membership};
use crate::output::Output;
use crate::serve::End;
use crate::{CloseCode, Draft, ErrorCode, Message, Page, Range, RoomName, Standing, User};

/// Frames read, and rounds made, before other tasks get their turn.
const BURST: usize = 32;

/// Replies that wait to be sent before no more commands are read, nor begun.
const REPLIES: usize = 64;

/// What has come of the operation in hand.
enum Done {
    Outcome(Result<Outcome, ErrorCode>),
    Standing(Arc<LiveRoom>, command::From, Result<Standing, ErrorCode>),
}

/// Messages on their way from a room's log to a member who fell behind the room's tail.
struct CatchUp {
    room: RoomName,
    upto: u64,
    page: BoxFuture<'static, Result<Page, ErrorCode>>,
}

pub(crate) struct Driver<'c, M: Message, C> {
    chat: Chat<M>,
    connection: &'c mut C,
    number: u64,
    started: Instant,
    session: Session,
    inbox: Arc<Inbox>,
    memberships: BTreeMap<RoomName, Membership>,
    operation: Option<BoxFuture<'static, Done>>,
    catch_up: Option<CatchUp>,
    /// Rooms that wait for the catching up of another.
    lagging: Vec<RoomName>,
    output: Output,
    unflushed: bool,
    /// Why nothing can be sent any more, and until when what the peer sent before, its close frame perhaps, is
    /// still read.
    mute: Option<(io::Error, Instant)>,
    /// The connection's progress when something began to wait, or last moved, and when that was.
    waiting: Option<(u64, Instant)>,
    timer: Pin<Box<Sleep>>,
    /// How the peer ended, while commands ahead of that are in hand, and how long those may still take.
    parting: Option<(Incoming, Instant)>,
    peer_ended: bool,
    draining: bool,
    end: Option<End>,
    received: u64,
    sent: u64,
}

impl<'c, M: Message, C: Connection> Driver<'c, M, C> {
    pub(crate) fn new(chat: Chat<M>, permit: &Permit, user: User, connection: &'c mut C) -> Self {
        let inbox = Arc::new(Inbox::default());
        permit.enlist(Arc::clone(&inbox));
        let number = permit.connection();
        let limits = Arc::clone(chat.limits());
        let (session, welcome) = Session::open(limits, user, number.to_string(), Duration::ZERO);
        let mut output = Output::default();
        output.reply(Outgoing::Text(welcome.encode()));
        let started = Instant::now();
        Self {
            timer: Box::pin(sleep_until(started + session.deadline())),
            chat,
            connection,
            number,
            started,
            session,
            inbox,
            memberships: BTreeMap::new(),
            operation: None,
            catch_up: None,
            lagging: Vec::new(),
            output,
            unflushed: false,
            mute: None,
            waiting: None,
            parting: None,
            peer_ended: false,
            draining: false,
            end: None,
            received: 0,
            sent: 0,
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.inbox.waker.register(cx.waker());
        self.poll_phase();
        for _ in 0..BURST {
            // Output first: nothing goes out ahead of the welcome, not even a pong.
            let moved = self.poll_output(cx)
                | self.poll_operation(cx)
                | self.poll_input(cx)
                | self.poll_catch_up(cx)
                | self.poll_timer(cx);
            if let Some(end) = self.end.take() {
                return Poll::Ready(match (end, self.parting.take()) {
                    // What the peer did itself says more about the end than what the server thinks of it.
                    (End::Closing(_), Some((Incoming::Close(code), _))) => End::PeerClosed(code),
                    (end, _) => end,
                });
            }
            if !moved {
                return if self.is_finished() { Poll::Ready(End::PeerGone) } else { Poll::Pending };
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether the peer has ended its stream and has got all that it asked for.
    fn is_finished(&self) -> bool {
        self.peer_ended && self.operation.is_none() && self.output.is_empty() && !self.unflushed
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn poll_phase(&mut self) {
        let phase = self.chat.phase();
        if phase == Phase::Ended {
            self.end = self.end.take().or(Some(End::Closing(CloseCode::Restarting)));
        } else if phase == Phase::Draining && !self.draining {
            self.draining = true;
            let effects = self.session.handle_drain();
            self.perform(effects);
        }
    }

    fn poll_operation(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.may_reply() {
            return false;
        }
        let Some(operation) = &mut self.operation else {
            return false;
        };
        let Poll::Ready(done) = operation.poll_unpin(cx) else {
            return false;
        };
        self.operation = None;
        self.take_events();
        let outcome = match done {
            Done::Outcome(outcome) => outcome,
            Done::Standing(room, from, standing) => {
                standing.and_then(|standing| self.enter(room, standing, &from))
            }
        };
        let outcome = outcome.unwrap_or_else(Outcome::Refused);
        let effects = self.session.handle_outcome(self.now(), outcome);
        self.perform(effects);
        true
    }

    fn reads(&self) -> bool {
        self.end.is_none()
            && self.parting.is_none()
            && !self.peer_ended
            && self.session.wants_text()
            && self.may_reply()
    }

    /// Whether the peer takes its replies fast enough to get more of them.
    fn may_reply(&self) -> bool {
        self.output.takes_replies(REPLIES, self.chat.limits().max_batch)
    }

    fn poll_input(&mut self, cx: &mut Context<'_>) -> bool {
        if self.operation.is_none()
            && let Some((incoming, _)) = self.parting.take()
        {
            self.handle(incoming);
            return true;
        }
        let mut moved = false;
        for _ in 0..BURST {
            if !self.reads() {
                break;
            }
            let Poll::Ready(incoming) = self.connection.poll_receive(cx) else {
                break;
            };
            moved = true;
            self.received += u64::from(incoming.is_frame());
            let parts =
                !matches!(incoming, Incoming::Text(_) | Incoming::Ping | Incoming::Pong | Incoming::End);
            if parts && self.operation.is_some() {
                // What came ahead of it is served first.
                let until = Instant::now() + self.chat.limits().room_timeout;
                self.parting = Some((incoming, until));
                break;
            }
            self.handle(incoming);
        }
        moved
    }

    fn handle(&mut self, incoming: Incoming) {
        let now = self.now();
        let effects = match incoming {
            Incoming::Text(text) => {
                // What had happened before the command is told before its reply.
                self.take_events();
                self.session.handle_text(now, text)
            }
            Incoming::Binary(_) => self.session.handle_binary(),
            Incoming::Ping | Incoming::Pong => {
                // The pong leaves with the next flush.
                self.unflushed = true;
                self.session.handle_sign_of_life(now);
                Vec::new()
            }
            Incoming::Violation(code) => self.session.handle_violation(code),
            Incoming::Close(code) => {
                self.end = Some(End::PeerClosed(code));
                Vec::new()
            }
            Incoming::End => {
                self.peer_ended = true;
                Vec::new()
            }
            Incoming::Lost(error) => {
                self.end = Some(End::Lost(error));
                Vec::new()
            }
        };
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Reply(event) => self.output.reply(Outgoing::Text(event.encode())),
                Effect::Ping => self.output.reply(Outgoing::Ping),
                Effect::Perform(operation) => self.begin(operation),
                Effect::Typing(room, active) => {
                    if let Some(membership) = self.memberships.get(&room) {
                        membership.typing(active);
                    }
                }
                Effect::Close(code) => self.end = self.end.take().or(Some(End::Closing(code))),
            }
        }
    }

    fn begin(&mut self, Operation { room: name, action }: Operation) {
        let rooms = Arc::clone(self.chat.rooms());
        let room = match rooms.open(&name) {
            Ok(room) => room,
            Err(code) => return self.finish(Err(code)),
        };
        let operation = match action {
            Action::Leave => {
                self.forget(&name, true);
                self.memberships.remove(&name);
                return self.finish(Ok(Outcome::Left));
            }
            Action::Members => return self.finish(Ok(Outcome::Members(room.members()))),
            Action::Join(from) => async move {
                let standing = within(&rooms, room.log.standing()).await;
                Done::Standing(room, from, standing)
            }
            .boxed(),
            Action::Send { key, body } => {
                let draft = Draft { user: self.session.user().clone(), key, body };
                async move { Done::Outcome(append::<M>(&*room.log, draft, &rooms).await.map(Outcome::Sent)) }
                    .boxed()
            }
            Action::History(range) => {
                async move { Done::Outcome(within(&rooms, room.log.read(range)).await.map(Outcome::History)) }
                    .boxed()
            }
            Action::Search(what) => {
                async move { Done::Outcome(search(&*room.log, what, &rooms).await.map(Outcome::Found)) }
                    .boxed()
            }
        };
        self.operation = Some(operation);
    }

    /// Ends an operation that did not have to wait.
    fn finish(&mut self, outcome: Result<Outcome, ErrorCode>) {
        self.operation = Some(ready(Done::Outcome(outcome)).boxed());
    }

    fn enter(
        &mut self,
        room: Arc<LiveRoom>,
        standing: Standing,
        from: &command::From,
    ) -> Result<Outcome, ErrorCode> {
        let name = room.name().clone();
        let entered = if let Some(membership) = self.memberships.get_mut(&name) {
            let entered = membership.rejoin(standing, from)?;
            if *from != command::From::Now {
                self.forget(&name, false);
            }
            entered
        } else {
            let who = (self.number, self.session.user().clone());
            let rooms = Arc::clone(self.chat.rooms());
            let (membership, entered) =
                Membership::join(rooms, room, who, Arc::clone(&self.inbox), standing, from)?;
            self.memberships.insert(name, membership);
            entered
        };
        let Entered { standing, resumption, members } = entered;
        Ok(Outcome::Joined { standing, resumption, members })
    }

    /// Drops the messages that were taken from a room and not yet sent, and all else if it has been left.
    fn forget(&mut self, room: &RoomName, left: bool) {
        self.output.forget(room, left);
        if self.catch_up.as_ref().is_some_and(|catch_up| catch_up.room == *room) {
            self.catch_up = None;
            self.inbox.requeue(room.clone());
            self.resume_lagging();
        }
    }

    fn resume_lagging(&mut self) {
        for room in self.lagging.drain(..) {
            self.inbox.requeue(room);
        }
    }

    /// Takes what the rooms have, as far as there is room for it; true if a log is to be read for more.
    fn take_events(&mut self) -> bool {
        let mut reads = false;
        while self.output.takes_events(self.chat.limits().max_batch) {
            let Some(room) = self.inbox.pop() else { break };
            let Some(membership) = self.memberships.get_mut(&room) else {
                continue;
            };
            match membership.take() {
                Next::Nothing => {}
                Next::Events(frames) => {
                    for frame in frames {
                        self.output.event(room.clone(), frame);
                    }
                    self.inbox.requeue(room);
                }
                Next::CatchUp { .. } if self.catch_up.is_some() => self.lagging.push(room),
                Next::CatchUp { upto } => {
                    let rooms = Arc::clone(self.chat.rooms());
                    let range = Range::After { seq: membership.seq(), limit: rooms.limits.max_page };
                    let log = Arc::clone(membership.room());
                    let page = async move { within(&rooms, log.log.read(range)).await }.boxed();
                    self.catch_up = Some(CatchUp { room, upto, page });
                    reads = true;
                }
            }
        }
        reads
    }

    fn poll_catch_up(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(CatchUp { page, .. }) = &mut self.catch_up else {
            return false;
        };
        let Poll::Ready(page) = page.poll_unpin(cx) else {
            return false;
        };
        if let Some(CatchUp { room, upto, .. }) = self.catch_up.take()
            && let Some(membership) = self.memberships.get_mut(&room)
        {
            match page.ok().and_then(|page| membership.catch_up(page, upto)) {
                Some(frames) => {
                    for frame in frames {
                        self.output.event(room.clone(), frame);
                    }
                }
                // The client resumes, and is told then what cannot be had.
                None => self.end = self.end.take().or(Some(End::Closing(CloseCode::InternalError))),
            }
            self.inbox.requeue(room);
        }
        self.resume_lagging();
        true
    }

    /// Sends what is there, at most one batch of the rooms' events, and flushes once.
    fn poll_output(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = self.can_send() && self.take_events();
        while self.can_send() && !self.output.is_empty() {
            let Poll::Ready(ready) = self.connection.poll_ready(cx) else { break };
            let Some(frame) = self.output.pop() else { break };
            moved = true;
            self.unflushed = true;
            match ready.and_then(|()| self.connection.send(frame)) {
                Ok(()) => self.sent += 1,
                Err(error) => self.fall_mute(error),
            }
        }
        if self.can_send()
            && self.unflushed
            && let Poll::Ready(flushed) = self.connection.poll_flush(cx)
        {
            self.unflushed = false;
            if let Err(error) = flushed {
                self.fall_mute(error);
            }
        }
        if self.mute.is_some() && !self.output.is_empty() {
            self.output = Output::default();
            // Commands that waited for room among the replies can go on.
            moved = true;
        }
        self.unflushed &= self.mute.is_none();
        self.note_progress();
        moved
    }

    fn fall_mute(&mut self, error: io::Error) {
        self.mute = Some((error, Instant::now() + self.chat.limits().close_timeout));
    }

    fn can_send(&self) -> bool {
        self.end.is_none() && self.mute.is_none()
    }

    fn note_progress(&mut self) {
        let progress = self.connection.progress();
        let waits = self.unflushed || !self.output.is_empty();
        self.waiting = match self.waiting {
            _ if !waits => None,
            Some((before, since)) if before == progress => Some((before, since)),
            _ => Some((progress, Instant::now())),
        };
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let stall = self.waiting.map(|(_, since)| since + self.chat.limits().write_timeout);
        let liveness = self.started + self.session.deadline();
        let parting = self.parting.as_ref().map(|(_, until)| *until);
        let mute = self.mute.as_ref().map(|(_, until)| *until);
        let due = [stall, parting, mute].into_iter().flatten().fold(liveness, Instant::min);
        if due < self.timer.deadline() {
            self.timer.as_mut().reset(due);
        }
        if self.timer.poll_unpin(cx).is_pending() {
            return false;
        }
        let now = Instant::now();
        let mut effects = Vec::new();
        if stall.is_some_and(|stall| stall <= now) {
            effects = self.session.handle_stall();
        } else if mute.is_some_and(|until| until <= now) {
            self.end = self.mute.take().map(|(error, _)| End::Lost(error));
        } else if parting.is_some_and(|until| until <= now) {
            if let Some((incoming, _)) = self.parting.take() {
                self.handle(incoming);
            }
        } else if liveness <= now && !self.reads() {
            // Whatever the peer sends waits here unread: its silence is ours.
            self.session.handle_sign_of_life(self.now());
        } else if liveness <= now {
            effects = self.session.handle_timer(self.now());
        }
        self.perform(effects);
        // The timer may have been set for a moment that is no longer due; the next round sets it.
        let next = self.started + self.session.deadline();
        self.timer.as_mut().reset(next.max(now + Duration::from_millis(1)));
        true
    }

    /// Leaves all rooms; what is left is what has not been sent, and the numbers of frames received and sent.
    pub(crate) fn leave(self) -> (Output, u64, u64) {
        (self.output, self.received, self.sent)
    }
}
