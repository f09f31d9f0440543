use std::sync::Arc;
use std::time::Duration;

use chat_proto::command::JoinFrom;
use chat_proto::room::{Delivery, Joined, RoomEvent};
use tokio::time::{Instant, sleep};

use crate::room::{
    Admitted, Backoff, BlankSeat, Inbox, LiveRoom, Rooms, Seat, TooManyBlank, wake_all, within,
};
use crate::{ErrorCode, JoinError, LogBounds, Page, Range, Role, RoomName, Unavailable, User};

/// The pause after the first read that fails.
pub(crate) const READ_PAUSE: Duration = Duration::from_millis(100);

/// A position in one room, of a connection or of a subscription. Dropping it leaves the room.
#[derive(Debug)]
pub(crate) struct Membership {
    rooms: Arc<Rooms>,
    room: Arc<LiveRoom>,
    seat: Arc<Seat>,
    /// The last entry that the user has asked for with a join.
    replay_to: u64,
    /// `None` for a subscription.
    user: Option<User>,
    /// The place in a room that had no message when the user entered.
    _blank: Option<BlankSeat>,
    /// `None` for a subscription.
    admitted: Option<Admitted>,
}

/// An error of a user who enters a room.
#[derive(Debug)]
pub(crate) enum EnterError {
    /// The room cannot be joined from this position.
    Join(JoinError),
    /// The user is in too many rooms without messages.
    TooManyBlank,
}

impl From<JoinError> for EnterError {
    fn from(error: JoinError) -> Self {
        Self::Join(error)
    }
}

impl From<TooManyBlank> for EnterError {
    fn from(_: TooManyBlank) -> Self {
        Self::TooManyBlank
    }
}

impl From<EnterError> for ErrorCode {
    fn from(error: EnterError) -> Self {
        match error {
            EnterError::Join(error) => error.into(),
            EnterError::TooManyBlank => Self::TooManyRooms,
        }
    }
}

impl Membership {
    /// Enters a room whose log has these bounds.
    pub(crate) fn join(
        rooms: Arc<Rooms>,
        room: Arc<LiveRoom>,
        (connection, user): (u64, User),
        inbox: Arc<Inbox>,
        (bounds, admitted): (LogBounds, Admitted),
        from: &JoinFrom,
    ) -> Result<(Self, Joined), EnterError> {
        let blank = rooms.take_seat(user.key(), &room).inspect_err(|_| rooms.left(&room))?;
        let is_direct = inbox.outlet.is_attached();
        let seat = Arc::new(Seat::new(inbox, admitted.granted));
        let entered = room.update(|state| {
            let (member, joined) = state.join(connection, &user, Arc::clone(&seat), bounds, from)?;
            if is_direct {
                state.write_directly(&member);
            }
            state.wake(&member);
            rooms.announce_presence(state, &user, &seat, true);
            Ok::<_, JoinError>((member, joined, state.rights_seq() > admitted.head))
        });
        let (member, mut joined, is_outdated) = entered.inspect_err(|_| rooms.left(&room))?;
        seat.enter(member);
        rooms.entered(&room);
        let replay_to = joined.bounds.head;
        (joined.role, joined.may) = (admitted.role, admitted.may);
        let user = Some(user);
        let waker = seat.inbox().push(room.name().clone());
        let waker = if is_outdated { waker.or(seat.change_rights()) } else { waker };
        let admitted = Some(admitted);
        let membership = Self { rooms, room, seat, replay_to, user, _blank: blank, admitted };
        wake_all(waker);
        membership.rooms.publish_announced();
        Ok((membership, joined))
    }

    /// Follows a room. No user sees it.
    pub(crate) fn subscribe(
        rooms: Arc<Rooms>,
        room: Arc<LiveRoom>,
        id: u64,
        inbox: Arc<Inbox>,
        bounds: LogBounds,
    ) -> Result<Self, JoinError> {
        let seat = Arc::new(Seat::new(inbox, Role::None));
        let member = room.update(|state| state.subscribe(id, Arc::clone(&seat), bounds))?;
        seat.enter(member);
        rooms.entered(&room);
        Ok(Self { rooms, room, seat, replay_to: 0, user: None, _blank: None, admitted: None })
    }

    /// Joins again: continues as before, or from another position.
    pub(crate) fn rejoin(
        &mut self,
        (bounds, admitted): (LogBounds, Admitted),
        from: &JoinFrom,
    ) -> Result<Joined, JoinError> {
        let rejoined = self.seat.with(|member| self.room.state().rejoin(member, bounds, from));
        let mut joined = rejoined.unwrap_or(Err(JoinError::Renewed))?;
        (joined.role, joined.may) = (admitted.role, admitted.may);
        self.stay(admitted);
        // An act since then may have changed them.
        let is_outdated = self.room.state().rights_seq() > admitted.head;
        if is_outdated {
            self.change_rights();
        }
        if *from != JoinFrom::Now {
            self.replay_to = joined.bounds.head;
        }
        self.wake();
        Ok(joined)
    }

    /// Returns true while events of the room are on their way to direct members.
    pub(crate) fn is_flushing(&self) -> bool {
        self.room.is_flushing()
    }

