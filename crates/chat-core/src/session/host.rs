//! The rooms and the host's code, as an operation of a session uses them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chat_proto::command::JoinFrom;
use chat_proto::session::Outcome;
use futures_util::future::FutureExt;

use super::operation::{Done, Entering, Kind, Work};
use super::peers::Peers;
use super::reads::ReadQueues;
use super::ticket::Ticket;
use crate::fair_queue::Turn;
use crate::room::{Admitted, LiveRoom, NotOpened, Rooms, append, ask, change, within};
use crate::stats::count;
use crate::{
    Action, AppendError, Authorize, Change, ChangeError, ErrorCode, Forbidden, Links, LogBounds, MarkerError,
    Mentions, NewChange, NewMessage, Range, Role, RoomName, Search, SearchError, ThreadError, Unavailable,
    User,
};

/// Entries that a join with `last` replays, if there are many changes among them.
const MAX_LAST_ENTRIES: u64 = 1_000;

/// The rooms and the host's code, for one operation of a user.
pub(super) struct Host {
    pub(super) rooms: Arc<Rooms>,
    authorize: Option<Arc<dyn Authorize>>,
    user: User,
    /// The connection of a guest, which is all that a guest proves.
    connection: Option<u64>,
}

/// The reason why an operation has no result.
pub(super) enum Refused {
    /// An error for the client, perhaps with a text of the host.
    Error(ErrorCode, Option<String>),
    /// The command came too early by this time.
    TooEarly(Duration),
    /// Too many rooms wait to be opened. The client must return after this time.
    Busy(Duration),
}

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Self {
        Self::Error(code, None)
    }
}

impl Host {
    /// Returns `None` if the user is not known yet.
    pub(super) fn of(ticket: &Ticket) -> Option<Self> {
        let (rooms, authorize) = (Arc::clone(&ticket.rooms), ticket.authorize.clone());
        let user = ticket.user.clone()?;
        let connection = user.is_guest().then(|| ticket.permit.random());
        Some(Self { rooms, authorize, user, connection })
    }

    pub(super) fn user(&self) -> &User {
        &self.user
    }

    pub(super) async fn join(
        self,
        reads: Arc<ReadQueues>,
        name: RoomName,
        joined: Option<Arc<LiveRoom>>,
        from: JoinFrom,
    ) -> Result<Done, Refused> {
        self.may_join_by_name(&name).await?;
        let room = match joined {
            Some(room) => room,
            None => self.open(&name).await?,
        };
        self.enter(reads, room, from).await
    }

    /// Opens a room for the user, unless it is open.
    pub(super) async fn open(&self, name: &RoomName) -> Result<Arc<LiveRoom>, Refused> {
        self.rooms.open_for(name, Some(self.user.key())).await.map_err(|error| match error {
            NotOpened::Unavailable(unavailable) => unavailable.into(),
            NotOpened::Busy => {
                count(&self.rooms.counters.openings_refused);
                Refused::Busy(self.rooms.openings.advice())
            }
        })
    }

    /// Reads all that a join needs. A store that knows the bounds of an open room is not asked for them.
    pub(super) async fn enter(
        self,
        reads: Arc<ReadQueues>,
        room: Arc<LiveRoom>,
        from: JoinFrom,
    ) -> Result<Done, Refused> {
        let mut bounds = room.bounds_from(&self.rooms, &from).await?;
        let is_resume = matches!(from, JoinFrom::After { .. });
        let from = match from {
            JoinFrom::Last(count) if bounds.has_changes => {
                let after = self.before_newest(&room, &bounds, count).await?;
                JoinFrom::After { epoch: bounds.epoch.clone(), seq: after }
            }
            from => from,
        };
        let granted = self.role(room.name()).await?;
        let admitted = Admitted::to(&room, &self.rooms, &self.user.key(), granted, &bounds).await?;
        let (admitted, heading) = admitted.map_err(ErrorCode::from)?;
        // A member gets the later entries. A log that cannot count now must not keep the user out.
        let unread = match reads.count(self.user.key()).await {
            Ok(_turn) => within(&self.rooms, room.log().unread(&self.user.key(), bounds.head)).await.ok(),
            Err(_) => None,
        };
        // The reply is the state at the head that the room has now, so its pins must not be older.
        if room.state().has_taken(&bounds.epoch, bounds.head + 1) {
            let latest = room.bounds_from(&self.rooms, &from).await?;
            // A position may be of the epoch that was read first. After another one began, the join is refused.
            if latest.epoch == bounds.epoch {
                bounds = latest;
            }
        }
        Ok(Done::Bounds(room, from, Entering { bounds, admitted, heading, unread }, is_resume))
    }

