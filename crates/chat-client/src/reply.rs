use std::sync::Arc;

use chat_proto::{PresenceMode, RoomName, User};

use crate::ReceivedMessage;

/// The reply to `join`: the `joined` event as a type of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Joined {
    /// The room.
    pub room: RoomName,
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
}

/// The reply to `history` (oldest message first) and to `search` (newest first).
///
/// In contrast to [`chat_proto::Page`], its messages are read, not frames.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MessagePage {
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
