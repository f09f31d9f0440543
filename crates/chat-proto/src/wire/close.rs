use std::fmt;

use serde::{Serialize, Serializer};

/// The reason for the end of a connection: the code of its close frame (RFC 6455 section 7.4).
///
/// # Examples
///
/// ```
/// use chat_proto::{CloseCode, ReconnectAdvice};
///
/// assert_eq!(CloseCode::from(4000), CloseCode::SlowConsumer);
/// assert_eq!(CloseCode::SlowConsumer.advice(), ReconnectAdvice::Resume);
/// assert_eq!(CloseCode::from(4999).advice(), ReconnectAdvice::Stop);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseCode {
    /// 1000: the session is over and nothing is wrong.
    Normal,
    /// 1001: the peer goes away.
    GoingAway,
    /// 1002: the peer broke RFC 6455.
    ProtocolError,
    /// 1003: the peer sent a binary frame.
    UnsupportedData,
    /// 1007: the peer sent text that is not UTF-8.
    InvalidPayload,
    /// 1009: the peer sent more than [`WireLimits::max_frame_bytes`](crate::WireLimits::max_frame_bytes).
    MessageTooBig,
    /// 1011: the session failed on the server's side.
    InternalError,
    /// 1012: the server is draining.
    Restarting,
    /// 4000: the peer read nothing for
    /// [`ConnectionLimits::write_timeout`](crate::ConnectionLimits::write_timeout).
    SlowConsumer,
    /// 4001: the peer sent no complete frame for too long.
    PingTimeout,
    /// 4002: the peer exceeded its rate limit for too long.
    RateLimited,
    /// 4003: the log of a room was lost or restored while the connection was a member.
    LogRenewed,
    /// 4005: the peer's token expired.
    TokenExpired,
    /// 4500: too many commands failed in a short time.
    TooManyErrors,
    /// 4501: the peer's credentials were refused.
    Unauthorized,
    /// 4502: the peer sent no `hello` in time.
    HelloTimeout,
    /// 4503: the server removed the user.
    Kicked,
    /// 4504: the user has too many connections.
    ConnectionLimit,
    /// Another code.
    Other(u16),
}

/// The advice for a client after a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReconnectAdvice {
    /// The client may reconnect, after a wait, and resume.
    Resume,
    /// The client may reconnect and resume with a new token.
    ResumeWithNewToken,
    /// The client must not reconnect unchanged.
    Stop,
}

/// The way in which a peer broke the WebSocket protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolViolation {
    /// The peer sent frames that RFC 6455 forbids.
    #[error("frames that RFC 6455 forbids")]
    Protocol,
    /// The peer sent text that is not UTF-8.
    #[error("text that is not UTF-8")]
    Utf8,
    /// The peer sent, or announced, a message that is larger than the limit. On a server that is
    /// [`WireLimits::max_frame_bytes`](crate::WireLimits::max_frame_bytes).
    #[error("a message that is too large")]
    TooBig,
}

impl From<ProtocolViolation> for CloseCode {
    fn from(violation: ProtocolViolation) -> Self {
        match violation {
            ProtocolViolation::Protocol => Self::ProtocolError,
            ProtocolViolation::Utf8 => Self::InvalidPayload,
            ProtocolViolation::TooBig => Self::MessageTooBig,
        }
    }
}

/// All codes that have a name.
const KNOWN: [CloseCode; 18] = [
    CloseCode::Normal,
    CloseCode::GoingAway,
    CloseCode::ProtocolError,
    CloseCode::UnsupportedData,
    CloseCode::InvalidPayload,
    CloseCode::MessageTooBig,
    CloseCode::InternalError,
    CloseCode::Restarting,
    CloseCode::SlowConsumer,
    CloseCode::PingTimeout,
    CloseCode::RateLimited,
    CloseCode::LogRenewed,
    CloseCode::TokenExpired,
    CloseCode::TooManyErrors,
    CloseCode::Unauthorized,
    CloseCode::HelloTimeout,
    CloseCode::Kicked,
    CloseCode::ConnectionLimit,
];

