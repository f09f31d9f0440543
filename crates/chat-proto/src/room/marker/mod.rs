//! The position up to which a user has read a room, and the messages after it.

mod count;
mod follows;
mod table;

use crate::{ErrorCode, Unavailable};

pub use count::{Uncounted, UnreadCount};
pub use follows::Follows;
pub(super) use table::Markers;

/// The answer of a log to a new position of a marker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Marked {
    /// The epoch in which the position counts.
    pub epoch: String,
    /// The present position of the marker. It is beyond the new one if the marker was there before.
    pub seq: u64,
    /// True if the marker has moved.
    pub moved: bool,
}

impl Marked {
    /// Returns the answer for a marker at this position that has not moved.
    pub fn new(epoch: impl Into<String>, seq: u64) -> Self {
        Self { epoch: epoch.into(), seq, moved: false }
    }

    /// Sets [`moved`](Self::moved).
    #[must_use]
    pub fn with_moved(mut self, moved: bool) -> Self {
        self.moved = moved;
        self
    }
}

/// The marker of a user in a log, and the numbers of messages after it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unread {
    /// The epoch in which the positions count.
    pub epoch: String,
    /// The `seq` of the newest entry of the log.
    pub head: u64,
    /// The position of the marker, 0 if the user has none.
    pub read: u64,
    /// The number of unread messages. A number below [`UnreadCount::MAX`] is exact.
    pub unread: u64,
    /// The number of the counted messages that mention the user.
    pub mentions: u64,
}

impl Unread {
    /// Returns a marker after which nothing is unread.
    pub fn new(epoch: impl Into<String>, head: u64, read: u64) -> Self {
        Self { epoch: epoch.into(), head, read, unread: 0, mentions: 0 }
    }

    /// Sets the numbers of unread messages and of those that mention the user.
    #[must_use]
    pub fn with_count(mut self, count: &UnreadCount<'_>) -> Self {
        (self.unread, self.mentions) = (count.unread(), count.mentions());
        self
    }
}

/// An error of a marker, or of the rooms that a user follows. Nothing has changed, except perhaps after
/// [`Unavailable`](Self::Unavailable).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MarkerError {
    /// The store keeps no markers.
    #[error("the store keeps no markers")]
    Unsupported,
    /// The position is beyond the newest entry.
    #[error("the position is beyond the newest entry")]
    BeyondHead,
    /// The user follows the maximum number of rooms.
    #[error("the user follows the maximum number of rooms")]
    TooManyRooms,
    /// The store cannot be used now. A retry is safe.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<MarkerError> for ErrorCode {
    fn from(error: MarkerError) -> Self {
        match error {
            MarkerError::Unsupported => Self::Unsupported,
            MarkerError::BeyondHead => Self::BadCursor,
            MarkerError::TooManyRooms => Self::TooManyRooms,
            MarkerError::Unavailable(_) => Self::Unavailable,
        }
    }
}
