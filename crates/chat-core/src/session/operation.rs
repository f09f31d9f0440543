//! The operations of a session in rooms: one at a time, or several messages.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use chat_proto::command::JoinFrom;
use chat_proto::room::Joined;
use chat_proto::session::{Action as Asked, Operation, Outcome};
use futures_util::future::{self, BoxFuture, FutureExt};

use super::driver::Driver;
use super::host::{Host, Refused, append_to};
use crate::connection::Connection;
use crate::room::{Admitted, Heading, LiveRoom, Membership, OwnFlushes};
use crate::{Act, ErrorCode, LogBounds, NewChange, NewMessage, RoomName, Unread, User};

/// An operation in flight.
pub(super) struct InFlight {
    work: Work,
    /// The room of a message or a change that members may get without a task.
    sent_to: Option<RoomName>,
    /// True if a message has its place in the order of its room, or has an answer.
    is_submitted: bool,
    /// True if it may have to wait until a room is opened.
    may_open: bool,
}

pub(super) enum Work {
    /// The operation has an answer, which waits for its turn among the replies.
    Answered(Box<Outcome<Membership>>),
    /// The operation waits for its turn, for a store, or for the host's code.
    Waiting(Kind, Waiting),
}

pub(super) type Waiting = BoxFuture<'static, Result<Done, Refused>>;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It changes nothing.
    Read,
    /// It appends a message. The store has it after the first poll.
    Append,
    Other,
}

/// The result of an operation that had to wait.
pub(super) enum Done {
    Outcome(Outcome<Membership>),
    /// The room may be joined. True if the client asked for a position.
    Bounds(Arc<LiveRoom>, JoinFrom, Entering, bool),
    /// The host allows the message.
    Allowed(Arc<LiveRoom>, NewMessage),
    /// The room, the last user of the page before, and the largest number of users. They are listed with their turn
    /// among the replies, so that no event of the room that the client gets earlier is newer than the list.
    Members(Arc<LiveRoom>, Option<User>, usize),
}

/// The answers that a join has read.
pub(super) struct Entering {
    pub(super) bounds: LogBounds,
    pub(super) admitted: Admitted,
    pub(super) heading: Heading,
    pub(super) unread: Option<Unread>,
}

impl Work {
    pub(super) fn answered(outcome: Outcome<Membership>) -> Self {
        Self::Answered(Box::new(outcome))
    }
}

impl InFlight {
    /// Returns an operation that no member gets.
    pub(super) fn new(work: Work) -> Self {
        Self { work, sent_to: None, is_submitted: false, may_open: false }
    }

    /// Returns an operation that no member gets, and that may have to wait until a room is opened.
    pub(super) fn opening(work: Work) -> Self {
        Self { may_open: true, ..Self::new(work) }
    }
}

impl Done {
    /// Returns the outcome of an operation that is not a join.
    fn into_outcome(self) -> Outcome<Membership> {
        match self {
            Self::Outcome(outcome) => outcome,
            Self::Bounds(..) | Self::Allowed(..) | Self::Members(..) => ErrorCode::Unavailable.into(),
        }
    }
}

