use std::sync::Arc;

use chat_proto::{Event, PresenceMode, Restriction, Rights, Role, RoomName, RoomSummary, Unread, User};

use crate::ReceivedMessage;

/// The state of a room for its new member: the `joined` event as a type of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Joined {
    /// The room.
    pub room: RoomName,
    /// The other user, if this is a direct room.
    pub with: Option<User>,
    /// The epoch in which the room's positions count.
    pub epoch: Arc<str>,
    /// The newest entry, 0 if there is none.
    pub seq: u64,
    /// The oldest entry that can be read.
    pub first: u64,
    /// True if all entries that the join asked for follow.
    pub recovered: bool,
    /// The number of users in the room.
    pub members: usize,
    /// The way in which the room announces its users.
    pub presence: PresenceMode,
    /// The role of this user.
    pub role: Role,
    /// The rights of this user.
    pub may: Rights,
    /// The pinned messages, ascending.
    pub pins: Vec<u64>,
    /// The marker of this user, and the messages after it up to [`seq`](Self::seq). `None` if the server keeps no
    /// markers.
    pub unread: Option<Unread>,
    /// The title of the room.
    pub title: Option<String>,
    /// The restriction of this user.
    pub restricted: Option<Restriction>,
}

impl Joined {
    /// Returns the reply of a `joined` event, or `None` for other events.
    pub(crate) fn from_wire(event: Event) -> Option<Self> {
        let Event::Joined {
            room,
            with,
            epoch,
            seq,
            first,
            recovered,
            members,
            presence,
            role,
            may,
            pins,
            read,
            unread,
            mentions,
            title,
            restricted,
            ..
        } = event
        else {
            return None;
        };
        let epoch: Arc<str> = epoch.into();
        let unread = read.map(|read| {
            let mut counts = Unread::new(&*epoch, seq, read);
            (counts.unread, counts.mentions) = (unread.unwrap_or(0), mentions.unwrap_or(0));
            counts
        });
        Some(Self {
            room,
            with,
            epoch,
            seq,
            first,
            recovered,
            members,
            presence,
            role,
            may,
            pins,
            unread,
            title,
            restricted,
        })
    }
}

/// The reply to `history` (oldest message first) and to `search` (newest first).
///
/// In contrast to [`chat_proto::Page`], its messages are read, not frames.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MessagePage {
    /// The epoch in which the positions count.
    pub epoch: Arc<str>,
    /// The messages.
    pub messages: Vec<ReceivedMessage>,
    /// True if the log has more messages in that direction.
    pub more: bool,
}

/// The reply to `members`: a part of the users in a room, sorted by name.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MembersPage {
    /// The users.
    pub members: Vec<User>,
    /// True if there are more users after these.
    pub more: bool,
    /// The number of users in the room.
    pub total: usize,
}

/// The reply to `rooms`: a part of the rooms that the user follows or is in, sorted by name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoomsPage {
    /// The rooms, with their unread messages.
    pub rooms: Vec<RoomSummary>,
    /// True if there may be more rooms after these.
    pub more: bool,
}
