use std::fmt;
use std::io;
use std::time::Duration;

use chat_proto::RoomName;

/// Why a command has no reply to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server said no: the command was not carried out.
    #[error("{0}")]
    Refused(Refusal),
    /// The server said no to a `send`, and yet it may have been carried out: the room was
    /// [`Unavailable`](ErrorCode::Unavailable), or an earlier attempt had no reply. A repeat with the same key is
    /// safe.
    #[error("{0} (it may have been carried out)")]
    Unsure(Refusal),
    /// No reply came in time. The command may have been carried out; a repeat of a `send` with the same key is
    /// safe.
    #[error("no reply in time")]
    Timeout,
    /// There was no connection to send it on in all that time, or its room could not be resumed: the command was not
    /// carried out.
    #[error("not connected")]
    NotConnected,
    /// The client has ended. A command that was under way may have been carried out.
    #[error("the client has ended: {0}")]
    Closed(Closed),
    /// The command is longer than the server takes, or holds what cannot be written as JSON; it was not sent.
    #[error("the command cannot be sent: {0}")]
    Unfit(&'static str),
}

impl Error {
    /// Whether the command may have been carried out. Where it was a `send`, only a repeat with its key tells.
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Unsure(_) | Self::Timeout | Self::Closed(_) => true,
            Self::Refused(_) | Self::NotConnected | Self::Unfit(_) => false,
        }
    }

    /// Whether the same command may succeed later, with this client: a `send` with the same key, lest it happen
    /// twice.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Refused(refusal) | Self::Unsure(refusal) => refusal.code.is_temporary(),
            Self::Timeout | Self::NotConnected => true,
            Self::Closed(_) | Self::Unfit(_) => false,
        }
    }
}

/// An `error` event: what the server has against a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
#[non_exhaustive]
pub struct Refusal {
    /// What for programs.
    pub code: ErrorCode,
    /// What for people.
    pub message: String,
    /// The room that it is about.
    pub room: Option<RoomName>,
    /// When a repeat may succeed.
    pub retry_after: Option<Duration>,
}

macro_rules! error_codes {
    ($($variant:ident = $code:literal),* $(,)?) => {
        /// The `code` of an `error` event.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[expect(missing_docs, reason = "the codes are those of PROTOCOL.md, section 7.1, word for word")]
        pub enum ErrorCode {
            $($variant,)*
            /// One that this client does not know.
            Unknown(String),
        }

        impl ErrorCode {
            /// The code on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $code,)*
                    Self::Unknown(code) => code,
                }
            }
        }

        impl From<&str> for ErrorCode {
            fn from(code: &str) -> Self {
                match code {
                    $($code => Self::$variant,)*
                    unknown => Self::Unknown(unknown.to_owned()),
                }
            }
        }
    };
}

error_codes! {
    BadJson = "bad_json",
    BadCommand = "bad_command",
    UnknownType = "unknown_type",
    HelloRequired = "hello_required",
    AlreadyIdentified = "already_identified",
    BadRoom = "bad_room",
    BadName = "bad_name",
    NotJoined = "not_joined",
    TooManyRooms = "too_many_rooms",
    EmptyBody = "empty_body",
    BodyTooLarge = "body_too_large",
    BadBody = "bad_body",
    BadKey = "bad_key",
    KeyConflict = "key_conflict",
    BadCursor = "bad_cursor",
    BadQuery = "bad_query",
    Unsupported = "unsupported",
    RateLimited = "rate_limited",
    Forbidden = "forbidden",
    Unavailable = "unavailable",
}

impl ErrorCode {
    /// Whether the same command may succeed later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::RateLimited | Self::Unavailable)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address is none that this client can use.
    #[error("bad address: {0}")]
    Address(&'static str),
    /// The network's.
    #[error("{0}")]
    Io(io::ErrorKind),
    /// The server refused the upgrade.
    #[error("refused with {status} {code}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The `code` in the body, empty where there is none.
        code: String,
        /// What `Retry-After` says.
        retry_after: Option<Duration>,
    },
    /// It took too long.
    #[error("no connection in time")]
    Timeout,
    /// Whoever answered does not speak WebSocket, or not `chat.v1`.
    #[error("the server does not speak chat.v1")]
    Protocol,
    /// The connection ended before its first event.
    #[error("ended before its welcome: {0}")]
    Ended(Lost),
}

