use serde::{Deserialize, Serialize};

use crate::{RoomName, Unread};

/// A room in the reply to `rooms`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RoomSummary {
    /// The name.
    pub room: RoomName,
    /// The `seq` of the newest entry.
    pub seq: u64,
    /// The position of the user's marker.
    pub read: u64,
    /// The number of unread messages.
    pub unread: u64,
    /// The number of unread messages that mention the user.
    pub mentions: u64,
}

impl RoomSummary {
    /// Returns the summary of a room for a user.
    pub fn new(room: RoomName, unread: &Unread) -> Self {
        let Unread { head, read, unread, mentions, .. } = *unread;
        Self { room, seq: head, read, unread, mentions }
    }
}
