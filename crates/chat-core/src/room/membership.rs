use std::sync::Arc;

use chat_proto::command::JoinFrom;
use chat_proto::room::{Delivery, Joined, Member, RoomEvent};

use crate::bus::Notice;
use crate::room::{Inbox, LiveRoom, Rooms, within};
use crate::{ErrorCode, LogBounds, Page, Range, RoomName, Unavailable, User};

/// A position in one room, of a connection or of a subscription. Dropping it leaves the room, whatever dropped it.
#[derive(Debug)]
pub(crate) struct Membership {
    rooms: Arc<Rooms>,
    room: Arc<LiveRoom>,
    member: Member,
    /// `None` for a subscription.
    user: Option<User>,
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
    ) -> Result<(Self, Joined), ErrorCode> {
        let (member, joined) = room.change(|state| state.join(connection, &user, inbox, bounds, from))?;
        let membership = Self { rooms, room, member, user: Some(user) };
        membership.publish_presence();
        Ok((membership, joined))
    }

    /// Follows a room without being seen in it.
    pub(crate) fn subscribe(
        rooms: Arc<Rooms>,
        room: Arc<LiveRoom>,
        id: u64,
        inbox: Arc<Inbox>,
        bounds: LogBounds,
    ) -> Self {
        let member = room.change(|state| state.subscribe(id, inbox, bounds));
        Self { rooms, room, member, user: None }
    }

    /// Joins again: reads on as before, or from another position.
    pub(crate) fn rejoin(&mut self, bounds: LogBounds, from: &JoinFrom) -> Result<Joined, ErrorCode> {
        let joined = self.room.state().rejoin(&mut self.member, bounds, from)?;
        self.room.wake(&self.member);
        Ok(joined)
    }

    pub(crate) fn room(&self) -> &Arc<LiveRoom> {
        &self.room
    }

    pub(crate) fn name(&self) -> &RoomName {
        self.room.name()
    }

    /// Takes what comes next. After [`Delivery::Nothing`], the inbox hears when there is more.
    pub(crate) fn take(&mut self) -> Delivery {
        self.room.state().take(&mut self.member)
    }

    /// Reads the entries after the cursor from the log.
    pub(crate) fn read_on(&self) -> impl Future<Output = Result<Page, Unavailable>> + Send + use<> {
        let (rooms, room) = (Arc::clone(&self.rooms), Arc::clone(&self.room));
        let range = Range::After { seq: self.member.seq(), limit: rooms.limits.wire.max_page_messages };
        async move { within(&rooms, room.log().read(range)).await }
    }

    /// Takes a page that [`read_on`](Self::read_on) has read. `None` if the log has begun another epoch.
    pub(crate) fn catch_up(&mut self, page: Page, up_to: u64) -> Option<Vec<RoomEvent>> {
        self.member.catch_up(self.room.name(), page, up_to)
    }

    /// Tells the others that this user is, or is no longer, writing.
    pub(crate) fn typing(&self, active: bool) {
        self.room.change(|state| state.typing(&self.member, active));
        self.publish(|room, user| Notice::Typing { room, user, active });
    }

    /// Tells the other nodes how many connections of this user are here.
    fn publish_presence(&self) {
        self.publish(|room, user| {
            let connections = self.room.state().roster().local_connections(&user);
            Notice::Presence { room, user, connections }
        });
    }

    fn publish(&self, notice: impl FnOnce(RoomName, User) -> Notice) {
        if let (Some(bus), Some(user)) = (&self.rooms.bus, &self.user) {
            bus.publish(&self.rooms.node, &notice(self.name().clone(), user.clone()));
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let is_empty = self.room.leave(&self.member);
        self.publish_presence();
        if is_empty {
            self.rooms.left(&self.room);
        }
    }
}
