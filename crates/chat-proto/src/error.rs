use serde::{Serialize, Serializer};

/// What an `error` event says went wrong with one command. The connection stays open.
///
/// The texts name no number of [`Limits`](crate::Limits): a host service may have chosen another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErrorCode {
    /// The frame is not one JSON object.
    #[error("the frame is not one JSON object")]
    BadJson,
    /// A field of the command is missing, unfit or given twice.
    #[error("{0}")]
    BadCommand(&'static str),
    /// No command has this `type`.
    #[error("no command has this type")]
    UnknownType,
    /// A `hello` on a connection that already speaks for a user.
    #[error("this connection already speaks for a user")]
    AlreadyIdentified,
    /// The room name breaks the rules for room names.
    #[error(
        "a room name is 1 to 64 bytes of lower-case letters, digits, - and _ in NFC, a letter or digit first"
    )]
    BadRoom,
    /// The user name breaks the rules for user names.
    #[error("a user name is 1 to 32 visible characters")]
    BadName,
    /// The command is for members of the room.
    #[error("join the room first")]
    NotJoined,
    /// The connection is in [`ConnectionLimits::max_rooms`](crate::ConnectionLimits::max_rooms) rooms already.
    #[error("this connection is in as many rooms as it may join")]
    TooManyRooms,
    /// The message says nothing.
    #[error("the message is empty")]
    EmptyBody,
    /// The message is longer than its kind allows.
    #[error("the message is too long")]
    BodyTooLarge,
    /// The body is not a message of this service.
    #[error("the body is not a message of this service")]
    BadBody,
    /// The idempotency key is empty or longer than [`WireLimits::max_key_bytes`](crate::WireLimits::max_key_bytes).
    #[error("the key is empty or too long")]
    BadKey,
    /// The idempotency key was used before, for another body.
    #[error("this key was used for another body")]
    KeyConflict,
    /// The position does not exist in the room's log.
    #[error("no such position in this room")]
    BadCursor,
    /// The query is empty or longer than [`WireLimits::max_query_bytes`](crate::WireLimits::max_query_bytes), or the log can make
    /// nothing of it.
    #[error("the query is too long, or has nothing that can be searched for")]
    BadQuery,
    /// The log cannot do what was asked.
    #[error("this room's log cannot do that")]
    Unsupported,
    /// The rights of the user do not allow this in this room.
    #[error("you may not do that in this room")]
    Forbidden,
    /// The host refused this; the event's `detail` says why.
    #[error("the service refused this")]
    Rejected,
    /// The log could not take it; a retry with the same key is safe.
    #[error("the room is not available; a retry with the same key is safe")]
    Unavailable,
}

impl ErrorCode {
    /// The code on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadJson => "bad_json",
            Self::BadCommand(_) => "bad_command",
            Self::UnknownType => "unknown_type",
            Self::AlreadyIdentified => "already_identified",
            Self::BadRoom => "bad_room",
            Self::BadName => "bad_name",
            Self::NotJoined => "not_joined",
            Self::TooManyRooms => "too_many_rooms",
            Self::EmptyBody => "empty_body",
            Self::BodyTooLarge => "body_too_large",
            Self::BadBody => "bad_body",
            Self::BadKey => "bad_key",
            Self::KeyConflict => "key_conflict",
            Self::BadCursor => "bad_cursor",
            Self::BadQuery => "bad_query",
            Self::Unsupported => "unsupported",
            Self::Forbidden => "forbidden",
            Self::Rejected => "rejected",
            Self::Unavailable => "unavailable",
        }
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
