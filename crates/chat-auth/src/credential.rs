use chat_core::IdentifyRequest;

use crate::Rejection;

/// The beginning of a subprotocol that carries a token. Browsers cannot set `Authorization` on a WebSocket.
const SUBPROTOCOL: &[u8] = b"chat.token.";

/// The characters of the name of a scheme, beside letters and digits (RFC 9110 section 5.6.2).
const SCHEME_MARKS: &[u8] = b"!#$%&'*+-.^_`|~";

/// The credentials in a request.
pub(crate) enum Credential<'a> {
    Token(&'a str),
    Ticket(String),
}

impl<'a> Credential<'a> {
    /// Returns the credentials of a request, if it has any. It reads bytes, so that credentials that are no text are
    /// refused, and do not make a guest.
    pub(crate) fn of(request: &'a IdentifyRequest<'_>) -> Result<Option<Self>, Rejection> {
        let bearers = values(request, "authorization").filter_map(bearer);
        let offered =
            values(request, "sec-websocket-protocol").flat_map(|value| value.split(|byte| *byte == b','));
        let subprotocols = offered.filter_map(|name| name.trim_ascii().strip_prefix(SUBPROTOCOL));
        let tokens = bearers.chain(subprotocols).map(|token| visible(token).map(Credential::Token));
        let mut found = tokens.chain(tickets(request)).collect::<Result<Vec<_>, _>>()?;
        if found.len() > 1 { Err(Rejection::Ambiguous) } else { Ok(found.pop()) }
    }
}

/// Returns the token of a value of `Authorization`. A proxy may use other schemes for itself, so they do not count.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let is_in_name = |byte: &u8| byte.is_ascii_alphanumeric() || SCHEME_MARKS.contains(byte);
    let end = value.iter().position(|byte| !is_in_name(byte)).unwrap_or(value.len());
    let (scheme, token) = value.split_at(end);
    // Only spaces are between the scheme and the token (RFC 9110 section 11.4).
    let start = token.iter().position(|byte| *byte != b' ').unwrap_or(token.len());
    scheme.eq_ignore_ascii_case(b"bearer").then(|| &token[start..])
}

/// Returns the first two of the parameters `ticket` in the query, also without a value.
fn tickets<'a>(request: &'a IdentifyRequest<'_>) -> impl Iterator<Item = Result<Credential<'a>, Rejection>> {
    let (_, query) = request.head().target.split_once('?').unwrap_or_default();
    let tickets = query.split('&').filter(|pair| pair.split('=').next() == Some("ticket")).take(2);
    tickets.map(move |_| request.query("ticket").map(Credential::Ticket).ok_or(Rejection::Malformed))
}

/// Returns a token of one or more visible ASCII characters.
pub(crate) fn visible(token: &[u8]) -> Result<&str, Rejection> {
    let is_visible = !token.is_empty() && token.iter().all(u8::is_ascii_graphic);
    str::from_utf8(token).ok().filter(|_| is_visible).ok_or(Rejection::Malformed)
}

/// Returns the values of a header.
fn values<'a>(request: &'a IdentifyRequest<'_>, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let headers = request.head().headers.iter().filter(move |(header, _)| header.eq_ignore_ascii_case(name));
    headers.map(|(_, value)| value.trim_ascii())
}
