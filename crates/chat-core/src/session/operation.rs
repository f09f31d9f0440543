//! The operations of a session in rooms, one at a time.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};

use chat_proto::command::JoinFrom;
use chat_proto::room::Joined;
use chat_proto::session::{Action as Asked, Operation, Outcome};
use futures_util::future::{BoxFuture, FutureExt};
use serde_json::value::RawValue;

use super::driver::Driver;
use crate::connection::Connection;
use crate::room::{LiveRoom, Membership, OwnFlushes, Rooms, append, search, within};
use crate::timer;
use crate::{
    Action, AppendError, Authorize, ErrorCode, Forbidden, LogBounds, NewMessage, RoomName, SearchError,
    Unavailable, User,
};

/// The operation in flight.
pub(super) enum InFlight {
    /// The operation has an answer, which waits for its turn among the replies.
    Answered(Box<Outcome<Membership>>),
    /// The operation waits for its turn, for a store, or for the host's code.
    Waiting {
        operation: BoxFuture<'static, Result<Done, Refused>>,
        /// True if the operation changes nothing.
        is_read: bool,
        /// The room of a message.
        sent_to: Option<RoomName>,
    },
}

/// The result of an operation that had to wait.
pub(super) enum Done {
    Outcome(Outcome<Membership>),
    /// The room may be joined.
    Bounds(Arc<LiveRoom>, JoinFrom, LogBounds),
}