    /// Lets the session take the events of the room without a flush. Only the session calls it, so no task must be
    /// woken. `has_written` is true if they include a message of its user.
    pub(crate) fn queue(&self, has_written: bool) {
        self.seat.with(|member| self.room.requeue(member, has_written));
    }

    fn wake(&self) {
        wake_all(self.seat.with(|member| self.room.wake(member)).flatten());
    }

    /// Returns the `seq` of the last entry that was taken.
    pub(crate) fn seq(&self) -> u64 {
        self.seat.with(|member| member.seq()).unwrap_or_default()
    }

    pub(crate) fn room(&self) -> &Arc<LiveRoom> {
        &self.room
    }

    pub(crate) fn rooms(&self) -> &Arc<Rooms> {
        &self.rooms
    }

    pub(crate) fn name(&self) -> &RoomName {
        self.room.name()
    }

    /// Takes the next events. After [`Delivery::Nothing`], the inbox is notified when there is more.
    pub(crate) fn take(&mut self) -> Delivery {
        self.seat.with(|member| self.room.state().take(member)).unwrap_or(Delivery::Nothing)
    }

    /// Returns true while the member has not taken all entries that the user has asked for with a join.
    pub(crate) fn is_replaying(&self) -> bool {
        self.replay_to > 0 && self.seq() < self.replay_to
    }

    /// Returns true if the log has not started a new epoch since the member joined.
    pub(crate) fn is_current(&self) -> bool {
        self.seat.with(|member| self.room.state().is_current(member)).unwrap_or_default()
    }

    /// Reads the entries after the cursor from the log.
    pub(crate) fn read_on(&self) -> impl Future<Output = Result<Page, Unavailable>> + Send + use<> {
        let (rooms, room) = (Arc::clone(&self.rooms), Arc::clone(&self.room));
        let range = Range::entries(self.seq(), rooms.limits.wire.max_page_messages);
        async move { within(&rooms, room.log().read(range)).await }
    }

    /// Reads the entries after the cursor from the log. A read that fails is repeated, with growing pauses, for
    /// [`RoomLimits::catch_up_timeout`](crate::RoomLimits::catch_up_timeout) or until the log starts a new epoch.
    pub(crate) fn read_on_with_retries(
        &self,
    ) -> impl Future<Output = Result<Page, Unavailable>> + Send + use<> {
        let (rooms, room) = (Arc::clone(&self.rooms), Arc::clone(&self.room));
        let range = Range::entries(self.seq(), rooms.limits.wire.max_page_messages);
        let member = self.seat.with(|member| member.clone());
        async move {
            let until = Instant::now() + rooms.limits.rooms.catch_up_timeout;
            let mut backoff = Backoff::new(READ_PAUSE);
            loop {
                let page = within(&rooms, room.log().read(range)).await;
                let pause = backoff.next_pause();
                if page.is_ok()
                    || Instant::now() + pause > until
                    || !member.as_ref().is_some_and(|member| room.state().is_current(member))
                {
                    return page;
                }
                sleep(pause).await;
            }
        }
    }

    /// Takes a page that [`read_on`](Self::read_on) has read. `None` if the log has started a new epoch.
    pub(crate) fn catch_up(&mut self, page: Page, up_to: u64) -> Option<Vec<RoomEvent>> {
        self.seat.with(|member| member.catch_up(self.room.name(), page, up_to)).flatten()
    }

    /// Returns true if the rights of the user may have changed since the last call.
    pub(crate) fn take_rights_changed(&self) -> bool {
        self.seat.take_rights_changed()
    }

    /// Records the rights with which the user stays in the room.
    pub(crate) fn stay(&mut self, admitted: Admitted) {
        if let Some(user) = &self.user {
            self.rooms.set_granted(&self.room, user, &self.seat, admitted.granted);
        }
        self.admitted = Some(admitted);
    }

    /// Lets the session decide again if the user may be in the room.
    pub(crate) fn change_rights(&self) {
        wake_all(self.seat.change_rights());
    }

    /// Returns the place of the user in the room, and the rights as they were decided last.
    pub(crate) fn place(&self) -> Option<(Arc<Seat>, Admitted)> {
        self.admitted.map(|admitted| (Arc::clone(&self.seat), admitted))
    }

    /// Records that this user started or stopped typing, if the user may show it.
    pub(crate) fn typing(&self, active: bool) {
        if !self.admitted.is_some_and(|admitted| admitted.may_type()) {
            return;
        }
        // A copy, because the room wakes other tasks.
        if let Some(member) = self.seat.with(|member| member.clone()) {
            self.room.typing(&member, active);
        }
    }

    /// Leaves the room on purpose. A membership that is dropped instead has lost its connection: its user may return on
    /// another node, and leaves later.
    pub(crate) fn leave(self) {
        self.seat.leave_on_purpose();
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let member = self.seat.leave();
        let is_empty = self.rooms.change_roster(&self.room, |state| {
            match &member {
                Some(member) if self.seat.has_left() => state.leave(member),
                Some(member) => state.disconnect(member),
                None => {}
            }
            if let Some(user) = &self.user {
                self.rooms.announce_presence(state, user, &self.seat, false);
            }
            state.is_empty()
        });
        self.rooms.publish_announced();
        if is_empty {
            self.rooms.left(&self.room);
        }
    }
}