impl ConnectError {
    /// Whether another attempt may succeed.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Address(_) | Self::Protocol => false,
            Self::Io(_) | Self::Timeout => true,
            Self::Refused { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            Self::Ended(lost) => lost.is_temporary(),
        }
    }
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Lost {
    /// With a close frame.
    #[error("closed with {code} {reason}")]
    Close {
        /// The code; 1005 if the frame had none.
        code: u16,
        /// The reason, as the server gave it.
        reason: String,
    },
    /// The network's.
    #[error("{0}")]
    Io(io::ErrorKind),
    /// The stream ended without a close frame.
    #[error("the connection ended")]
    End,
    /// Nothing came for too long, not even an answer to a ping.
    #[error("the server is silent")]
    Silence,
    /// The server sent what is not `chat.v1`, or more than the client takes.
    #[error("the server broke the protocol: {0}")]
    Breach(&'static str),
    /// [`Client::reconnect`](crate::Client::reconnect) was called.
    #[error("a reconnect was asked for")]
    Asked,
}

impl Lost {
    /// Whether the protocol lets a client connect again and resume (PROTOCOL.md, section 7.2).
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Io(_) | Self::End | Self::Silence | Self::Asked => true,
            Self::Breach(_) => false,
            // 4005 wants a new token, and this client has none. 1005: whoever closed had nothing to say.
            Self::Close { code, .. } => {
                matches!(code, 1001 | 1005 | 1006 | 1011..=1014 | 4000..=4499) && *code != 4005
            }
        }
    }
}

/// Why a client has ended for good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Closed {
    /// [`Client::close`](crate::Client::close) was called, or the last [`Client`](crate::Client) dropped.
    #[error("closed by this side")]
    Here,
    /// The connection ended in a way after which a client must not come back.
    #[error("{0}")]
    Lost(Lost),
    /// The server would not have the client back.
    #[error("{0}")]
    Refused(ConnectError),
    /// There was no connection for as long as [`Reconnect`](crate::Reconnect) allows; this was the last failure.
    #[error("gave up: {0}")]
    GaveUp(ConnectError),
    /// The runtime that the client lived on has ended.
    #[error("the runtime has ended")]
    Runtime,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_protocol_is_known() {
        use chat_proto::ErrorCode as Proto;
        let codes = [
            Proto::BadJson,
            Proto::BadCommand(""),
            Proto::UnknownType,
            Proto::AlreadyIdentified,
            Proto::BadRoom,
            Proto::BadName,
            Proto::NotJoined,
            Proto::TooManyRooms,
            Proto::EmptyBody,
            Proto::BodyTooLarge,
            Proto::BadBody,
            Proto::BadKey,
            Proto::KeyConflict,
            Proto::BadCursor,
            Proto::BadQuery,
            Proto::Unsupported,
            Proto::Unavailable,
        ];
        for code in codes {
            let known = ErrorCode::from(code.as_str());
            assert!(!matches!(known, ErrorCode::Unknown(_)), "{code}");
            assert_eq!(known.as_str(), code.as_str());
        }
        assert_eq!(ErrorCode::from("new_one").as_str(), "new_one");
    }

    #[test]
    fn a_client_comes_back_after_the_codes_that_allow_it_and_no_others() {
        let comes_back = |code| Lost::Close { code, reason: String::new() }.is_temporary();
        for code in [1001, 1011, 1012, 4000, 4001, 4002, 4499] {
            assert!(comes_back(code), "{code}");
        }
        for code in [1000, 1002, 1003, 1007, 1009, 3000, 4005, 4500, 4501, 4502, 4503, 4504, 4999, 5000] {
            assert!(!comes_back(code), "{code}");
        }
    }
}