    /// Returns the position before the newest `count` messages of a log in which positions do not count messages. The
    /// position has at most [`MAX_LAST_ENTRIES`] entries after it.
    async fn before_newest(
        &self,
        room: &LiveRoom,
        bounds: &LogBounds,
        mut count: u64,
    ) -> Result<u64, Unavailable> {
        let mut after = bounds.head;
        let least = bounds.head.saturating_sub(MAX_LAST_ENTRIES);
        while count > 0 && after > least {
            let limit = usize::try_from(count).unwrap_or(usize::MAX);
            let page = within(&self.rooms, room.log().read(Range::before(after + 1, limit))).await?;
            let Some(oldest) = page.messages.first().filter(|_| page.epoch == bounds.epoch) else { break };
            after = oldest.seq.saturating_sub(1);
            count = if page.more { count.saturating_sub(page.messages.len() as u64) } else { 0 };
        }
        Ok(after.max(least))
    }

    /// Changes a message.
    pub(super) async fn change(
        self,
        name: RoomName,
        room: Arc<LiveRoom>,
        mut new: NewChange,
    ) -> Result<Done, Refused> {
        if let Change::Edit { body } = &new.change {
            (self.rooms.check_body)(body, &self.rooms.limits).map_err(ErrorCode::from)?;
        }
        let mentions = new.mentions.as_ref();
        self.may(&name, Action::Change { target: new.target, change: &new.change, mentions }).await?;
        // In a room without rules, the role decides about nothing else.
        let is_moderation = matches!(new.change, Change::Delete { .. } | Change::Pin { .. });
        if is_moderation || new.mentions == Some(Mentions::Room) || room.has_rules() {
            new.role = self.role(&name).await?;
        }
        new.connection = self.connection;
        Ok(Done::Outcome(Outcome::Changed(change(&room, new, &self.rooms).await?)))
    }

    pub(super) async fn messages(
        self,
        reads: Arc<ReadQueues>,
        room: Arc<LiveRoom>,
        seqs: Vec<u64>,
    ) -> Result<Done, Refused> {
        let _turn = self.turn(&reads).await?;
        let max_bytes = self.rooms.limits.wire.max_batch_bytes;
        let page = within(&self.rooms, room.log().messages(&seqs, max_bytes)).await?;
        Ok(Done::Outcome(Outcome::History(page)))
    }

    /// Waits for a turn to read history.
    async fn turn(&self, reads: &ReadQueues) -> Result<Turn, Refused> {
        reads.history(self.user.key()).await.map_err(|wait| {
            self.rooms.counters.refuse(|limited| &mut limited.history);
            Refused::TooEarly(wait)
        })
    }

    /// Begins to send a message.
    pub(super) fn send(self, name: RoomName, room: Arc<LiveRoom>, mut message: NewMessage) -> Work {
        if let Err(error) = (self.rooms.check_body)(&message.body, &self.rooms.limits) {
            return Work::answered(ErrorCode::from(error).into());
        }
        message.connection = self.connection;
        if self.authorize.is_none() {
            return append_to(room, message, self.rooms);
        }
        let allowed = async move {
            self.may(&name, Action::Send { body: &message.body, links: message.links.as_deref() }).await?;
            // In a room without rules, the role decides about nothing else.
            if room.has_rules() || message.links.as_deref().is_some_and(Links::mentions_room) {
                message.role = self.role(&name).await?;
            }
            Ok(Done::Allowed(room, message))
        };
        Work::Waiting(Kind::Other, allowed.boxed())
    }

    pub(super) async fn thread(
        self,
        reads: Arc<ReadQueues>,
        room: Arc<LiveRoom>,
        root: u64,
        range: Range,
    ) -> Result<Done, Refused> {
        let _turn = self.turn(&reads).await?;
        Ok(Done::Outcome(Outcome::History(within(&self.rooms, room.log().thread(root, range)).await?)))
    }

    pub(super) async fn history(
        self,
        reads: Arc<ReadQueues>,
        room: Arc<LiveRoom>,
        range: Range,
    ) -> Result<Done, Refused> {
        let _turn = self.turn(&reads).await?;
        let page = within(&self.rooms, room.log().read(range)).await?;
        Ok(Done::Outcome(Outcome::History(page)))
    }

    pub(super) async fn search(
        self,
        reads: Arc<ReadQueues>,
        room: Arc<LiveRoom>,
        query: Search,
    ) -> Result<Done, Refused> {
        let (rooms, user) = (&self.rooms, &self.user);
        let _turn = reads.search(user.key()).await.map_err(|wait| {
            rooms.counters.refuse(|limited| &mut limited.searches);
            Refused::TooEarly(wait)
        })?;
        Ok(Done::Outcome(Outcome::Found(within(rooms, room.log().search(query)).await?)))
    }

