use std::fmt;

/// Why the server closes a connection: the code of its close frame (RFC 6455 section 7.4).
///
/// Codes from 4000 to 4499 invite the client to reconnect and resume; from 4500 on it must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCode {
    /// 1000: the session is over and nothing is wrong.
    Normal,
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
    /// 4000: the peer took nothing for [`ConnectionLimits::write_timeout`](crate::ConnectionLimits::write_timeout).
    SlowConsumer,
    /// 4001: nothing complete came from the peer for too long.
    PingTimeout,
    /// 4003: the log of a room was lost or restored while the peer was a member.
    LogRenewed,
    /// 4503: the host removed the user.
    Kicked,
    /// 4500: too many commands were errors in a short time.
    TooManyErrors,
}

/// How a peer broke the WebSocket protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolViolation {
    /// It sent what RFC 6455 forbids.
    Protocol,
    /// It sent text that is not UTF-8.
    Utf8,
    /// It sent, or announced, more than [`WireLimits::max_frame_bytes`](crate::WireLimits::max_frame_bytes).
    TooBig,
}

impl From<ProtocolViolation> for CloseCode {
    fn from(breach: ProtocolViolation) -> Self {
        match breach {
            ProtocolViolation::Protocol => Self::ProtocolError,
            ProtocolViolation::Utf8 => Self::InvalidPayload,
            ProtocolViolation::TooBig => Self::MessageTooBig,
        }
    }
}

impl CloseCode {
    /// The number on the wire.
    pub fn code(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::ProtocolError => 1002,
            Self::UnsupportedData => 1003,
            Self::InvalidPayload => 1007,
            Self::MessageTooBig => 1009,
            Self::InternalError => 1011,
            Self::Restarting => 1012,
            Self::SlowConsumer => 4000,
            Self::PingTimeout => 4001,
            Self::LogRenewed => 4003,
            Self::TooManyErrors => 4500,
            Self::Kicked => 4503,
        }
    }

    /// The reason in the close frame and in the `closing` event.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::ProtocolError => "protocol_error",
            Self::UnsupportedData => "unsupported_data",
            Self::InvalidPayload => "invalid_payload",
            Self::MessageTooBig => "message_too_big",
            Self::InternalError => "internal_error",
            Self::Restarting => "restarting",
            Self::SlowConsumer => "slow_consumer",
            Self::PingTimeout => "ping_timeout",
            Self::LogRenewed => "log_renewed",
            Self::TooManyErrors => "too_many_errors",
            Self::Kicked => "kicked",
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code(), self.reason())
    }
}
