use std::fmt;

use serde::{Serialize, Serializer};

/// The code of an `error` event: the reason why one command failed. The connection stays open.
///
/// The texts name no number of [`Limits`](crate::Limits), because a host service may have chosen another.
///
/// A code that this version does not know is kept as [`Other`](Self::Other), without an allocation.
///
/// # Examples
///
/// ```
/// use chat_proto::ErrorCode;
///
/// assert_eq!(ErrorCode::from("rate_limited"), ErrorCode::RateLimited);
/// assert!(ErrorCode::RateLimited.is_temporary());
/// assert_eq!(ErrorCode::from("new_code").as_str(), "new_code");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The frame is not one JSON object.
    #[error("the frame is not one JSON object")]
    BadJson,
    /// A field of the command is missing, invalid or given twice.
    #[error("{0}")]
    BadCommand(&'static str),
    /// No command has this `type`.
    #[error("no command has this type")]
    UnknownType,
    /// The connection has no user yet, so the only valid command is `hello`.
    #[error("send a hello first")]
    HelloRequired,
    /// The command is a `hello` on a connection that already has a user.
    #[error("this connection already has a user")]
    AlreadyIdentified,
    /// The room name breaks the rules for room names.
    #[error(
        "a room name is 1 to 64 bytes of lower-case letters with their marks, digits, - and _ in NFC, a letter or digit first, without compatibility characters"
    )]
    BadRoom,
    /// The user name breaks the rules for user names.
    #[error("a user name is 1 to 32 visible characters; some names are reserved")]
    BadName,
    /// The command is for members of the room.
    #[error("join the room first")]
    NotJoined,
    /// The connection is in [`ConnectionLimits::max_rooms`](crate::ConnectionLimits::max_rooms) rooms already, or the
    /// user in [`RoomLimits::max_blank_per_user`](crate::RoomLimits::max_blank_per_user) rooms without a message. Or
    /// the user follows [`RoomLimits::max_followed_per_user`](crate::RoomLimits::max_followed_per_user) rooms.
    #[error(
        "you are in or follow the maximum number of rooms, or of rooms without a message; leave one first"
    )]
    TooManyRooms,
    /// The message has no visible content.
    #[error("the message has no visible character")]
    EmptyBody,
    /// The message is longer than its kind allows.
    #[error("the message is too long")]
    BodyTooLarge,
    /// The body breaks this rule of the service.
    #[error("{0}")]
    BadBody(&'static str),
    /// The idempotency key is empty, longer than [`WireLimits::max_key_bytes`](crate::WireLimits::max_key_bytes), or
    /// not [printable](crate::is_printable).
    #[error("the key is empty, too long, or has a character that cannot be printed")]
    BadKey,
    /// The idempotency key was used before, for another body.
    #[error("this key was used for another body")]
    KeyConflict,
    /// The position does not exist in the room's log.
    #[error("no such position in this room")]
    BadCursor,
    /// The query is empty, longer than [`WireLimits::max_query_bytes`](crate::WireLimits::max_query_bytes), or has
    /// nothing that the log can search for.
    #[error("the query is too long, or has no word to search for")]
    BadQuery,
    /// The log does not support the command.
    #[error("this room's log cannot do that")]
    Unsupported,
    /// The connection or its user sends commands too fast.
    #[error("too many commands; wait before the next")]
    RateLimited,
    /// The user has no right to do this.
    #[error("you have no right to do this")]
    Forbidden,
    /// The user is muted in this room.
    #[error("you are muted in this room")]
    Muted,
    /// The room could not store or read, or the host could not check credentials. A retry with the same key is safe.
    #[error("this is not available now; a retry with the same key is safe")]
    Unavailable,
    /// The room has no message at this position.
    #[error("no such message in this room")]
    NoMessage,
    /// The message was deleted.
    #[error("the message was deleted")]
    Gone,
    /// The message is too old to be changed.
    #[error("it is too late to change this message")]
    TooLate,
    /// The message was changed since the revision that the command names.
    #[error("the message was changed since")]
    Conflict,
    /// The message has its maximum number of different reactions.
    #[error("the message has its maximum number of reactions")]
    TooManyReactions,
    /// A room with this name exists.
    #[error("a room with this name exists")]
    RoomExists,
    /// The host service rejected the command.
    #[error("the service rejected the command")]
    Rejected,
    /// A code that this version does not know.
    #[error("{}", .0.as_str())]
    Other(OtherCode),
}

/// The text of an [`ErrorCode::BadCommand`] that a client reads. The server's text is in the event's `message`.
const BAD_COMMAND: ErrorCode = ErrorCode::BadCommand("a field of the command is missing or invalid");

/// The text of an [`ErrorCode::BadBody`] that a client reads. The server's text is in the event's `message`.
const BAD_BODY: ErrorCode = ErrorCode::BadBody("the body is not a message of this service");

