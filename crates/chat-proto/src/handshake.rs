//! The opening handshake (RFC 6455 section 4.2) as one function from a request head to a decision.
//!
//! Whatever parsed the request, the same head gets the same answer: the checks that frameworks leave out,
//! or make differently, are all made here.

use base64::prelude::{BASE64_STANDARD, Engine};
use percent_encoding::percent_decode_str;
use sha1::{Digest, Sha1};

use crate::{Limits, SUBPROTOCOL, User};

/// The head of an HTTP request as plain data.
#[derive(Clone, Debug)]
pub struct RequestHead<'a> {
    /// The method, as sent.
    pub method: &'a str,
    /// The HTTP version.
    pub version: Version,
    /// Path and query, without scheme and authority.
    pub target: &'a str,
    /// The header lines in order; names in any case.
    pub headers: Vec<(&'a str, &'a [u8])>,
}

/// The HTTP version of a request, as far as the handshake cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0 or older: no upgrade.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2 or later: no `Upgrade` header exists there.
    Later,
}

impl<'a> RequestHead<'a> {
    /// The path of the request, still percent-encoded.
    pub fn path(&self) -> &'a str {
        self.target.split_once('?').map_or(self.target, |(path, _)| path)
    }

    fn values<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + 's {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// The value of a header that stands exactly once.
    fn single(&self, name: &str) -> Option<&'a str> {
        let mut values = self.values(name);
        let value = values.next()?;
        values.next().is_none().then(|| std::str::from_utf8(value).ok()).flatten().map(trim)
    }

    /// The members of a comma-separated header, over all its lines.
    fn tokens<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a str> + 's {
        self.values(name)
            .filter_map(|value| std::str::from_utf8(value).ok())
            .flat_map(|value| value.split(','))
            .map(trim)
            .filter(|token| !token.is_empty())
    }

    fn has_token(&self, name: &str, token: &str) -> bool {
        self.tokens(name).any(|t| t.eq_ignore_ascii_case(token))
    }

    fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    fn size(&self) -> usize {
        let lines: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        self.method.len() + self.target.len() + 12 + lines
    }

    /// The first `name` in the query, percent-decoded; `Err` if that is not UTF-8.
    fn query_name(&self) -> Result<Option<String>, Refusal> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let Some(value) = query.split('&').find_map(|pair| pair.strip_prefix("name=")) else {
            return Ok(None);
        };
        let spaced = value.replace('+', " ");
        let decoded = percent_decode_str(&spaced).decode_utf8().map_err(|_| Refusal::BadName)?;
        Ok(Some(decoded.into_owned()))
    }
}

/// Which origins may connect (RFC 6455 section 10.2). A request without `Origin` comes from no browser and
/// is always allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OriginPolicy {
    /// The origin's host and port must be those of `Host`.
    #[default]
    SameOrigin,
    /// Besides the same origin, these; `*` stands for every one but `null`.
    SameOriginOr(Vec<String>),
}

/// A handshake that may go ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accept {
    /// The value of `Sec-WebSocket-Accept`.
    pub accept_key: String,
    /// Whether the client offered the subprotocol, which is then echoed.
    pub subprotocol: bool,
    /// The guest that the query names.
    pub guest: Option<User>,
}

impl Accept {
    /// The header lines of the 101.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("upgrade", "websocket".to_owned()),
            ("connection", "Upgrade".to_owned()),
            ("sec-websocket-accept", self.accept_key.clone()),
        ];
        if self.subprotocol {
            headers.push(("sec-websocket-protocol", SUBPROTOCOL.to_owned()));
        }
        headers
    }
}

/// Why a request is not upgraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request asks for no WebSocket.
    #[error("this is a WebSocket endpoint")]
    UpgradeRequired,
    /// The method is not GET.
    #[error("this method is not allowed here")]
    MethodNotAllowed,
    /// The request breaks RFC 6455 section 4.2.1.
    #[error("the WebSocket handshake is malformed")]
    BadHandshake,
    /// The WebSocket version is not 13.
    #[error("the WebSocket version must be 13")]
    UnsupportedVersion,
    /// Subprotocols are offered, ours is not among them.
    #[error("the subprotocol is chat.v1")]
    UnsupportedSubprotocol,
    /// The page that asks is of another origin.
    #[error("this origin may not connect")]
    OriginForbidden,
    /// The name in the query breaks the rules for user names.
    #[error("a user name is 1 to 32 visible characters")]
    BadName,
    /// The server has as many connections as it may have.
    #[error("the server has as many connections as it may have")]
    Overloaded,
    /// The server is about to stop.
    #[error("the server is restarting")]
    Draining,
    /// The host did not accept the identity of the request.
    #[error("the credentials are missing or not valid")]
    Unauthorized,
    /// The host could not identify the user in time.
    #[error("the identity cannot be checked now")]
    Unavailable,
    /// The request head is larger than [`HttpLimits::max_head_bytes`].
    #[error("the request head is too large")]
    HeaderTooLarge,
    /// The host service mounted the chat without the part that watches its answers.
    #[error("the upgrade cannot be carried out")]
    Internal,
}

