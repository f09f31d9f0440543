use core::net::{Ipv4Addr, Ipv6Addr};

use super::{Refusal, RequestHead};

/// The hosts for which a server answers.
///
/// A web page can give its own name the address of a server on the user's machine (DNS rebinding). The browser then
/// takes both for one origin. A server that listens only on its machine knows its names, and serves no others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostPolicy {
    /// Every host.
    #[default]
    Any,
    /// IP addresses, `localhost`, and these names.
    LocalOr(Vec<String>),
}

impl HostPolicy {
    /// Decides about a request before it reaches a route. A request without `Host` comes from no browser.
    ///
    /// ```
    /// use chat_proto::handshake::{HostPolicy, Refusal, RequestHead, Version};
    ///
    /// let mut head = RequestHead {
    ///     method: "GET",
    ///     version: Version::Http11,
    ///     target: "/readyz",
    ///     headers: vec![("Host", b"127.0.0.1:8080")],
    /// };
    /// let hosts = HostPolicy::LocalOr(vec!["chat.test".to_owned()]);
    /// assert_eq!(hosts.check(&head), Ok(()));
    ///
    /// head.headers = vec![("Host", b"elsewhere.test")];
    /// assert_eq!(hosts.check(&head), Err(Refusal::HostForbidden));
    /// ```
    ///
    /// # Errors
    ///
    /// [`Refusal::BadRequest`] if the target names no path, or if only some hosts are served and `Host` is malformed or
    /// stands twice (RFC 9112 section 3.2). [`Refusal::HostForbidden`] for another host.
    pub fn check(&self, head: &RequestHead<'_>) -> Result<(), Refusal> {
        if !head.target.starts_with('/') {
            return Err(Refusal::BadRequest);
        }
        match self {
            Self::LocalOr(names) if head.has("host") => {
                let host = head.single("host").and_then(host_name).ok_or(Refusal::BadRequest)?;
                is_local(host, names).then_some(()).ok_or(Refusal::HostForbidden)
            }
            _ => Ok(()),
        }
    }
}

/// Returns the host in a value of `Host`, without its port. `None` if the value is no host with an optional port
/// (RFC 9110 section 7.2).
///
/// ```
/// use chat_proto::handshake::host_name;
///
/// assert_eq!(host_name("chat.example:8080"), Some("chat.example"));
/// assert_eq!(host_name("[::1]"), Some("[::1]"));
/// assert_eq!(host_name("ann@chat.example"), None);
/// ```
pub fn host_name(value: &str) -> Option<&str> {
    let end =
        if value.starts_with('[') { value.find(']')? + 1 } else { value.find(':').unwrap_or(value.len()) };
    let (host, port) = value.split_at(end);
    let digits = if port.is_empty() { "" } else { port.strip_prefix(':')? };
    let is_port =
        digits.is_empty() || (digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok());
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        // RFC 3986 allows more characters, but no name in use has them.
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b)),
    };
    (is_port && is_host).then_some(host)
}

fn is_local(host: &str, names: &[String]) -> bool {
    let bare = |name: &str| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let name = bare(host);
    let is_address = host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok();
    is_address || name == "localhost" || names.iter().any(|allowed| bare(allowed) == name)
}
