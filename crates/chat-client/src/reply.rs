use std::sync::Arc;

use chat_proto::RoomName;

use crate::Message;

/// The reply to `join`.
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
}

/// The reply to `send`: the message is in the room's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// The position of the message in the room's log.
    pub seq: u64,
    /// The time of the commit, in ms since the Unix epoch by the server's clock.
    pub at: u64,
    /// True if an earlier attempt with the same key had stored the message.
    pub duplicate: bool,
}

/// The reply to `history` (oldest message first) and to `search` (newest first).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MessagePage {
    /// The messages.
    pub messages: Vec<Message>,
    /// True if the log has more messages in that direction.
    pub more: bool,
}