impl<C: Connection> Driver<'_, C> {
    pub(super) fn poll_operation(&mut self, cx: &mut Context<'_>) -> bool {
        if self.in_flight.is_empty() {
            return false;
        }
        if !self.may_reply() || self.owes_bytes() {
            self.poll_shared(cx);
            return false;
        }
        if self.ticket.authorize.is_some() {
            OwnFlushes::write_started();
        }
        match self.poll_oldest(cx) {
            Poll::Ready(outcome) => {
                let changes_watched = Self::changes_watched(&outcome);
                let effects = self.session.handle_outcome(self.now(), outcome);
                if changes_watched {
                    self.watch_rooms();
                }
                self.perform(effects);
                true
            }
            Poll::Pending => self.submit_newest(cx),
        }
    }

    fn poll_oldest(&mut self, cx: &mut Context<'_>) -> Poll<Outcome<Membership>> {
        let done = ready!(self.poll_at(0, cx));
        let InFlight { sent_to, .. } = self.in_flight.remove(0);
        if self.in_flight.is_empty() && self.in_flight.spilled() {
            self.in_flight.shrink_to_fit();
        }
        // The message leaves together with its reply, and not with a flush of its own.
        if let Some(membership) = sent_to.and_then(|room| self.session.membership(&room)) {
            membership.queue(true);
        }
        self.take_events();
        Poll::Ready(match done {
            Done::Bounds(room, from, admitted, is_resume) => self.enter(room, admitted, &from, is_resume),
            Done::Members(room, after, limit) => {
                Outcome::Members(room.state().roster().page(after.as_ref(), limit))
            }
            done => done.into_outcome(),
        })
    }

    /// Polls the operation at an index of those in flight. If the host allows a message, it is appended.
    fn poll_at(&mut self, index: usize, cx: &mut Context<'_>) -> Poll<Done> {
        loop {
            let work = &mut self.in_flight[index].work;
            let done = match work {
                Work::Answered(outcome) => {
                    return Poll::Ready(Done::Outcome(std::mem::replace(outcome, Outcome::Skipped)));
                }
                Work::Waiting(_, operation) => ready!(operation.poll_unpin(cx)).unwrap_or_else(Done::from),
            };
            match done {
                Done::Allowed(room, message) => {
                    *work = append_to(room, message, Arc::clone(&self.ticket.rooms));
                }
                done => return Poll::Ready(done),
            }
        }
    }

    /// Polls the newest message for the first time. If the store keeps the order of messages, the next one may follow.
    fn submit_newest(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(newest) = self.in_flight.len().checked_sub(1) else { return false };
        if self.in_flight[newest].is_submitted || !self.ticket.rooms.store.keeps_order() {
            return false;
        }
        if newest > 0
            && let Poll::Ready(done) = self.poll_at(newest, cx)
        {
            self.in_flight[newest].work = Work::answered(done.into_outcome());
        }
        let InFlight { work, is_submitted, .. } = &mut self.in_flight[newest];
        *is_submitted = matches!(work, Work::Answered(_) | Work::Waiting(Kind::Append, _));
        if !*is_submitted {
            return false;
        }
        let effects = self.session.handle_submitted(self.now());
        let moved = !effects.is_empty();
        self.perform(effects);
        moved
    }

    /// Polls the reads and appends in flight, and keeps their answers: others wait for the turn of a read, and for what
    /// the poll of an append does for its whole batch. A change does the same, but its store publishes without it soon.
    fn poll_shared(&mut self, cx: &mut Context<'_>) {
        for InFlight { work, .. } in &mut self.in_flight {
            if let Work::Waiting(Kind::Read | Kind::Append, operation) = work
                && let Poll::Ready(done) = operation.poll_unpin(cx)
            {
                *work = Work::answered(done.unwrap_or_else(Done::from).into_outcome());
            }
        }
    }

    pub(super) fn begin(&mut self, Operation { room: name, action }: Operation) {
        if matches!(action, Asked::Leave) {
            if let Some(membership) = self.session.leave(&name) {
                membership.leave();
            }
            self.forget(&name, true);
            return self.answer(Outcome::Left);
        }
        let Some(host) = Host::of(&self.ticket) else {
            return self.answer(ErrorCode::HelloRequired.into());
        };
        let membership = self.session.membership(&name);
        let room = membership.map(|membership| Arc::clone(membership.room()));
        let is_direct = self.ticket.permit.inbox().outlet.is_attached();
        let is_entry = matches!(action, Asked::Send { .. } | Asked::Change { .. } | Asked::Govern(_));
        let sent_to = (is_direct && is_entry).then(|| name.clone());
        let may_open = matches!(
            action,
            Asked::Join(_) | Asked::JoinDirect { .. } | Asked::Govern(_) | Asked::Read(_) | Asked::Follow(_)
        );
        let work = match (action, room) {
            // The answer cannot be sent. The commands after this one are still carried out.
            (
                Asked::History(_)
                | Asked::Messages(_)
                | Asked::Thread(..)
                | Asked::Search(_)
                | Asked::Members { .. },
                _,
            ) if self.has_failed() || self.is_lost() => Work::answered(Outcome::Skipped),
            (Asked::Members { after, limit }, Some(room)) => {
                Work::Waiting(Kind::Other, future::ready(Ok(Done::Members(room, after, limit))).boxed())
            }
            (Asked::Join(from), joined) => {
                let reads = Arc::clone(&self.ticket.reads);
                Work::Waiting(Kind::Other, host.join(reads, name, joined, from).boxed())
            }
            (Asked::JoinDirect { with, from }, joined) => {
                let (reads, peers) = (Arc::clone(&self.ticket.reads), self.ticket.permit.peers());
                Work::Waiting(Kind::Other, host.join_direct(reads, name, joined, (with, from), peers).boxed())
            }
            (Asked::Send { key, body, links }, Some(room)) => {
                let mut message = NewMessage::new(host.user().clone(), body).with_key(key);
                message.links = links;
                host.send(name, room, message)
            }
            (Asked::Change { seq, change, rev, key, mentions }, Some(room)) => {
                let change = NewChange::new(host.user().clone(), seq, change).with_rev(rev).with_key(key);
                Work::Waiting(Kind::Other, host.change(name, room, change.with_mentions(mentions)).boxed())
            }
            (Asked::Govern(act), room) if room.is_some() || matches!(act, Act::Create { .. }) => {
                Work::Waiting(Kind::Other, host.govern(name, room, act).boxed())
            }
            (Asked::Read(seq), joined) => {
                let peers = self.ticket.permit.peers();
                Work::Waiting(Kind::Other, host.read(name, joined.is_some(), seq, peers).boxed())
            }
            (Asked::Follow(on), _) => {
                let (reads, peers) = (Arc::clone(&self.ticket.reads), self.ticket.permit.peers());
                Work::Waiting(Kind::Other, host.follow(reads, name, on, peers).boxed())
            }
            (Asked::Messages(seqs), Some(room)) => {
                let reads = Arc::clone(&self.ticket.reads);
                Work::Waiting(Kind::Read, host.messages(reads, room, seqs).boxed())
            }
            (Asked::Thread(root, range), Some(room)) => {
                let reads = Arc::clone(&self.ticket.reads);
                Work::Waiting(Kind::Read, host.thread(reads, room, root, range).boxed())
            }
            (Asked::History(range), Some(room)) => {
                let reads = Arc::clone(&self.ticket.reads);
                Work::Waiting(Kind::Read, host.history(reads, room, range).boxed())
            }
            (Asked::Search(query), Some(room)) => {
                let reads = Arc::clone(&self.ticket.reads);
                Work::Waiting(Kind::Read, host.search(reads, room, query).boxed())
            }
            _ => Work::answered(ErrorCode::NotJoined.into()),
        };
        self.in_flight.push(InFlight { work, sent_to, is_submitted: false, may_open });
    }

    /// Returns true if a read is in flight, which may have to wait for its turn.
    pub(super) fn has_read(&self) -> bool {
        let is_read = |operation: &InFlight| matches!(operation.work, Work::Waiting(Kind::Read, _));
        self.in_flight.first().is_some_and(is_read)
    }

    /// Returns true if an operation in flight may have to wait until a room is opened.
    pub(super) fn may_open(&self) -> bool {
        self.in_flight.iter().any(|operation| operation.may_open)
    }

    /// Returns true if a list of rooms is complete and waits for its turn among the replies.
    pub(super) fn has_list(&self) -> bool {
        let is_list = |operation: &InFlight| match &operation.work {
            Work::Answered(outcome) => matches!(**outcome, Outcome::Listed { .. }),
            Work::Waiting(..) => false,
        };
        self.in_flight.first().is_some_and(is_list)
    }

    /// Skips the read in flight of a peer that is gone, so that it gives up its turn.
    pub(super) fn skip_read(&mut self) {
        if self.has_read() {
            self.in_flight.clear();
            self.answer(Outcome::Skipped);
        }
    }

    /// Answers an operation that did not have to wait.
    fn answer(&mut self, outcome: Outcome<Membership>) {
        self.in_flight.push(InFlight::new(Work::answered(outcome)));
    }

    fn count_join(&self, is_resume: bool, joined: &Joined) {
        let counters = &self.ticket.rooms.counters;
        counters.join();
        if is_resume {
            let (recovered, has_missed) =
                (joined.resumption.recovered, joined.resumption.after < joined.bounds.head);
            counters.resume(|resumes| match (recovered, has_missed) {
                (false, _) => &mut resumes.not_recovered,
                (true, true) => &mut resumes.from_log,
                (true, false) => &mut resumes.from_tail,
            });
        }
    }

    fn enter(
        &mut self,
        room: Arc<LiveRoom>,
        Entering { bounds, admitted, heading, unread }: Entering,
        from: &JoinFrom,
        is_resume: bool,
    ) -> Outcome<Membership> {
        let name = room.name().clone();
        if let Some(membership) = self.session.membership_mut(&name) {
            let rejoined = membership.rejoin((bounds, admitted), from);
            return match rejoined {
                Ok(mut joined) => {
                    heading.set(&mut joined);
                    self.count_join(is_resume, &joined);
                    if *from != JoinFrom::Now {
                        self.forget(&name, false);
                    }
                    Outcome::Joined { membership: None, joined: Box::new(joined), unread }
                }
                Err(error) => ErrorCode::from(error).into(),
            };
        }
        let Some(user) = self.ticket.user.clone() else { return ErrorCode::HelloRequired.into() };
        let who = (self.ticket.permit.connection(), user);
        let inbox = Arc::clone(self.ticket.permit.inbox());
        let rooms = Arc::clone(&self.ticket.rooms);
        match Membership::join(rooms, room, who, inbox, (bounds, admitted), from) {
            Ok((membership, mut joined)) => {
                heading.set(&mut joined);
                self.count_join(is_resume, &joined);
                Outcome::Joined { membership: Some(membership), joined: Box::new(joined), unread }
            }
            Err(error) => ErrorCode::from(error).into(),
        }
    }
}