    /// Moves the marker of the user. A connection that is not in the room needs the right to join it.
    pub(super) async fn read(
        self,
        name: RoomName,
        is_member: bool,
        seq: u64,
        peers: Peers,
    ) -> Result<Done, Refused> {
        if !is_member {
            self.may_join(&name).await?;
        }
        let user = self.user.key();
        let marked = self.rooms.mark(&name, &user, seq).await?;
        if marked.moved {
            peers.announce_read(&user, &name, marked.seq);
            // The marker is stored: without the rules, nobody else gets an event.
            let _told = self.rooms.announce_read(&name, &self.user, &marked).await;
        }
        Ok(Done::Outcome(Outcome::Read(marked)))
    }

    /// Follows a room, or ends that. One command of a user at a time, so that the connections of the user learn the
    /// states in the order in which they are stored.
    pub(super) async fn follow(
        self,
        reads: Arc<ReadQueues>,
        name: RoomName,
        on: bool,
        peers: Peers,
    ) -> Result<Done, Refused> {
        if on {
            self.may_join(&name).await?;
        }
        let (user, max) = (self.user.key(), self.rooms.limits.rooms.max_followed_per_user);
        let _turn = reads.count(user.clone()).await.map_err(Refused::TooEarly)?;
        within(&self.rooms, self.rooms.store.follow(&user, &name, on, max)).await?;
        peers.announce_follow(&user, &name, on);
        if !on {
            self.rooms.announce_followed(&name, &user, false);
        }
        Ok(Done::Outcome(Outcome::Followed(on)))
    }

    /// Asks the host to authorize an action.
    pub(super) async fn may(&self, room: &RoomName, action: Action<'_>) -> Result<(), Refused> {
        let Some(authorize) = &self.authorize else { return Ok(()) };
        // The call is inside the block, because it may panic before it returns a future.
        self.ask(async { authorize.authorize(&self.user, room, &action).await }).await
    }

    /// Asks the host for the role of the user.
    pub(super) async fn role(&self, room: &RoomName) -> Result<Role, Refused> {
        let Some(authorize) = &self.authorize else { return Ok(Role::None) };
        self.ask(async { authorize.role(&self.user, room).await }).await
    }

    /// Waits for an answer of the host.
    async fn ask<T>(&self, answer: impl Future<Output = Result<T, Forbidden>>) -> Result<T, Refused> {
        ask(&self.rooms, answer).await.map_err(|forbidden| match forbidden {
            Forbidden::Rights => ErrorCode::Forbidden.into(),
            Forbidden::Rejected(detail) => Refused::Error(ErrorCode::Rejected, Some(detail)),
            Forbidden::Unavailable(_) => ErrorCode::Unavailable.into(),
        })
    }
}

impl From<Refused> for Done {
    fn from(refused: Refused) -> Self {
        Self::Outcome(match refused {
            Refused::Error(code, detail) => Outcome::Refused { code, detail },
            Refused::TooEarly(wait) => Outcome::TooEarly(wait),
            Refused::Busy(wait) => Outcome::Busy(wait),
        })
    }
}

impl From<Unavailable> for Refused {
    fn from(_: Unavailable) -> Self {
        ErrorCode::Unavailable.into()
    }
}

impl From<AppendError> for Refused {
    fn from(error: AppendError) -> Self {
        ErrorCode::from(error).into()
    }
}

impl From<ThreadError> for Refused {
    fn from(error: ThreadError) -> Self {
        ErrorCode::from(error).into()
    }
}

impl From<ChangeError> for Refused {
    fn from(error: ChangeError) -> Self {
        // The code has another cause too, so the client gets a text.
        let detail = matches!(error, ChangeError::TooManyPins).then(|| error.to_string());
        Self::Error(ErrorCode::from(error), detail)
    }
}

impl From<MarkerError> for Refused {
    fn from(error: MarkerError) -> Self {
        ErrorCode::from(error).into()
    }
}

impl From<SearchError> for Refused {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Unsupported => ErrorCode::Unsupported.into(),
            SearchError::BadQuery => ErrorCode::BadQuery.into(),
            // Unlike `unavailable`, this counts as an error of the client.
            SearchError::TooExpensive => Self::Error(ErrorCode::BadQuery, Some(error.to_string())),
            _ => ErrorCode::Unavailable.into(),
        }
    }
}

/// Begins to append a message that the host allows.
pub(super) fn append_to(room: Arc<LiveRoom>, message: NewMessage, rooms: Arc<Rooms>) -> Work {
    // The first message of a room counts against its user, so the others wait for its result.
    let kind = if room.has_messages().load(Ordering::Relaxed) { Kind::Append } else { Kind::Other };
    if let Err(wait) = rooms.may_create(&message.user, &room) {
        rooms.counters.refuse(|limited| &mut limited.created);
        return Work::answered(Outcome::TooEarly(wait));
    }
    let appended = async move {
        let answer = room.log().append(message);
        Ok(Done::Outcome(Outcome::Sent(append(&room, answer, &rooms).await?)))
    };
    Work::Waiting(kind, appended.boxed())
}
