use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::RequestHead;
use super::forwarded::hops_of_forwarded;

/// The proxies whose word about the address of a client counts.
///
/// Each proxy writes the address of its own peer at the end of `X-Forwarded-For` or `Forwarded` (RFC 7239). So the last
/// address that is no trusted proxy is the address of the client. Everything before it was written by the client, and
/// has no effect.
///
/// ```
/// use chat_proto::handshake::{RequestHead, TrustedProxies, Version};
///
/// let proxies = TrustedProxies::new(["10.0.0.0/8".parse()?]);
/// let head = RequestHead {
///     method: "GET",
///     version: Version::Http11,
///     target: "/ws",
///     headers: vec![("X-Forwarded-For", b"198.51.100.1, 203.0.113.9, 10.1.2.3")],
/// };
/// assert_eq!(proxies.client("10.0.0.1".parse()?, &head).to_string(), "203.0.113.9");
/// // Another peer is the client itself.
/// assert_eq!(proxies.client("192.0.2.7".parse()?, &head).to_string(), "192.0.2.7");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

/// The addresses that begin with the same bits, such as `10.0.0.0/8`, `2001:db8::/32` or the one address `::1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The first address, as IPv6. An IPv4 address is mapped (RFC 4291 section 2.5.5.2).
    first: u128,
    /// The bits that all addresses share.
    mask: u128,
}

/// A text that is no [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a network is an IP address, or one with a number of leading bits and zeros after them, like 10.0.0.0/8"
)]
pub struct InvalidNetwork;

impl TrustedProxies {
    /// Returns the proxies in these networks.
    pub fn new(networks: impl IntoIterator<Item = Network>) -> Self {
        Self(networks.into_iter().collect())
    }

    /// Returns true if no proxy is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if an address is a trusted proxy.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Returns the address of the client behind a request that came from `peer`.
    ///
    /// A proxy usually writes one of the two headers and passes the other on as the client sent it. If a request has
    /// both and they name different clients, neither counts, and the address is that of the peer. A hop that is no
    /// address ends the search at the proxy that reported it.
    pub fn client(&self, peer: IpAddr, head: &RequestHead<'_>) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.contains(peer) {
            return peer;
        }
        let by_list = head.has("x-forwarded-for").then(|| self.farthest(peer, hops_of_list(head)));
        let by_standard = head.has("forwarded").then(|| self.farthest(peer, hops_of_forwarded(head)));
        match (by_list, by_standard) {
            (Some(client), Some(other)) if client == other => client,
            (Some(client), None) | (None, Some(client)) => client,
            _ => peer,
        }
    }

    /// Returns the first of these hops, from the nearest on, that is no trusted proxy. It is the last hop that is an
    /// address if there is none.
    fn farthest(&self, peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
        let mut farthest = peer;
        for hop in hops {
            let Some(hop) = hop else { break };
            farthest = hop.to_canonical();
            if !self.contains(farthest) {
                break;
            }
        }
        farthest
    }
}

impl Network {
    /// Returns true if an address is in the network. An IPv4 address and its form as IPv6 are the same.
    pub fn contains(&self, address: IpAddr) -> bool {
        bits(address) & self.mask == self.first
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| InvalidNetwork)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            Some(length) if length.bytes().all(|byte| byte.is_ascii_digit()) => length.parse().ok(),
            Some(_) => None,
            None => Some(width),
        };
        let host_bits = width - length.filter(|length| *length <= width).ok_or(InvalidNetwork)?;
        let mask = u128::MAX.checked_shl(host_bits).unwrap_or_default();
        let first = bits(address);
        if first & !mask == 0 { Ok(Self { first, mask }) } else { Err(InvalidNetwork) }
    }
}

/// Returns the bits of an address as IPv6.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Returns the hops of `X-Forwarded-For`, the nearest first. A hop that is no address is `None`.
fn hops_of_list(head: &RequestHead<'_>) -> impl Iterator<Item = Option<IpAddr>> {
    let lines: Vec<_> = head.values("x-forwarded-for").collect();
    lines.into_iter().rev().flat_map(|line| {
        line.rsplit(|byte| *byte == b',').map(|hop| str::from_utf8(hop).ok().and_then(address))
    })
}

/// Parses an address, perhaps with a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches([' ', '\t']);
    let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    if let Some(address) = bracketed {
        return address.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(with_port)
}
