use serde::{Deserialize, Serialize};

use crate::{RoomName, Unread, User};

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
    /// The other user of a direct room. `None` for other rooms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<User>,
    /// The title of the room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

impl RoomSummary {
    /// Returns the summary of a room for a user.
    pub fn new(room: RoomName, unread: &Unread) -> Self {
        let Unread { head, read, unread, mentions, .. } = *unread;
        Self { room, seq: head, read, unread, mentions, with: None, title: None }
    }

    /// Sets the other user of a direct room.
    #[must_use]
    pub fn with_user(mut self, with: Option<User>) -> Self {
        self.with = with;
        self
    }

    /// Sets the title.
    #[must_use]
    pub fn with_title(mut self, title: Option<String>) -> Self {
        self.title = title;
        self
    }
}
