//! The state of one session's loop: what it waits for, and what it does about it.

mod catch_up;
mod input;
mod operation;
mod send;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use chat_proto::session::{Effect, Session};
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use catch_up::CatchUp;
use operation::Done;

use crate::chat::{Chat, Permit, Phase};
use crate::clocks::{Alarm, Stall};
use crate::connection::{Connection, Incoming, Outgoing};
use crate::inbox::Inbox;
use crate::live::Membership;
use crate::output::Output;
use crate::serve::End;
use crate::{CloseCode, Message, RoomName, User};

/// Frames read, and rounds made, before other tasks get their turn.
const BURST: usize = 32;

/// Replies that wait to be sent before no more commands are read, nor begun.
const REPLIES: usize = 64;

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
    stall: Stall,
    alarm: Alarm,
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
            alarm: Alarm::new(started + session.deadline()),
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
            stall: Stall::default(),
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

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let stall = self.stall.due(self.chat.limits().connection.write_timeout);
        let liveness = self.started + self.session.deadline();
        let parting = self.parting.as_ref().map(|(_, until)| *until);
        let mute = self.mute.as_ref().map(|(_, until)| *until);
        let first = [stall, parting, mute].into_iter().flatten().fold(liveness, Instant::min);
        let Poll::Ready(now) = self.alarm.poll(cx, first) else {
            return false;
        };
        let mut effects = Vec::new();
        if stall.is_some_and(|stall| stall <= now) {
            effects = self.session.handle_stall();
        } else if mute.is_some_and(|until| until <= now) {
            self.end = self.mute.take().map(|(error, _)| End::Lost(error));
        } else if parting.is_some_and(|until| until <= now) {
            if let Some((incoming, _)) = self.parting.take() {
                self.handle(incoming);
            }
        } else if self.reads() {
            effects = self.session.handle_timer(self.now());
        } else {
            // Whatever the peer sends waits here unread: its silence is ours.
            self.session.handle_sign_of_life(self.now());
        }
        self.perform(effects);
        true
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

    /// Leaves all rooms; what is left is what has not been sent, and the numbers of frames received and sent.
    pub(crate) fn leave(self) -> (Output, u64, u64) {
        (self.output, self.received, self.sent)
    }
}
