use core::net::{Ipv4Addr, Ipv6Addr};
use std::fmt;
use std::str::FromStr;

use super::OriginPolicy;

/// The origin of web pages that may connect, as browsers send it: `https://chat.example`, or
/// `https://*.chat.example` for every name that is one level below.
///
/// The case of letters, the default port of the scheme, and a dot at the end of the host make no difference.
///
/// ```
/// use chat_proto::handshake::OriginPattern;
///
/// let pattern: OriginPattern = "https://App.example:443".parse()?;
/// assert_eq!(pattern.to_string(), "https://app.example");
/// assert!(pattern.matches("https://app.example"));
///
/// let subdomains: OriginPattern = "https://*.app.example".parse()?;
/// assert!(subdomains.matches("https://eu.app.example"));
/// assert!(!subdomains.matches("https://app.example"));
/// assert!(!subdomains.matches("https://a.eu.app.example"));
/// # Ok::<(), chat_proto::handshake::InvalidOrigin>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern(Pattern);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Any,
    Exact(Origin),
    /// The origins whose host has one label before this one.
    Subdomain(Origin),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    /// `None` for the default port of the scheme.
    port: Option<u16>,
}

/// The reason why no browser can send an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidOrigin {
    /// The text is not a scheme, `://`, a host, and perhaps a port.
    #[error("an origin is a scheme and a host, like https://chat.example, without a path")]
    Form,
    /// Browsers send no origin with this scheme.
    #[error("browsers send no origin with this scheme; use the scheme of the page: https or http")]
    Scheme,
    /// The host is not a domain name in ASCII, or not an IP address as browsers write it.
    #[error("the host is not a domain name or an IP address; write international names in ASCII (xn--...)")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// A `*` is not the whole first label of a domain name.
    #[error(
        "a * stands for one label in front of a domain, like https://*.chat.example, or alone for all origins"
    )]
    Wildcard,
}

impl OriginPattern {
    /// Returns true if this pattern stands for an origin that a browser sent. It never stands for `null`.
    pub fn matches(&self, origin: &str) -> bool {
        match &self.0 {
            Pattern::Any => origin != "null",
            Pattern::Exact(exact) => Origin::parse(origin).is_ok_and(|origin| origin == *exact),
            Pattern::Subdomain(parent) => Origin::parse(origin).is_ok_and(|mut origin| {
                let Some((label, rest)) = origin.host.split_once('.') else { return false };
                let has_label = !label.is_empty();
                origin.host = rest.to_owned();
                has_label && origin == *parent
            }),
        }
    }
}

impl FromStr for OriginPattern {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let text = text.trim();
        if text == "*" {
            return Ok(Self(Pattern::Any));
        }
        let Some((scheme, host)) = text.split_once("://*.") else {
            return Ok(Self(Pattern::Exact(Origin::parse(text)?)));
        };
        let parent = Origin::parse(&format!("{scheme}://{host}"))?;
        if parent.host.starts_with('[') || parent.host.parse::<Ipv4Addr>().is_ok() {
            return Err(InvalidOrigin::Wildcard);
        }
        Ok(Self(Pattern::Subdomain(parent)))
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Pattern::Any => f.write_str("*"),
            Pattern::Exact(origin) => origin.write(f, ""),
            Pattern::Subdomain(parent) => parent.write(f, "*."),
        }
    }
}

impl Origin {
    fn parse(text: &str) -> Result<Self, InvalidOrigin> {
        let (scheme, authority) = text.split_once("://").ok_or(InvalidOrigin::Form)?;
        let scheme = scheme.to_ascii_lowercase();
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        if !is_scheme || authority.is_empty() || authority.contains(['/', '?', '#', '@', '\\']) {
            return Err(InvalidOrigin::Form);
        }
        let default = match scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            // Pages of these schemes have another origin, or none.
            "ws" | "wss" | "file" | "data" | "blob" | "about" | "javascript" => {
                return Err(InvalidOrigin::Scheme);
            }
            _ => None,
        };
        let (host, port) = split_port(authority)?;
        let port = port.map(|port| port.parse().ok().filter(|port| *port > 0).ok_or(InvalidOrigin::Port));
        let port = port.transpose()?.filter(|port| Some(*port) != default);
        Ok(Self { host: normalized_host(host)?, scheme, port })
    }

    /// Returns true for a name of the loopback address. People type any of them for one server.
    fn is_loopback(&self) -> bool {
        // Another address of the loopback network may be that of another program.
        ["localhost", "127.0.0.1", "[::1]"].contains(&&*self.host)
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, wildcard: &str) -> fmt::Result {
        write!(f, "{}://{wildcard}{}", self.scheme, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Splits a host from its port. The brackets of an IPv6 address stay with the host.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), InvalidOrigin> {
    let end = authority.find(']').map_or(0, |end| end + 1);
    match authority[end..].split_once(':') {
        Some((rest, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !port.is_empty() => {
            Ok((&authority[..end + rest.len()], Some(port)))
        }
        Some((_, port)) if port.contains(':') => Err(InvalidOrigin::Host),
        Some(_) => Err(InvalidOrigin::Port),
        None => Ok((authority, None)),
    }
}

/// Returns a host as browsers write it: in lower case, without a dot at the end, an IPv6 address in its short form.
fn normalized_host(host: &str) -> Result<String, InvalidOrigin> {
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']').and_then(|address| address.parse::<Ipv6Addr>().ok());
        return address.map(|address| format!("[{address}]")).ok_or(InvalidOrigin::Host);
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if host.contains('*') {
        return Err(InvalidOrigin::Wildcard);
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    // A host whose last label is a number is an IPv4 address.
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_number = !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit());
    if !host.split('.').all(is_label) || is_number && host.parse::<Ipv4Addr>().is_err() {
        return Err(InvalidOrigin::Host);
    }
    Ok(host)
}

/// Returns true if a page of this origin may connect to the server at this `Host`.
pub(super) fn allows(policy: &OriginPolicy, origin: &str, host: &str) -> bool {
    if let OriginPolicy::SameOriginOr(listed) = policy
        && listed.iter().any(|entry| entry.parse().is_ok_and(|entry: OriginPattern| entry.matches(origin)))
    {
        return true;
    }
    // TLS may end in front of the server, so the scheme is not known here. The default port is that of the
    // origin's own scheme.
    let scheme = match origin.split_once("://") {
        Some((scheme @ ("http" | "https"), _)) => scheme,
        _ => return false,
    };
    match (Origin::parse(origin), Origin::parse(&format!("{scheme}://{host}"))) {
        (Ok(origin), Ok(own)) => {
            origin == own || origin.port == own.port && origin.is_loopback() && own.is_loopback()
        }
        _ => false,
    }
}
