use super::super::Unavailable;
use crate::ErrorCode;

/// An error of a change. Nothing is stored, except perhaps after [`Unavailable`](Self::Unavailable).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// The log does not support changes.
    #[error("the log does not support changes")]
    Unsupported,
    /// The log has no message at this position.
    #[error("the log has no message at this position")]
    NoMessage,
    /// The message was deleted.
    #[error("the message was deleted")]
    Gone,
    /// The user has no right to make this change.
    #[error("the user has no right to make this change")]
    Forbidden,
    /// The user would have the right, but is muted.
    #[error("the user is muted")]
    Muted,
    /// The room has rules or entries, and the user is not its owner.
    #[error("a room with this name exists")]
    RoomExists,
    /// The message is older than [`RoomLimits::edit_window`](crate::RoomLimits::edit_window).
    #[error("the message is too old to be edited")]
    TooLate,
    /// The message was edited since the revision that the change names.
    #[error("the message was edited since")]
    Conflict,
    /// The message has its maximum number of reactions.
    #[error("the message has its maximum number of reactions")]
    TooManyReactions,
    /// The room has its maximum number of pinned messages.
    #[error("the room has its maximum number of pinned messages; unpin one first")]
    TooManyPins,
    /// The key was used before, for something else.
    #[error("the key was used for something else")]
    KeyConflict,
    /// The log could not store the change now. It may be stored; a retry is safe.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<ChangeError> for ErrorCode {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Unsupported => Self::Unsupported,
            ChangeError::NoMessage => Self::NoMessage,
            ChangeError::Gone => Self::Gone,
            ChangeError::Forbidden => Self::Forbidden,
            ChangeError::Muted => Self::Muted,
            ChangeError::RoomExists => Self::RoomExists,
            ChangeError::TooLate => Self::TooLate,
            ChangeError::Conflict => Self::Conflict,
            ChangeError::TooManyReactions => Self::TooManyReactions,
            ChangeError::TooManyPins => Self::Rejected,
            ChangeError::KeyConflict => Self::KeyConflict,
            ChangeError::Unavailable(_) => Self::Unavailable,
        }
    }
}