impl CloseCode {
    /// Returns the number on the wire.
    pub fn code(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::GoingAway => 1001,
            Self::ProtocolError => 1002,
            Self::UnsupportedData => 1003,
            Self::InvalidPayload => 1007,
            Self::MessageTooBig => 1009,
            Self::InternalError => 1011,
            Self::Restarting => 1012,
            Self::SlowConsumer => 4000,
            Self::PingTimeout => 4001,
            Self::RateLimited => 4002,
            Self::LogRenewed => 4003,
            Self::TokenExpired => 4005,
            Self::TooManyErrors => 4500,
            Self::Unauthorized => 4501,
            Self::HelloTimeout => 4502,
            Self::Kicked => 4503,
            Self::ConnectionLimit => 4504,
            Self::Other(code) => code,
        }
    }

    /// Returns the reason in the close frame and in the `closing` event. It is empty for
    /// [`Other`](Self::Other).
    pub fn reason(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::GoingAway => "going_away",
            Self::ProtocolError => "protocol_error",
            Self::UnsupportedData => "unsupported_data",
            Self::InvalidPayload => "invalid_payload",
            Self::MessageTooBig => "message_too_big",
            Self::InternalError => "internal_error",
            Self::Restarting => "restarting",
            Self::SlowConsumer => "slow_consumer",
            Self::PingTimeout => "ping_timeout",
            Self::RateLimited => "rate_limited",
            Self::LogRenewed => "log_renewed",
            Self::TokenExpired => "token_expired",
            Self::TooManyErrors => "too_many_errors",
            Self::Unauthorized => "unauthorized",
            Self::HelloTimeout => "hello_timeout",
            Self::Kicked => "kicked",
            Self::ConnectionLimit => "connection_limit",
            Self::Other(_) => "",
        }
    }

    /// Returns the advice for a client after a close with this code.
    ///
    /// Codes from 4000 to 4499 allow a client to reconnect and resume, codes from 4500 to 4999 do not. Of the codes
    /// of RFC 6455, those for a temporary problem do.
    pub fn advice(self) -> ReconnectAdvice {
        match self.code() {
            4005 => ReconnectAdvice::ResumeWithNewToken,
            1001 | 1005 | 1006 | 1011..=1014 | 4000..=4499 => ReconnectAdvice::Resume,
            _ => ReconnectAdvice::Stop,
        }
    }
}

/// Reads a number. A number without a name becomes [`CloseCode::Other`].
impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        KNOWN.into_iter().find(|known| known.code() == code).unwrap_or(Self::Other(code))
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason() {
            "" => write!(f, "{}", self.code()),
            reason => write!(f, "{} {reason}", self.code()),
        }
    }
}

/// Writes the number.
impl Serialize for CloseCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_reads_back_as_itself() {
        for code in KNOWN {
            assert_eq!(CloseCode::from(code.code()), code);
            assert!(!code.reason().is_empty(), "{code}");
        }
        for number in 0..=u16::MAX {
            assert_eq!(CloseCode::from(number).code(), number);
        }
    }

    #[test]
    fn the_codes_that_allow_a_client_to_resume_are_those_of_the_protocol() {
        for number in [1001, 1005, 1006, 1011, 1012, 1013, 4000, 4001, 4002, 4003, 4004, 4499] {
            assert_eq!(CloseCode::from(number).advice(), ReconnectAdvice::Resume, "{number}");
        }
        for number in [1000, 1002, 1003, 1007, 1009, 3000, 4500, 4501, 4502, 4503, 4504, 4999, 5000] {
            assert_eq!(CloseCode::from(number).advice(), ReconnectAdvice::Stop, "{number}");
        }
        assert_eq!(CloseCode::TokenExpired.advice(), ReconnectAdvice::ResumeWithNewToken);
    }
}