impl<C: Connection> Driver<'_, C> {
    pub(super) fn poll_operation(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.may_reply() || self.owes_bytes() {
            // A read goes on, because others wait for its turn.
            self.poll_read(cx);
            return false;
        }
        if self.in_flight.is_some() && self.ticket.authorize.is_some() {
            OwnFlushes::write_started();
        }
        let done = match self.in_flight.take() {
            None => return false,
            Some(InFlight::Answered(outcome)) => Done::Outcome(*outcome),
            Some(InFlight::Waiting { mut operation, is_read, sent_to }) => {
                match self.ticket.span.in_scope(|| operation.poll_unpin(cx)) {
                    Poll::Ready(done) => {
                        // The message leaves together with its reply, and not with a flush of its own.
                        if let Some(membership) = sent_to.and_then(|room| self.session.membership(&room)) {
                            membership.queue();
                        }
                        done.unwrap_or_else(Done::from)
                    }
                    Poll::Pending => {
                        self.in_flight = Some(InFlight::Waiting { operation, is_read, sent_to });
                        return false;
                    }
                }
            }
        };
        self.take_events();
        let outcome = match done {
            Done::Outcome(outcome) => outcome,
            Done::Bounds(room, from, bounds) => self.enter(room, bounds, &from),
        };
        let effects = self.session.handle_outcome(self.now(), outcome);
        self.perform(effects);
        true
    }

    /// Polls the read in flight, and keeps its answer.
    fn poll_read(&mut self, cx: &mut Context<'_>) {
        let span = &self.ticket.span;
        if let Some(InFlight::Waiting { operation, is_read: true, .. }) = &mut self.in_flight
            && let Poll::Ready(done) = span.in_scope(|| operation.poll_unpin(cx))
            && let Done::Outcome(outcome) = done.unwrap_or_else(Done::from)
        {
            self.answer(outcome);
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
        let host = Host {
            rooms: Arc::clone(&self.ticket.rooms),
            authorize: self.ticket.authorize.clone(),
            user: self.ticket.user.clone(),
        };
        let membership = self.session.membership(&name);
        let is_read = matches!(action, Asked::History(_) | Asked::Search(_));
        let is_direct = self.ticket.permit.inbox().outlet.is_attached();
        let sent_to = (is_direct && matches!(action, Asked::Send { .. })).then(|| name.clone());
        let operation = match (action, membership.map(|membership| Arc::clone(membership.room()))) {
            // The answer cannot be sent. The commands after this one are still carried out.
            (Asked::History(_) | Asked::Search(_) | Asked::Members { .. }, _)
                if self.has_failed() || self.is_lost() =>
            {
                return self.answer(Outcome::Skipped);
            }
            (Asked::Members { after, limit }, Some(room)) => {
                let page = room.state().roster().page(after.as_ref(), limit);
                return self.answer(Outcome::Members(page));
            }
            (Asked::Join(from), joined) => host.join(name, joined, from).boxed(),
            (Asked::Send { key, body }, Some(room)) => host.send(name, room, key, body).boxed(),
            (Asked::History(range), Some(room)) => {
                let reads = Arc::clone(&self.ticket.reads);
                async move {
                    let (rooms, user) = (&host.rooms, &host.user);
                    let _turn = match reads.history(user.key()).await {
                        Ok(turn) => turn,
                        Err(wait) => {
                            rooms.counters.refuse(|limited| &mut limited.history);
                            return Ok(Done::Outcome(Outcome::TooEarly(wait)));
                        }
                    };
                    let page = within(rooms, room.log().read(range)).await?;
                    Ok(Done::Outcome(Outcome::History(page)))
                }
                .boxed()
            }
            (Asked::Search(query), Some(room)) => {
                let reads = Arc::clone(&self.ticket.reads);
                async move {
                    let (rooms, user) = (&host.rooms, &host.user);
                    let _turn = match reads.search(user.key()).await {
                        Ok(turn) => turn,
                        Err(wait) => {
                            rooms.counters.refuse(|limited| &mut limited.searches);
                            return Ok(Done::Outcome(Outcome::TooEarly(wait)));
                        }
                    };
                    Ok(Done::Outcome(Outcome::Found(search(room.log(), query, rooms).await?)))
                }
                .boxed()
            }
            _ => return self.answer(ErrorCode::NotJoined.into()),
        };
        self.in_flight = Some(InFlight::Waiting { operation, is_read, sent_to });
    }

    /// Returns true if a read is in flight, which may have to wait for its turn.
    pub(super) fn has_read(&self) -> bool {
        matches!(self.in_flight, Some(InFlight::Waiting { is_read: true, .. }))
    }

    /// Skips the read in flight of a peer that is gone, so that it gives up its turn.
    pub(super) fn skip_read(&mut self) {
        if self.has_read() {
            self.answer(Outcome::Skipped);
        }
    }

    /// Answers an operation that did not have to wait.
    fn answer(&mut self, outcome: Outcome<Membership>) {
        self.in_flight = Some(InFlight::Answered(Box::new(outcome)));
    }

    fn count_join(&self, from: &JoinFrom, joined: &Joined) {
        let counters = &self.ticket.rooms.counters;
        counters.join();
        if let JoinFrom::After { .. } = from {
            let (recovered, has_missed) =
                (joined.resumption.recovered, joined.resumption.after < joined.bounds.head);
            counters.resume(|resumes| match (recovered, has_missed) {
                (false, _) => &mut resumes.not_recovered,
                (true, true) => &mut resumes.from_log,
                (true, false) => &mut resumes.from_tail,
            });
        }
    }

    fn enter(&mut self, room: Arc<LiveRoom>, bounds: LogBounds, from: &JoinFrom) -> Outcome<Membership> {
        let name = room.name().clone();
        if let Some(membership) = self.session.membership_mut(&name) {
            let rejoined = membership.rejoin(bounds, from);
            return match rejoined {
                Ok(joined) => {
                    self.count_join(from, &joined);
                    if *from != JoinFrom::Now {
                        self.forget(&name, false);
                    }
                    Outcome::Joined { membership: None, joined }
                }
                Err(error) => ErrorCode::from(error).into(),
            };
        }
        let who = (self.ticket.permit.connection(), self.ticket.user.clone());
        let inbox = Arc::clone(self.ticket.permit.inbox());
        let rooms = Arc::clone(&self.ticket.rooms);
        match Membership::join(rooms, room, who, inbox, bounds, from) {
            Ok((membership, joined)) => {
                self.count_join(from, &joined);
                Outcome::Joined { membership: Some(membership), joined }
            }
            Err(error) => ErrorCode::from(error).into(),
        }
    }
}

