use chat_core::IdentifyRequest;

use crate::Rejection;

/// The beginning of a subprotocol that carries a token. Browsers cannot set `Authorization` on a WebSocket.
const SUBPROTOCOL: &str = "chat.token.";

/// The credentials in a request.
pub(crate) enum Credential<'a> {
    Token(&'a str),
    Ticket(String),
}

impl<'a> Credential<'a> {
    /// Returns the credentials of a request, if it has any.
    pub(crate) fn of(request: &'a IdentifyRequest<'_>) -> Result<Option<Self>, Rejection> {
        let mut found =
            bearer(request).map(|token| token.map(Credential::Token)).collect::<Result<Vec<_>, _>>()?;
        found.extend(subprotocols(request).map(Credential::Token));
        found.extend(request.query("ticket").map(Credential::Ticket));
        if found.len() > 1 { Err(Rejection::Ambiguous) } else { Ok(found.pop()) }
    }
}

/// Returns the tokens of `Authorization`. A proxy may use other schemes for itself, so they do not count.
fn bearer<'a>(request: &'a IdentifyRequest<'_>) -> impl Iterator<Item = Result<&'a str, Rejection>> {
    values(request, "authorization").filter_map(|value| {
        let Some((scheme, token)) = value.split_once(' ') else {
            return value.eq_ignore_ascii_case("bearer").then_some(Err(Rejection::Malformed));
        };
        scheme.eq_ignore_ascii_case("bearer").then(|| Ok(token.trim_matches(' ')))
    })
}

fn subprotocols<'a>(request: &'a IdentifyRequest<'_>) -> impl Iterator<Item = &'a str> {
    let offered = values(request, "sec-websocket-protocol").flat_map(|value| value.split(','));
    offered.filter_map(|name| name.trim_matches([' ', '\t']).strip_prefix(SUBPROTOCOL))
}

/// Returns the values of a header that are UTF-8. Others are no credentials.
fn values<'a>(request: &'a IdentifyRequest<'_>, name: &'a str) -> impl Iterator<Item = &'a str> {
    let headers = request.head().headers.iter().filter(move |(header, _)| header.eq_ignore_ascii_case(name));
    headers.filter_map(|(_, value)| str::from_utf8(value).ok().map(|value| value.trim_matches([' ', '\t'])))
}
