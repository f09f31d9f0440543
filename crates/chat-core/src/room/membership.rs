use std::sync::Arc;
use std::time::Duration;

use chat_proto::command::JoinFrom;
use chat_proto::room::{Delivery, Joined, Member, RoomEvent};
use tokio::time::{Instant, sleep};

use crate::room::{Backoff, BlankSeat, Inbox, LiveRoom, Rooms, TooManyBlank, within};
use crate::{ErrorCode, JoinError, LogBounds, Page, Range, RoomName, Unavailable, User};

/// The pause after the first read that fails.
pub(super) const READ_PAUSE: Duration = Duration::from_millis(100);

/// A position in one room, of a connection or of a subscription. Dropping it leaves the room.
#[derive(Debug)]
pub(crate) struct Membership {
    rooms: Arc<Rooms>,
    room: Arc<LiveRoom>,
    member: Member,
    /// The last entry that the user has asked for with a join.
    replay_to: u64,
    /// `None` for a subscription.
    user: Option<User>,
    /// The place in a room that had no message when the user entered.
    _seat: Option<BlankSeat>,
    /// True if the user leaves on purpose.
    has_left: bool,
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
        bounds: LogBounds,
        from: &JoinFrom,
    ) -> Result<(Self, Joined), EnterError> {
        let seat = rooms.take_seat(user.key(), &room).inspect_err(|_| rooms.left(&room))?;
        let entered = room.change(|state| {
            let joined = state.join(connection, &user, inbox, bounds, from)?;
            rooms.announce_presence(state, &user, false);
            Ok::<_, JoinError>(joined)
        });
        let (member, joined) = entered.inspect_err(|_| rooms.left(&room))?;
        rooms.entered(&room);
        let replay_to = joined.bounds.head;
        let user = Some(user);
        let membership = Self { rooms, room, member, replay_to, user, _seat: seat, has_left: false };
        membership.room.wake(&membership.member);
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
        let member = room.change(|state| state.subscribe(id, inbox, bounds))?;
        rooms.entered(&room);
        Ok(Self { rooms, room, member, replay_to: 0, user: None, _seat: None, has_left: false })
    }

    /// Joins again: continues as before, or from another position.
    pub(crate) fn rejoin(&mut self, bounds: LogBounds, from: &JoinFrom) -> Result<Joined, JoinError> {
        let joined = self.room.state().rejoin(&mut self.member, bounds, from)?;
        if *from != JoinFrom::Now {
            self.replay_to = joined.bounds.head;
        }
        self.room.wake(&self.member);
        Ok(joined)
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
        self.room.state().take(&mut self.member)
    }

    /// Returns true while the member has not taken all entries that the user has asked for with a join.
    pub(crate) fn is_replaying(&self) -> bool {
        self.member.seq() < self.replay_to
    }

    /// Returns true if the log has not started a new epoch since the member joined.
    pub(crate) fn is_current(&self) -> bool {
        self.room.state().is_current(&self.member)
    }

    /// Reads the entries after the cursor from the log.
    pub(crate) fn read_on(&self) -> impl Future<Output = Result<Page, Unavailable>> + Send + use<> {
        let (rooms, room) = (Arc::clone(&self.rooms), Arc::clone(&self.room));
        let range = Range::After { seq: self.member.seq(), limit: rooms.limits.wire.max_page_messages };
        async move { within(&rooms, room.log().read(range)).await }
    }

    /// Reads the entries after the cursor from the log. A read that fails is repeated, with growing pauses, for
    /// [`RoomLimits::catch_up_timeout`](crate::RoomLimits::catch_up_timeout) or until the log starts a new epoch.
    pub(crate) fn read_on_with_retries(
        &self,
    ) -> impl Future<Output = Result<Page, Unavailable>> + Send + use<> {
        let (rooms, room) = (Arc::clone(&self.rooms), Arc::clone(&self.room));
        let range = Range::After { seq: self.member.seq(), limit: rooms.limits.wire.max_page_messages };
        let member = self.member.clone();
        async move {
            let until = Instant::now() + rooms.limits.rooms.catch_up_timeout;
            let mut backoff = Backoff::new(READ_PAUSE);
            loop {
                let page = within(&rooms, room.log().read(range)).await;
                let pause = backoff.next_pause();
                if page.is_ok() || Instant::now() + pause > until || !room.state().is_current(&member) {
                    return page;
                }
                sleep(pause).await;
            }
        }
    }

    /// Takes a page that [`read_on`](Self::read_on) has read. `None` if the log has started a new epoch.
    pub(crate) fn catch_up(&mut self, page: Page, up_to: u64) -> Option<Vec<RoomEvent>> {
        self.member.catch_up(self.room.name(), page, up_to)
    }

    /// Records that this user started or stopped typing.
    pub(crate) fn typing(&self, active: bool) {
        self.room.typing(&self.member, active);
    }

    /// Leaves the room on purpose. A membership that is dropped instead has lost its connection: its user may return on
    /// another node, and leaves later.
    pub(crate) fn leave(mut self) {
        self.has_left = true;
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let is_empty = self.rooms.change_roster(&self.room, |state| {
            if self.has_left {
                state.leave(&self.member);
            } else {
                state.disconnect(&self.member);
            }
            if let Some(user) = &self.user {
                self.rooms.announce_presence(state, user, self.has_left);
            }
            state.is_empty()
        });
        self.rooms.publish_announced();
        if is_empty {
            self.rooms.left(&self.room);
        }
    }
}