/// The rooms and the host's code, for one operation of a user.
struct Host {
    rooms: Arc<Rooms>,
    authorize: Option<Arc<dyn Authorize>>,
    user: User,
}

/// An error for the client, perhaps with a text of the host.
pub(super) struct Refused(ErrorCode, Option<String>);

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Self {
        Self(code, None)
    }
}

impl Host {
    async fn join(
        self,
        name: RoomName,
        joined: Option<Arc<LiveRoom>>,
        from: JoinFrom,
    ) -> Result<Done, Refused> {
        self.may(&name, Action::Join).await?;
        let room = match joined {
            Some(room) => room,
            None => self.rooms.open(&name).await?,
        };
        let bounds = room.bounds(&self.rooms).await?;
        Ok(Done::Bounds(room, from, bounds))
    }

    async fn send(
        self,
        name: RoomName,
        room: Arc<LiveRoom>,
        key: Option<String>,
        body: Box<RawValue>,
    ) -> Result<Done, Refused> {
        (self.rooms.check_body)(&body, &self.rooms.limits).map_err(ErrorCode::from)?;
        self.may(&name, Action::Send { body: &body }).await?;
        let Self { rooms, user, .. } = self;
        if let Err(wait) = rooms.may_create(&user, &room) {
            rooms.counters.refuse(|limited| &mut limited.created);
            return Ok(Done::Outcome(Outcome::TooEarly(wait)));
        }
        let receipt = append(&room, NewMessage::new(user, body).with_key(key), &rooms).await?;
        Ok(Done::Outcome(Outcome::Sent(receipt)))
    }

    /// Asks the host to authorize an action.
    async fn may(&self, room: &RoomName, action: Action<'_>) -> Result<(), Refused> {
        let Some(authorize) = &self.authorize else { return Ok(()) };
        let limit = self.rooms.limits.rooms.call_timeout;
        // The call is inside the block too, because it may panic before it returns a future.
        let authorized = AssertUnwindSafe(async { authorize.authorize(&self.user, room, &action).await });
        let unavailable = match timer::timeout(limit, authorized.catch_unwind()).await {
            Ok(Ok(Ok(()))) => return Ok(()),
            Ok(Ok(Err(Forbidden::Rights))) => return Err(ErrorCode::Forbidden.into()),
            Ok(Ok(Err(Forbidden::Rejected(detail)))) => {
                return Err(Refused(ErrorCode::Rejected, Some(detail)));
            }
            Ok(Ok(Err(Forbidden::Unavailable(unavailable)))) => unavailable,
            Ok(Err(_)) => Unavailable::new("the host's Authorize panicked"),
            Err(_) => Unavailable::new(format!("the host did not authorize within {limit:?}")),
        };
        self.rooms.warnings.unavailable(unavailable.cause());
        Err(ErrorCode::Unavailable.into())
    }
}

impl From<Refused> for Done {
    fn from(Refused(code, detail): Refused) -> Self {
        Self::Outcome(Outcome::Refused { code, detail })
    }
}

impl From<Unavailable> for Refused {
    fn from(_: Unavailable) -> Self {
        ErrorCode::Unavailable.into()
    }
}

impl From<AppendError> for Refused {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::KeyConflict => ErrorCode::KeyConflict.into(),
            _ => ErrorCode::Unavailable.into(),
        }
    }
}

impl From<SearchError> for Refused {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Unsupported => ErrorCode::Unsupported.into(),
            SearchError::BadQuery => ErrorCode::BadQuery.into(),
            // Unlike `unavailable`, this counts as an error of the client.
            SearchError::TooExpensive => Self(ErrorCode::BadQuery, Some(error.to_string())),
            _ => ErrorCode::Unavailable.into(),
        }
    }
}
