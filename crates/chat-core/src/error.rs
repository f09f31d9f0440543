use crate::{AppendError, BodyError, ChangeError, NoRight, Refusal, Unavailable};

/// A connection that [`Chat::admit`](crate::Chat::admit) did not admit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdmitError {
    /// The chat has as many connections as
    /// [`ConnectionLimits::max_connections`](crate::ConnectionLimits::max_connections) allows.
    #[error("the chat has too many connections")]
    Full,
    /// The user has as many connections as
    /// [`ConnectionLimits::max_per_user`](crate::ConnectionLimits::max_per_user) allows.
    #[error("the user has too many connections")]
    FullForUser,
    /// The address has as many connections as
    /// [`ConnectionLimits::max_per_address`](crate::ConnectionLimits::max_per_address) allows.
    #[error("the address has too many connections")]
    FullForAddress,
    /// The chat is draining, and admits no more connections.
    #[error("the chat is draining")]
    Draining,
}

impl From<AdmitError> for Refusal {
    fn from(error: AdmitError) -> Self {
        match error {
            AdmitError::Full => Self::Overloaded,
            AdmitError::FullForUser | AdmitError::FullForAddress => Self::TooManyConnections,
            AdmitError::Draining => Self::Draining,
        }
    }
}

/// A message that [`Chat::post`](crate::Chat::post) did not store, or a change that
/// [`Chat::change`](crate::Chat::change) did not store.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostError {
    /// The message did not pass its own check.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The message cannot be written as JSON. The source is the error of serde.
    #[error("the message cannot be written as JSON")]
    Json(#[source] std::sync::Arc<serde_json::Error>),
    /// The message does not fit in a frame.
    #[error("the message does not fit in a frame")]
    TooLarge,
    /// The key is empty, too long, or not [printable](crate::is_printable).
    #[error("the key is empty, too long, or has a character that cannot be printed")]
    InvalidKey,
    /// The key was used before, for another message.
    #[error("the key was used for another message")]
    KeyConflict,
    /// A position or a mention of the message is not valid.
    #[error("a position or a mention of the message is not valid")]
    InvalidLinks,
    /// A text of the change is too long or has characters that the protocol does not allow.
    #[error("a text of the change is too long or has characters that the protocol does not allow")]
    InvalidChange,
    /// The log did not store the change or the act.
    #[error(transparent)]
    Change(ChangeError),
    /// The user may not write into the room.
    #[error(transparent)]
    NoRight(#[from] NoRight),
    /// The log did not store the message, because of its links.
    #[error(transparent)]
    Links(AppendError),
    /// The log could not store the message in time.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<ChangeError> for PostError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Unavailable(unavailable) => Self::Unavailable(unavailable),
            error => Self::Change(error),
        }
    }
}

impl From<AppendError> for PostError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::KeyConflict => Self::KeyConflict,
            AppendError::Forbidden => Self::NoRight(NoRight::Forbidden),
            AppendError::Muted => Self::NoRight(NoRight::Muted),
            AppendError::Unavailable(unavailable) => Self::Unavailable(unavailable),
            error => Self::Links(error),
        }
    }
}
