//! The limits of each address.

mod counts;
mod line_limit;
mod plain;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

pub(crate) use counts::Addresses;
pub(crate) use line_limit::{LineLimit, LineLimits};
pub use plain::PlainConnection;
pub(crate) use plain::PlainConnections;

/// The bits of an IPv6 address that belong to one subscriber. Providers give out networks of this size, and their users
/// choose the other bits.
const SUBSCRIBER_BITS: u128 = !0 << 64;

/// An address as it is counted: an IPv4 address, or the /64 network of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CountedAddress(IpAddr);

impl CountedAddress {
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & SUBSCRIBER_BITS).into(),
            address => address,
        })
    }
}

impl fmt::Display for CountedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(network) => write!(f, "{network}/64"),
        }
    }
}
