//! The opening handshake (RFC 6455 section 4.2) as one function from a request head to a decision.
//!
//! The same head gets the same answer behind each HTTP implementation. Frameworks omit some of these checks, or
//! do them differently.

use base64::prelude::{BASE64_STANDARD, Engine};
use sha1::{Digest, Sha1};

mod forwarded;
mod head;
mod host;
mod origin;
mod probe;
mod proxies;
mod refusal;

pub use head::{RequestHead, Version};
pub use host::{HostPolicy, host_name};
pub use origin::{InvalidOrigin, OriginPattern};
pub use proxies::{InvalidNetwork, Network, TrustedProxies};
pub use refusal::Refusal;

use crate::{Limits, SUBPROTOCOL, User};

/// The origins that may connect (RFC 6455 section 10.2). A request without `Origin` does not come from a browser, and
/// is always allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OriginPolicy {
    /// The origin's host and port must be those of `Host`.
    #[default]
    SameOrigin,
    /// The same origin, and these. Each is an [`OriginPattern`]; other texts stand for no origin.
    SameOriginOr(Vec<String>),
}

/// A handshake that is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accept {
    /// The value of `Sec-WebSocket-Accept`.
    pub accept_key: String,
    /// True if the client offered the subprotocol. Then the answer names it.
    pub subprotocol: bool,
    /// The guest that the query names.
    pub guest: Option<User>,
}

impl Accept {
    /// Returns the header lines of the 101.
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

/// Decides about the upgrade of a request to a WebSocket connection.
///
/// ```
/// use chat_proto::Limits;
/// use chat_proto::handshake::{OriginPolicy, Refusal, RequestHead, Version, decide};
///
/// let mut head = RequestHead {
///     method: "GET",
///     version: Version::Http11,
///     target: "/ws?name=ann",
///     headers: vec![
///         ("Host", b"chat.example"),
///         ("Connection", b"Upgrade"),
///         ("Upgrade", b"websocket"),
///         ("Sec-WebSocket-Version", b"13"),
///         ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
///     ],
/// };
/// let accept = decide(&head, &OriginPolicy::SameOrigin, &Limits::default())?;
/// assert_eq!(accept.accept_key, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
///
/// head.headers.push(("Origin", b"https://elsewhere.example"));
/// let refusal = decide(&head, &OriginPolicy::SameOrigin, &Limits::default());
/// assert_eq!(refusal, Err(Refusal::OriginForbidden));
/// # Ok::<(), Refusal>(())
/// ```
///
/// # Errors
///
/// The first [`Refusal`] that applies, in this order: method, head size, HTTP version, ASCII target, `Connection`
/// and `Upgrade`, no body, WebSocket version, key, `Host`, `Origin`, subprotocol, name.
pub fn decide(head: &RequestHead<'_>, origins: &OriginPolicy, limits: &Limits) -> Result<Accept, Refusal> {
    if head.method != "GET" {
        return Err(Refusal::MethodNotAllowed);
    }
    if head.size() > limits.http.max_head_bytes {
        return Err(Refusal::HeaderTooLarge);
    }
    // Not every HTTP parser accepts other bytes in a target, and RFC 3986 allows none.
    if head.version == Version::Http10 || !head.target.is_ascii() {
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
    let host = head.single("host").filter(|host| host_name(host).is_some()).ok_or(Refusal::BadHandshake)?;
    if head.has("origin")
        && !head.single("origin").is_some_and(|origin| origin::allows(origins, origin, host))
    {
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

/// Returns the `Sec-WebSocket-Accept` for a key (RFC 6455 section 4.2.2, step 5.4).
fn accept_key(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64_STANDARD.encode(hash.finalize())
}

fn is_nonce(key: &str) -> bool {
    BASE64_STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16)
}
