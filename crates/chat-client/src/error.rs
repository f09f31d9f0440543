use std::io;
use std::time::Duration;

use chat_proto::{CloseCode, ErrorCode, InvalidEvent, ProtocolViolation, ReconnectAdvice, RoomName};
use serde_json::value::RawValue;

/// The reason why a command has no reply.
///
/// # Examples
///
/// ```
/// use chat_client::{Closed, Error};
///
/// assert!(Error::NotConnected.is_temporary() && !Error::NotConnected.may_have_happened());
/// assert!(Error::Closed(Closed::Locally).may_have_happened());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server refused the command. The command was not carried out.
    #[error(transparent)]
    Refused(ServerError),
    /// The server refused a `send` or a change, but may have stored it: the room was
    /// [`Unavailable`](ErrorCode::Unavailable), or an earlier attempt had no reply. A repeat of a `send` with the same
    /// key is safe, and so is a repeated change.
    #[error("the message or the change may have been stored")]
    Unsure(#[source] ServerError),
    /// No reply arrived in time. The command may have been carried out. A repeat of a `send` with the same key is
    /// safe.
    #[error("no reply arrived in time")]
    Timeout,
    /// The client had no connection in all that time, or the room could not be resumed. The command was not carried
    /// out.
    #[error("the client is not connected")]
    NotConnected,
    /// The client has ended. A command in flight may have been carried out.
    #[error("the client has ended")]
    Closed(#[source] Closed),
    /// The command was not sent because no server accepts it.
    #[error(transparent)]
    InvalidCommand(#[from] InvalidCommand),
}

impl Error {
    /// Returns true if the command may have been carried out. For a `send`, only a repeat with its key shows
    /// whether it was.
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Unsure(_) | Self::Timeout | Self::Closed(_) => true,
            Self::Refused(_) | Self::NotConnected | Self::InvalidCommand(_) => false,
        }
    }

    /// Returns true if the same command may succeed later with this client. A repeated `send` needs the same key,
    /// otherwise the message may be stored twice.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Refused(error) | Self::Unsure(error) => error.code.is_temporary(),
            Self::Timeout | Self::NotConnected => true,
            Self::Closed(_) | Self::InvalidCommand(_) => false,
        }
    }
}

/// The reason why a command cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCommand {
    /// The body cannot be written as JSON.
    #[error("the body cannot be written as JSON")]
    Body,
    /// The command is longer than [`LimitsNotice::max_frame`](crate::LimitsNotice::max_frame).
    #[error("the command is longer than the server accepts")]
    TooLong,
}

/// An `error` event as an error type: the reason why the server refused a command.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {message}", .code.as_str())]
#[non_exhaustive]
pub struct ServerError {
    /// The code, for programs.
    pub code: ErrorCode,
    /// The text, for people.
    pub message: String,
    /// The room of the command.
    pub room: Option<RoomName>,
    /// The time after which a repeat may succeed.
    pub retry_after: Option<Duration>,
    /// Details from the host service, as JSON.
    pub detail: Option<Box<RawValue>>,
}

impl PartialEq for ServerError {
    fn eq(&self, other: &Self) -> bool {
        let detail = |error: &Self| error.detail.as_ref().map(|detail| detail.get().to_owned());
        (self.code, &self.message, &self.room, self.retry_after)
            == (other.code, &other.message, &other.room, other.retry_after)
            && detail(self) == detail(other)
    }
}

impl Eq for ServerError {}

/// The reason why the client has no connection.
///
/// # Examples
///
/// ```
/// use chat_client::ConnectError;
///
/// assert!(ConnectError::Timeout.is_temporary());
/// assert!(!ConnectError::Protocol.is_temporary());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// This client cannot use the address.
    #[error("invalid address: {0}")]
    Address(&'static str),
    /// The token has a character that a header cannot have.
    #[error("the token cannot be sent in a header")]
    Token,
    /// The network failed.
    #[error("{0}")]
    Io(io::ErrorKind),
    /// The server waits for a token, and the client has none. See [`Builder::token`](crate::Builder::token).
    #[error("the server requires a token")]
    TokenRequired,
    /// The server refused the upgrade.
    #[error("the server refused the upgrade with {status} {code}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The `code` in the body, empty if there is none.
        code: String,
        /// The value of `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// The server has no TLS, or its certificate failed a check. See [`TlsError`](crate::TlsError).
    #[cfg(feature = "tls")]
    #[error(transparent)]
    Tls(#[from] crate::TlsError),
    /// The attempt took longer than [`Builder::connect_timeout`](crate::Builder::connect_timeout).
    #[error("no connection in time")]
    Timeout,
    /// The server does not speak WebSocket, or not `chat.v1`.
    #[error("the server does not speak chat.v1")]
    Protocol,
    /// The connection ended before its first event.
    #[error("the connection ended before its welcome")]
    Ended {
        /// The reason of the end.
        #[source]
        lost: Lost,
        /// The time after which the server wants the client to return, as its `closing` event said.
        reconnect_in: Option<Duration>,
    },
}

impl ConnectError {
    /// Returns true if another attempt may succeed.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Address(_) | Self::Token | Self::TokenRequired | Self::Protocol => false,
            #[cfg(feature = "tls")]
            Self::Tls(_) => false,
            Self::Io(_) | Self::Timeout => true,
            Self::Refused { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            Self::Ended { lost, .. } => lost.is_temporary(),
        }
    }
}

