use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use chat_proto::handshake::{HostPolicy, Refusal, host_name};
use tracing::info;

use crate::{Answer, Limits, LogThrottle, RequestHead};

/// Time between two lines about refused requests.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The limit on the lines of the whole process: the layers of an adapter have no state in common.
static REFUSALS: LazyLock<LogThrottle> = LazyLock::new(LogThrottle::default);

/// Bytes of a refused `Host` in the log.
const MAX_LOGGED_HOST_BYTES: usize = 255;

/// Checks a request before any route sees it. Returns the response to send in place of a route's, if the request
/// names no path or a host that `hosts` does not allow.
///
/// A refusal is logged with the address of the `peer`, at most once in a minute.
///
/// The outermost layer of an adapter calls this. Routers may not expect a target such as `*` or `chat.example:80`.
///
/// ```
/// use chat_core::{HostPolicy, RequestHead, Version, screen};
///
/// let head = RequestHead {
///     method: "OPTIONS",
///     version: Version::Http11,
///     target: "*",
///     headers: vec![("Host", b"chat.example")],
/// };
/// assert_eq!(screen(&head, &HostPolicy::Any, None).map(|answer| answer.status()), Some(400));
/// ```
pub fn screen(head: &RequestHead<'_>, hosts: &HostPolicy, peer: Option<SocketAddr>) -> Option<Answer> {
    let refusal = hosts.check(head).err()?;
    if let Some(suppressed) = REFUSALS.permit(LOG_INTERVAL) {
        let host = head.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        let name = host.and_then(|(_, value)| host_name(str::from_utf8(value).ok()?));
        let fix =
            name.filter(|name| refusal == Refusal::HostForbidden && name.len() <= MAX_LOGGED_HOST_BYTES);
        let fix = fix.map(|name| format!("if this host is yours, set --allow-host {name} (HostPolicy)"));
        let host =
            host.map(|(_, value)| value[..value.len().min(MAX_LOGGED_HOST_BYTES)].escape_ascii().to_string());
        let peer = peer.map(tracing::field::display);
        info!(
            status = refusal.status(),
            code = refusal.code(),
            host,
            peer,
            fix,
            suppressed,
            "request refused"
        );
    }
    Some(Answer::refusal(refusal, &Limits::default()))
}