impl Refusal {
    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::UpgradeRequired | Self::UnsupportedVersion => 426,
            Self::MethodNotAllowed => 405,
            Self::BadHandshake | Self::UnsupportedSubprotocol | Self::BadName => 400,
            Self::OriginForbidden => 403,
            Self::Unauthorized => 401,
            Self::Overloaded | Self::Draining | Self::Unavailable => 503,
            Self::HeaderTooLarge => 431,
            Self::Internal => 500,
        }
    }

    /// The code in the body.
    pub fn code(self) -> &'static str {
        match self {
            Self::UpgradeRequired => "upgrade_required",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::BadHandshake => "bad_handshake",
            Self::UnsupportedVersion => "unsupported_version",
            Self::UnsupportedSubprotocol => "unsupported_subprotocol",
            Self::OriginForbidden => "origin_forbidden",
            Self::BadName => "bad_name",
            Self::Overloaded => "overloaded",
            Self::Draining => "draining",
            Self::Unauthorized => "unauthorized",
            Self::Unavailable => "unavailable",
            Self::HeaderTooLarge => "header_too_large",
            Self::Internal => "internal_error",
        }
    }

    /// The header lines that this refusal needs, besides those that describe the body.
    pub fn headers(self, limits: &Limits) -> Vec<(&'static str, String)> {
        match self {
            Self::UpgradeRequired => {
                vec![("upgrade", "websocket".to_owned()), ("connection", "Upgrade".to_owned())]
            }
            Self::MethodNotAllowed => vec![("allow", "GET".to_owned())],
            Self::UnsupportedVersion => vec![("sec-websocket-version", "13".to_owned())],
            Self::Unauthorized => vec![("www-authenticate", "Bearer".to_owned())],
            Self::Overloaded | Self::Draining | Self::Unavailable => {
                vec![("retry-after", limits.http.retry_after.as_secs().max(1).to_string())]
            }
            _ => Vec::new(),
        }
    }

    /// The JSON body.
    pub fn body(self) -> String {
        format!(r#"{{"error":{{"code":"{}","message":"{self}"}}}}"#, self.code())
    }
}

/// Decides whether a request may become a WebSocket connection.
///
/// # Errors
///
/// The first [`Refusal`] that applies, in this order: method, head size, HTTP version, `Connection` and
/// `Upgrade`, no body, WebSocket version, key, `Host`, `Origin`, subprotocol, name.
pub fn decide(head: &RequestHead<'_>, origins: &OriginPolicy, limits: &Limits) -> Result<Accept, Refusal> {
    if head.method != "GET" {
        return Err(Refusal::MethodNotAllowed);
    }
    if head.size() > limits.http.max_head_bytes {
        return Err(Refusal::HeaderTooLarge);
    }
    if head.version == Version::Http10 {
        return Err(Refusal::BadHandshake);
    }
    if !head.has_token("connection", "upgrade") || !head.has_token("upgrade", "websocket") {
        return Err(Refusal::UpgradeRequired);
    }
    let announces_body = head.values("content-length").any(|length| length != b"0");
    if head.version == Version::Later || announces_body || head.has("transfer-encoding") {
        return Err(Refusal::BadHandshake);
    }
    if head.single("sec-websocket-version") != Some("13") {
        return Err(Refusal::UnsupportedVersion);
    }
    let key = head.single("sec-websocket-key").filter(|key| is_nonce(key)).ok_or(Refusal::BadHandshake)?;
    let host = head.single("host").filter(|host| !host.is_empty()).ok_or(Refusal::BadHandshake)?;
    if head.has("origin") && !head.single("origin").is_some_and(|origin| allows(origins, origin, host)) {
        return Err(Refusal::OriginForbidden);
    }
    let mut offered = head.tokens("sec-websocket-protocol").peekable();
    let offers_any = offered.peek().is_some();
    let subprotocol = offered.any(|token| token == SUBPROTOCOL);
    if offers_any && !subprotocol {
        return Err(Refusal::UnsupportedSubprotocol);
    }
    let guest =
        head.query_name()?.map(|name| User::guest(&name)).transpose().map_err(|_| Refusal::BadName)?;
    Ok(Accept { accept_key: accept_key(key), subprotocol, guest })
}

/// `Sec-WebSocket-Accept` for a key (RFC 6455 section 4.2.2, step 5.4).
fn accept_key(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64_STANDARD.encode(hash.finalize())
}

/// A header's value without the white space around it (RFC 9110 section 5.6.3).
fn trim(value: &str) -> &str {
    value.trim_matches([' ', '\t'])
}

fn is_nonce(key: &str) -> bool {
    BASE64_STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16)
}

fn allows(policy: &OriginPolicy, origin: &str, host: &str) -> bool {
    if let OriginPolicy::SameOriginOr(listed) = policy
        && origin != "null"
        && listed.iter().any(|entry| entry == "*" || entry.eq_ignore_ascii_case(origin))
    {
        return true;
    }
    // The scheme that the browser saw is not known here: TLS may end in front of the server. So a default
    // port is that of the origin's own scheme.
    let (authority, port) = match origin.split_once("://") {
        Some(("http", authority)) => (authority, ":80"),
        Some(("https", authority)) => (authority, ":443"),
        _ => return false,
    };
    let bare = |text: &str| text.strip_suffix(port).unwrap_or(text).to_ascii_lowercase();
    bare(authority) == bare(host)
}
