use crate::Limits;

/// A reason why a request is not upgraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The request does not ask for a WebSocket.
    #[error("this is a WebSocket endpoint")]
    UpgradeRequired,
    /// The target of the request is not a path: it has the form of `CONNECT` or `OPTIONS *`. Or its `Host` is not one
    /// host with an optional port.
    #[error("the target of the request must be a path, and `Host` must be one host")]
    BadRequest,
    /// The request came without TLS to a port that expects it.
    #[error("this port expects TLS: use https:// or wss://")]
    TlsRequired,
    /// The server does not answer for the host that the request names.
    #[error("this host is not served here")]
    HostForbidden,
    /// The method is not GET.
    #[error("this method is not allowed here")]
    MethodNotAllowed,
    /// The request breaks RFC 6455 section 4.2.1.
    #[error("the WebSocket handshake is malformed")]
    BadHandshake,
    /// The WebSocket version is not 13.
    #[error("the WebSocket version must be 13")]
    UnsupportedVersion,
    /// The request offers subprotocols, but not `chat.v1`.
    #[error("the subprotocol is chat.v1")]
    UnsupportedSubprotocol,
    /// The page has an origin that may not connect.
    #[error("this origin may not connect")]
    OriginForbidden,
    /// The name in the query breaks the rules for user names.
    #[error("a user name is 1 to 32 visible characters; some names are reserved")]
    BadName,
    /// The server has its maximum number of connections.
    #[error("the server has its maximum number of connections")]
    Overloaded,
    /// The user or the address has its maximum number of connections.
    #[error("this user or address has its maximum number of connections")]
    TooManyConnections,
    /// The server is about to stop.
    #[error("the server is restarting")]
    Draining,
    /// The host did not accept the identity of the request.
    #[error("the credentials are missing or not valid")]
    Unauthorized,
    /// The host could not identify the user in time.
    #[error("the identity cannot be checked now")]
    Unavailable,
    /// The request head is larger than [`HttpLimits::max_head_bytes`](crate::HttpLimits::max_head_bytes).
    #[error("the request head is too large")]
    HeaderTooLarge,
    /// The upgrade cannot be carried out, because the host service has not mounted the chat's layer.
    #[error("the upgrade cannot be carried out")]
    Internal,
}

impl Refusal {
    /// Returns the HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::UpgradeRequired | Self::UnsupportedVersion => 426,
            Self::MethodNotAllowed => 405,
            Self::BadRequest
            | Self::TlsRequired
            | Self::BadHandshake
            | Self::UnsupportedSubprotocol
            | Self::BadName => 400,
            Self::HostForbidden => 421,
            Self::OriginForbidden => 403,
            Self::Unauthorized => 401,
            Self::Overloaded | Self::Draining | Self::Unavailable => 503,
            Self::TooManyConnections => 429,
            Self::HeaderTooLarge => 431,
            Self::Internal => 500,
        }
    }

    /// Returns the code in the body.
    pub fn code(self) -> &'static str {
        match self {
            Self::UpgradeRequired => "upgrade_required",
            Self::BadRequest => "bad_request",
            Self::TlsRequired => "tls_required",
            Self::HostForbidden => "host_forbidden",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::BadHandshake => "bad_handshake",
            Self::UnsupportedVersion => "unsupported_version",
            Self::UnsupportedSubprotocol => "unsupported_subprotocol",
            Self::OriginForbidden => "origin_forbidden",
            Self::BadName => "bad_name",
            Self::Overloaded => "overloaded",
            Self::TooManyConnections => "too_many_connections",
            Self::Draining => "draining",
            Self::Unauthorized => "unauthorized",
            Self::Unavailable => "unavailable",
            Self::HeaderTooLarge => "header_too_large",
            Self::Internal => "internal_error",
        }
    }

    /// Returns the header lines of the answer, except those that describe the body.
    pub fn headers(self, limits: &Limits) -> Vec<(&'static str, String)> {
        match self {
            Self::UpgradeRequired => {
                vec![("upgrade", "websocket".to_owned()), ("connection", "Upgrade".to_owned())]
            }
            Self::MethodNotAllowed => vec![("allow", "GET".to_owned())],
            Self::UnsupportedVersion => vec![("sec-websocket-version", "13".to_owned())],
            Self::Unauthorized => vec![("www-authenticate", "Bearer".to_owned())],
            Self::Overloaded | Self::TooManyConnections | Self::Draining | Self::Unavailable => {
                vec![("retry-after", limits.http.retry_after.as_secs().max(1).to_string())]
            }
            _ => Vec::new(),
        }
    }

    /// Returns the JSON body.
    pub fn body(self) -> String {
        format!(r#"{{"error":{{"code":"{}","message":"{self}"}}}}"#, self.code())
    }
}