/// The reason why a connection ended.
///
/// # Examples
///
/// ```
/// use chat_client::{CloseCode, Lost};
///
/// let close = |code: u16| Lost::Close { code: CloseCode::from(code), reason: String::new() };
/// assert!(close(4000).is_temporary());
/// assert!(!close(4503).is_temporary());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Lost {
    /// The server sent a close frame.
    #[error("closed with {} {reason}", .code.code())]
    Close {
        /// The code, 1005 if the frame has none.
        code: CloseCode,
        /// The reason, as the server sent it.
        reason: String,
    },
    /// The network failed.
    #[error("{0}")]
    Io(io::ErrorKind),
    /// The stream ended without a close frame.
    #[error("the connection ended")]
    End,
    /// The server sent nothing for too long and did not answer a ping.
    #[error("the server does not answer")]
    PingTimeout,
    /// The server broke the protocol.
    #[error("the server broke the protocol")]
    Violation(#[source] Violation),
    /// [`Client::reconnect`](crate::Client::reconnect) was called.
    #[error("a reconnect was requested")]
    ReconnectRequested,
}

impl Lost {
    /// Returns true if the client may connect again and resume (PROTOCOL.md, section 7.2).
    ///
    /// A client needs a [`Builder::token`](crate::Builder::token) to reconnect after 4005, which is not temporary.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Io(_) | Self::End | Self::PingTimeout | Self::ReconnectRequested => true,
            Self::Violation(_) => false,
            Self::Close { code, .. } => code.advice() == ReconnectAdvice::Resume,
        }
    }

    /// Returns true if the client may connect again, with a new token if it has one.
    pub(crate) fn allows_reconnect(&self, has_token: bool) -> bool {
        let is_expired =
            matches!(self, Self::Close { code, .. } if code.advice() == ReconnectAdvice::ResumeWithNewToken);
        self.is_temporary() || (has_token && is_expired)
    }
}

/// The way in which a server broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// The server broke the WebSocket protocol, or sent more than [`Builder::max_event`](crate::Builder::max_event).
    #[error("the server sent {0}")]
    WebSocket(ProtocolViolation),
    /// The server sent a binary frame.
    #[error("the server sent a binary frame")]
    BinaryFrame,
    /// The server sent a text that is not an event.
    #[error(transparent)]
    InvalidEvent(#[from] InvalidEvent),
    /// The server replied to a command that this client cannot have sent.
    #[error("the server replied to a command that was never sent")]
    UnknownReference,
    /// The server sent a reply that does not belong to the command.
    #[error("the server sent a reply of the wrong type")]
    UnexpectedReply,
}

/// The reason why a client has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Closed {
    /// [`Client::close`](crate::Client::close) was called, or the last [`Client`](crate::Client) was dropped.
    #[error("the client was closed")]
    Locally,
    /// The connection ended in a way after which a client must not reconnect.
    #[error(transparent)]
    Lost(Lost),
    /// The server refused to accept the client again.
    #[error(transparent)]
    Refused(ConnectError),
    /// The client had no connection for as long as [`Reconnect`](crate::Reconnect) allows. The source is the last
    /// failure.
    #[error("the client gave up reconnecting")]
    GaveUp(#[source] ConnectError),
    /// The runtime of the client has ended.
    #[error("the runtime has ended")]
    Runtime,
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_client_reconnects_after_the_codes_that_allow_it_and_after_no_others() {
        let reconnects = |code: u16| Lost::Close { code: code.into(), reason: String::new() }.is_temporary();
        for code in [1001, 1011, 1012, 4000, 4001, 4002, 4003, 4499] {
            assert!(reconnects(code), "{code}");
        }
        for code in [1000, 1002, 1003, 1007, 1009, 3000, 4005, 4500, 4501, 4502, 4503, 4504, 4999, 5000] {
            assert!(!reconnects(code), "{code}");
        }
    }

    #[test]
    fn an_error_names_its_source_once() {
        let violation = Violation::InvalidEvent(InvalidEvent::NotAnEvent);
        let lost = Lost::Violation(violation);
        let error = Error::Closed(Closed::GaveUp(ConnectError::Ended { lost, reconnect_in: None }));
        let mut texts = vec![error.to_string()];
        let mut next = error.source();
        while let Some(source) = next {
            texts.push(source.to_string());
            next = source.source();
        }
        let expected = [
            "the client has ended",
            "the client gave up reconnecting",
            "the connection ended before its welcome",
            "the server broke the protocol",
            "the text is not an event",
        ];
        assert_eq!(texts, expected);
    }
}