/// All codes that have a name.
const KNOWN: [ErrorCode; 28] = [
    ErrorCode::BadJson,
    BAD_COMMAND,
    ErrorCode::UnknownType,
    ErrorCode::HelloRequired,
    ErrorCode::AlreadyIdentified,
    ErrorCode::BadRoom,
    ErrorCode::BadName,
    ErrorCode::NotJoined,
    ErrorCode::TooManyRooms,
    ErrorCode::EmptyBody,
    ErrorCode::BodyTooLarge,
    BAD_BODY,
    ErrorCode::BadKey,
    ErrorCode::KeyConflict,
    ErrorCode::BadCursor,
    ErrorCode::BadQuery,
    ErrorCode::Unsupported,
    ErrorCode::RateLimited,
    ErrorCode::Forbidden,
    ErrorCode::Muted,
    ErrorCode::Unavailable,
    ErrorCode::NoMessage,
    ErrorCode::Gone,
    ErrorCode::TooLate,
    ErrorCode::Conflict,
    ErrorCode::TooManyReactions,
    ErrorCode::RoomExists,
    ErrorCode::Rejected,
];

impl ErrorCode {
    /// Returns the code on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::BadJson => "bad_json",
            Self::BadCommand(_) => "bad_command",
            Self::UnknownType => "unknown_type",
            Self::HelloRequired => "hello_required",
            Self::AlreadyIdentified => "already_identified",
            Self::BadRoom => "bad_room",
            Self::BadName => "bad_name",
            Self::NotJoined => "not_joined",
            Self::TooManyRooms => "too_many_rooms",
            Self::EmptyBody => "empty_body",
            Self::BodyTooLarge => "body_too_large",
            Self::BadBody(_) => "bad_body",
            Self::BadKey => "bad_key",
            Self::KeyConflict => "key_conflict",
            Self::BadCursor => "bad_cursor",
            Self::BadQuery => "bad_query",
            Self::Unsupported => "unsupported",
            Self::RateLimited => "rate_limited",
            Self::Forbidden => "forbidden",
            Self::Muted => "muted",
            Self::Unavailable => "unavailable",
            Self::NoMessage => "no_message",
            Self::Gone => "gone",
            Self::TooLate => "too_late",
            Self::Conflict => "conflict",
            Self::TooManyReactions => "too_many_reactions",
            Self::RoomExists => "room_exists",
            Self::Rejected => "rejected",
            Self::Other(code) => code.as_str(),
        }
    }

    /// Returns true if the error counts as a mistake of the client. It does not if the server is at fault, or if
    /// another user may have changed the message meanwhile.
    pub(crate) fn is_mistake(self) -> bool {
        use ErrorCode::{Conflict, Gone, NoMessage, TooManyReactions, Unavailable};
        !matches!(self, Conflict | Gone | NoMessage | TooManyReactions | Unavailable)
    }

    /// Returns true if the same command may succeed later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::RateLimited | Self::Unavailable)
    }
}

/// Reads a code. A code without a name becomes [`ErrorCode::Other`].
impl From<&str> for ErrorCode {
    fn from(code: &str) -> Self {
        let known = KNOWN.into_iter().find(|known| known.as_str() == code);
        known.unwrap_or_else(|| Self::Other(OtherCode::new(code)))
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The text of an error code that this version does not know: at most 32 bytes, longer ones are cut.
///
/// The text is stored inline, so an [`ErrorCode`] stays `Copy`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OtherCode {
    bytes: [u8; 32],
    len: u8,
}

impl OtherCode {
    fn new(code: &str) -> Self {
        let mut bytes = [0; 32];
        let mut len = 0;
        for c in code.chars() {
            let end = usize::from(len) + c.len_utf8();
            let Some(slot) = bytes.get_mut(usize::from(len)..end) else { break };
            c.encode_utf8(slot);
            len += u8::try_from(c.len_utf8()).unwrap_or(0);
        }
        Self { bytes, len }
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl fmt::Debug for OtherCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_code_reads_back_as_itself() {
        for code in KNOWN {
            assert_eq!(ErrorCode::from(code.as_str()), code);
        }
        assert_eq!(ErrorCode::BadCommand("`ref` is too long").as_str(), "bad_command");
    }

    #[test]
    fn an_unknown_code_is_kept_up_to_32_bytes() {
        let long = "a".repeat(33);
        let wide = "로".repeat(11);
        for (text, kept) in
            [("new_code", "new_code"), ("", ""), (long.as_str(), &long[..32]), (&wide, &wide[..30])]
        {
            let code = ErrorCode::from(text);
            assert!(matches!(code, ErrorCode::Other(_)), "{text}");
            assert_eq!(code.as_str(), kept);
        }
    }
}
